#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_PACE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_PACE_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"

namespace monolith {

// Lets a server's save beside training take a sixteenth of the processors at
// most that the server may use, whatever their number and whatever other
// servers of the machine do: where there are few, its threads rest in between.
// Where no worker asks for rows, and where the save is urgent, it goes as fast
// as it can.
//
// A low priority alone does not do that: it does not count between processes in
// groups of their own, and who has it may lose the processor with rows locked.
//
// Used by one thread, which copies and writes a few thousand rows at a time:
//
//   SavePace pace(num_threads, num_processors, tables.num_requests(), urgent);
//   while (...) {
//     CopyAndWriteSome();
//     pace.Rest();
//   }
class SavePace {
 public:
  // What it goes by; tests have one of their own.
  class Clock {
   public:
    virtual ~Clock() = default;
    virtual absl::Time Now() = 0;
    // For how long the calling thread has had a processor.
    virtual absl::Duration ThreadTime() = 0;
    virtual void SleepFor(absl::Duration duration) = 0;

    static Clock& System();
  };

  // num_threads: of the save, beside each other. num_processors: more than 0;
  // see UsableProcessors. num_requests: of workers, so far. is_urgent: whether
  // who waits for the save has little time; it may become so.
  SavePace(int num_threads, double num_processors,
           const std::atomic<uint64_t>& num_requests,
           std::function<bool()> is_urgent, Clock& clock = Clock::System());

  // Rests for what this thread has done since the last time, if there was a
  // request of late; how long. It must not hold what others wait for.
  absl::Duration Rest();

 private:
  bool IsBesideTraining();

  Clock& clock_;
  const double rest_of_work_;
  const std::atomic<uint64_t>& num_requests_;
  const std::function<bool()> is_urgent_;
  uint64_t requests_seen_;
  absl::Time last_request_ = absl::InfinitePast();
  absl::Duration rested_at_;  // in time of this thread on a processor
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_PACE_H_
