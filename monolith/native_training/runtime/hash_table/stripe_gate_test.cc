#include "monolith/native_training/runtime/hash_table/stripe_gate.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(StripeGateTest, RangesAreSetsOfStripes) {
  EXPECT_EQ(StripeGate::Range(0, 64), ~uint64_t{0});
  EXPECT_EQ(StripeGate::Range(0, 1), 1u);
  EXPECT_EQ(StripeGate::Range(63, 64), uint64_t{1} << 63);
  EXPECT_EQ(StripeGate::Range(8, 16), 0xff00u);
  EXPECT_EQ(StripeGate::Range(5, 5), 0u);
}

TEST(StripeGateTest, VisitorsReadWhatIsOpen) {
  StripeGate gate;
  gate.Close(StripeGate::Range(2, 4));
  {
    StripeGate::Visit visit(gate);
    EXPECT_TRUE(visit.MayRead(1));
    EXPECT_FALSE(visit.MayRead(2));
    EXPECT_FALSE(visit.MayRead(3));
    EXPECT_TRUE(visit.MayRead(63));
  }
  gate.Close(StripeGate::Range(63, 64));
  gate.Open(StripeGate::Range(2, 4));
  StripeGate::Visit visit(gate);
  EXPECT_TRUE(visit.MayRead(2));
  EXPECT_FALSE(visit.MayRead(63));
}

TEST(StripeGateTest, AWriterWaitsForWhoWasThereBefore) {
  StripeGate gate;
  auto before = std::make_unique<StripeGate::Visit>(gate);
  std::atomic<bool> closed{false};
  std::thread writer([&] {
    gate.Close(1);
    closed = true;
  });
  // Who comes later is turned away.
  while (StripeGate::Visit(gate).MayRead(0)) std::this_thread::yield();
  EXPECT_FALSE(closed);
  before.reset();
  writer.join();
  EXPECT_TRUE(closed);
}

TEST(StripeGateTest, MoreVisitorsThanSlotsMayReadNothing) {
  StripeGate gate;
  std::vector<std::unique_ptr<StripeGate::Visit>> visits;
  for (int i = 0; i < 64; ++i) {
    visits.push_back(std::make_unique<StripeGate::Visit>(gate));
    EXPECT_TRUE(visits.back()->MayRead(0));
  }
  EXPECT_FALSE(StripeGate::Visit(gate).MayRead(0));
  visits.pop_back();
  EXPECT_TRUE(StripeGate::Visit(gate).MayRead(0));
}

// Two numbers a stripe that a writer changes together; no reader may see them
// apart. ThreadSanitizer also sees that there is no race.
TEST(StripeGateTest, NobodySeesHalfAChange) {
  constexpr int kReaders = 3;
  constexpr int kStripes = 4;
  constexpr int kChanges = 20000;
  StripeGate gate;
  std::mutex mutexes[kStripes];
  int64_t first[kStripes] = {}, second[kStripes] = {};
  std::atomic<bool> stop{false};
  std::atomic<int> readers{0};  // That have read while nobody writes.
  std::vector<std::thread> threads;
  for (int t = 0; t < kReaders; ++t) {
    threads.emplace_back([&] {
      bool has_read = false;
      while (!stop.load(std::memory_order_relaxed)) {
        StripeGate::Visit visit(gate);
        for (int s = 0; s < kStripes; ++s) {
          if (!visit.MayRead(s)) continue;
          ASSERT_EQ(first[s], second[s]);
          if (!has_read) ++readers;
          has_read = true;
        }
      }
    });
  }
  while (readers < kReaders) std::this_thread::yield();
  std::vector<std::thread> writers;
  for (int t = 0; t < 2; ++t) {
    writers.emplace_back([&, t] {
      for (int i = 0; i < kChanges; ++i) {
        const int s = (i + t) % kStripes;
        std::lock_guard<std::mutex> lock(mutexes[s]);
        gate.Close(StripeGate::Range(s, s + 1));
        ++first[s];
        ++second[s];
        gate.Open(StripeGate::Range(s, s + 1));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (int s = 0; s < kStripes; ++s) EXPECT_EQ(first[s], kChanges * 2 / 4);
}

}  // namespace
}  // namespace monolith
