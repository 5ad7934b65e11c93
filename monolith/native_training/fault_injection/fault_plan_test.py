from absl.testing import absltest

from monolith.native_training.fault_injection import fault_plan, save_phases


def _faults(rounds: int, seed: int = 1) -> list[fault_plan.Fault]:
  return fault_plan.faults(rounds, seed, servers=2)


class FaultPlanTest(absltest.TestCase):
  def test_a_handful_has_every_victim_and_every_phase(self):
    for seed in range(20):
      faults = _faults(fault_plan.HANDFUL, seed)
      self.assertContainsSubset(
        {*fault_plan.FILES, *save_phases.PHASES}, {fault.when for fault in faults}
      )
      at_random = [f.victim for f in faults if f.when == fault_plan.RANDOM]
      self.assertCountEqual(at_random, ["worker", "server", "chief", "all"])

  def test_so_many_rounds_have_every_kind(self):
    kinds = [(fault.when, fault.victim) for fault in _faults(len(fault_plan.KINDS))]
    self.assertCountEqual(kinds, fault_plan.KINDS)

  def test_what_a_job_has_once_is_its_first(self):
    once = (*save_phases.ONCE, save_phases.REPLACING)
    times = {fault.save for fault in _faults(500) if fault.when in once}
    self.assertEqual(times, {1})

  def test_any_number_of_rounds(self):
    for rounds in (0, 1, 50):
      self.assertLen(_faults(rounds), rounds)

  def test_the_seed_decides(self):
    self.assertEqual(_faults(50), _faults(50))
    self.assertNotEqual(_faults(50), _faults(50, seed=2))
    self.assertEqual(_faults(7), _faults(50)[:7])

  def test_moments_are_in_the_job(self):
    faults = _faults(500)
    self.assertLess(max(fault.share for fault in faults), 0.81)
    self.assertEqual({fault.server for fault in faults}, {0, 1})
    starting = [f for f in faults if f.when == fault_plan.RANDOM and not f.share]
    self.assertNotEmpty(starting)
    self.assertFalse([f for f in faults if f.when in fault_plan.FILES and not f.share])


if __name__ == "__main__":
  absltest.main()
