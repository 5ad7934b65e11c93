#include "monolith/native_training/runtime/ops/table_set/table_turns.h"

#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace monolith {
namespace {

// How soon one who waits notices that its turn has come, or that there is
// nothing left to wait for.
constexpr std::chrono::milliseconds kPoll(5);

}  // namespace

TableTurns::Turn::Turn(TableTurns& turns, int64_t number,
                       IsCancelled is_cancelled)
    : turns_(turns), number_(number), is_cancelled_(std::move(is_cancelled)) {}

TableTurns::Turn::~Turn() { turns_.mutex_.unlock(); }

absl::Status TableTurns::Turn::Check() const {
  if (is_cancelled_()) {
    return absl::CancelledError("it was given up by who asked for it");
  }
  if (turns_.newest_replacing_ > number_) {
    return absl::AbortedError(
        "the tables are being restored or cleared by somebody else, who asked "
        "for that later");
  }
  return absl::OkStatus();
}

void TableTurns::Turn::SetLastSave(const std::string& save_id) {
  turns_.last_save_ = save_id;
}

void TableTurns::Turn::ForgetLastSave() { turns_.last_save_.clear(); }

absl::StatusOr<std::unique_ptr<TableTurns::Turn>> TableTurns::Wait(
    int64_t number, IsCancelled is_cancelled) {
  // ThreadSanitizer knows nothing of the locks that can wait for so long.
  while (!mutex_.try_lock()) {
    if (is_cancelled()) {
      return absl::CancelledError(
          "it was given up by who asked for it, before its turn came");
    }
    std::this_thread::sleep_for(kPoll);
  }
  std::unique_ptr<Turn> turn(new Turn(*this, number, std::move(is_cancelled)));
  absl::Status status = turn->Check();
  if (!status.ok()) return status;
  return turn;
}

absl::StatusOr<std::unique_ptr<TableTurns::Turn>> TableTurns::BeginSave(
    const std::string& base, IsCancelled is_cancelled) {
  auto turn = BeginCopy(std::move(is_cancelled));
  if (!turn.ok()) return turn;
  if (!base.empty() && base != last_save_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the changes since save ", base, " are not known: the last save is ",
        last_save_.empty() ? "none" : last_save_,
        "; a save of everything has to come first"));
  }
  last_save_.clear();
  return turn;
}

absl::StatusOr<std::unique_ptr<TableTurns::Turn>> TableTurns::BeginCopy(
    IsCancelled is_cancelled) {
  return Wait(TakeNumber(), std::move(is_cancelled));
}

absl::StatusOr<std::unique_ptr<TableTurns::Turn>> TableTurns::BeginReplacing(
    int64_t number, IsCancelled is_cancelled) {
  int64_t newest = newest_replacing_;
  while (newest < number &&
         !newest_replacing_.compare_exchange_weak(newest, number)) {
  }
  return Wait(number, std::move(is_cancelled));
}

}  // namespace monolith
