#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_TURNS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_TURNS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace monolith {

// Who may save the rows of a server's tables, or replace all of them by a
// restore or clearing: one at a time, and the newest replacement wins.
//
// A server is told to restore by sessions, and one of a session that has gone
// may still be at it when the next has begun. So a replacement outdates all
// saves and replacements that asked before it did: they go no further, and one
// that comes late does not begin. Whoever has a turn asks Check() as it goes,
// once a record for example.
//
// Thread safety: thread-safe.
//
// Example:
//   const int64_t number = turns.TakeNumber();
//   ...  // look at the files
//   auto turn = turns.BeginReplacing(number, is_cancelled);
//   if (!turn.ok()) return turn.status();
//   (*turn)->ForgetLastSave();
//   while (more) {
//     if (absl::Status status = (*turn)->Check(); !status.ok()) return status;
//     ...
//   }
class TableTurns {
 public:
  // Whether the caller has lost interest. Asked by any thread, at any time
  // while it waits for its turn or has it.
  using IsCancelled = std::function<bool()>;

  // Lasts until it is destroyed, by the thread that has begun it.
  class Turn {
   public:
    ~Turn();

    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    // Whether to go on: Cancelled if the caller has lost interest, Aborted if a
    // newer replacement waits. Any thread may ask.
    absl::Status Check() const;

    // From now on changes are those since that save.
    void SetLastSave(const std::string& save_id);
    // The rows are no longer those that were saved and changed.
    void ForgetLastSave();

   private:
    friend class TableTurns;
    Turn(TableTurns& turns, int64_t number, IsCancelled is_cancelled);

    TableTurns& turns_;
    const int64_t number_;
    const IsCancelled is_cancelled_;
  };

  TableTurns() = default;
  TableTurns(const TableTurns&) = delete;
  TableTurns& operator=(const TableTurns&) = delete;

  // Where a caller stands among those who replace rows. To be taken before
  // anything else is done, because that may take long.
  int64_t TakeNumber() { return ++last_number_; }

  // Begins a save of what has changed since the save `base`, or of everything
  // if that is empty; from here on there is no last save. FailedPrecondition if
  // `base` is not the last one; Cancelled or Aborted as Turn::Check.
  absl::StatusOr<std::unique_ptr<Turn>> BeginSave(const std::string& base,
                                                  IsCancelled is_cancelled);

  // Begins a save that nobody takes up from; the last save stays what it is.
  // Cancelled or Aborted as Turn::Check.
  absl::StatusOr<std::unique_ptr<Turn>> BeginCopy(IsCancelled is_cancelled);

  // Waits until those that it outdates have ended. Cancelled or Aborted as
  // Turn::Check.
  absl::StatusOr<std::unique_ptr<Turn>> BeginReplacing(
      int64_t number, IsCancelled is_cancelled);

 private:
  absl::StatusOr<std::unique_ptr<Turn>> Wait(int64_t number,
                                             IsCancelled is_cancelled);

  std::atomic<int64_t> last_number_{0};
  // Of the newest that has asked for its turn to replace rows.
  std::atomic<int64_t> newest_replacing_{0};
  std::mutex mutex_;       // held by a turn
  std::string last_save_;  // guarded by mutex_
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_TURNS_H_
