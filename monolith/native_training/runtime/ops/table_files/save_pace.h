#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_PACE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_PACE_H_

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace monolith {

// Lets a save beside training take a twelfth of the machine's processors at
// most, whatever their number: where there are few, its threads rest in
// between. Where no worker asks for rows it goes as fast as it can. A low
// priority alone does not do that: it does not count between processes in
// groups of their own, and who has it may lose the processor with rows locked.
//
// Used by one thread, which copies and writes a few thousand rows at a time:
//
//   SavePace pace(num_threads, num_processors, tables.num_requests());
//   while (...) {
//     CopyAndWriteSome();
//     pace.Rest();
//   }
class SavePace {
 public:
  // num_threads: of the save, beside each other. num_requests: of workers, so
  // far.
  SavePace(int num_threads, int num_processors,
           const std::atomic<uint64_t>& num_requests);

  // How long a thread rests beside training that has used a processor for so
  // long.
  absl::Duration RestAfter(absl::Duration work) const;

  // Rests for what this thread has done since the last time, if there was a
  // request of late; how long. It must not hold what others wait for.
  absl::Duration Rest();

 private:
  bool IsBesideTraining();

  const double rest_of_work_;
  const std::atomic<uint64_t>& num_requests_;
  uint64_t requests_seen_;
  absl::Time last_request_ = absl::InfinitePast();
  absl::Duration rested_at_;  // in time of this thread on a processor
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_PACE_H_
