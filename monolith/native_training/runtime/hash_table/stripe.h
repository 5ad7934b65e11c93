#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_H_

#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "monolith/native_training/runtime/hash_table/id_index.h"
#include "monolith/native_training/runtime/hash_table/index_memory.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"

namespace monolith {

// The part of a table whose ids share the highest bits of their hash: a lock,
// an index, and the rows that the stripe has taken from the table's arena.
//
// Rows of erased ids stay with the stripe and are handed out again before new
// ones; they form a list that is linked through their first four bytes.
//
// Thread safety: hold mutex() shared, or visit the table's StripeGate, for
// const functions; for others hold mutex() exclusively with the gate closed.
// Home and size need neither. A thread that holds several
// stripes' locks takes them in ascending order. The contents of rows are
// guarded like their stripe.
class alignas(64) Stripe {
 public:
  // A row and whether it was made just now, with arbitrary contents.
  struct Slot {
    uint32_t row;
    bool inserted;
  };

  std::shared_mutex& mutex() const { return mutex_; }

  // See IdIndex::Attach.
  void Attach(IndexMemory& memory, int number) {
    index_.Attach(memory, number);
  }

  // See IdIndex::HomeBucket.
  const void* Home(uint64_t hash) const { return index_.HomeBucket(hash); }

  // RowArena::kNoRow if the id has no row.
  uint32_t Find(int64_t id, uint64_t hash) const {
    return index_.Find(id, hash);
  }

  // See IdIndex::Reserve.
  absl::Status Reserve(uint64_t rows) { return index_.Reserve(rows); }

  // Find, and marks the row as changed.
  uint32_t FindToChange(int64_t id, uint64_t hash) {
    return index_.FindToChange(id, hash);
  }

  // FindToChange, and inserts a row if there is none. ResourceExhausted leaves
  // the stripe as it was.
  absl::Status FindOrInsert(int64_t id, uint64_t hash, RowArena& arena,
                            Slot* slot) {
    *slot = {index_.FindToChange(id, hash), false};
    if (slot->row != RowArena::kNoRow) return absl::OkStatus();
    return Insert(id, hash, arena, slot);
  }

  // Whether the id had a row.
  bool Erase(int64_t id, uint64_t hash, RowArena& arena);

  // Calls visit(id, row) for every row; visit may Erase that very id.
  void ForEach(absl::FunctionRef<void(int64_t, uint32_t)> visit) const {
    index_.ForEach(visit);
  }

  // See IdIndex::ForEachFrom.
  static constexpr uint64_t kFirstPlace = IdIndex::kFirstPlace;
  static constexpr uint64_t kPastPlaces = IdIndex::kPastPlaces;
  uint64_t ForEachFrom(uint64_t place, uint64_t max_buckets,
                       absl::FunctionRef<void(int64_t, uint32_t)> visit) const {
    return index_.ForEachFrom(place, max_buckets, visit);
  }

  // See IdIndex::TakeChangesFrom.
  uint64_t TakeChangesFrom(uint64_t place, uint64_t max_buckets,
                           bool only_changed,
                           absl::FunctionRef<void(int64_t, uint32_t)> visit) {
    return index_.TakeChangesFrom(place, max_buckets, only_changed, visit);
  }

  // The ids that were erased since this was last called, some perhaps twice or
  // with a row again; none at the first call, which begins to keep them, and
  // where they are not known.
  std::vector<int64_t> TakeErased();

  // False from when so many were erased that it is not worth the memory to keep
  // their ids, until TakeErased is called. May be asked at any time.
  bool knows_erased() const {
    return knows_erased_.load(std::memory_order_relaxed);
  }

  // Memory that these take. May be called at any time.
  int64_t erased_bytes() const {
    return erased_bytes_.load(std::memory_order_relaxed);
  }

  // Forgets everything; for when the arena and the index's memory are reset.
  void Clear();

  int64_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  absl::Status Insert(int64_t id, uint64_t hash, RowArena& arena, Slot* slot);
  absl::Status TakeRow(RowArena& arena, uint32_t* row);
  void PublishSize();
  void KeepErased(int64_t id);
  void PublishErased();

  mutable std::shared_mutex mutex_;
  IdIndex index_;
  uint32_t first_free_ = RowArena::kNoRow;
  RowArena::Block block_{0, 0};  // rows that nobody has had yet
  uint32_t next_block_rows_ = 0;
  bool keeps_erased_ = false;
  std::vector<int64_t> erased_;
  std::atomic<bool> knows_erased_{true};
  std::atomic<int64_t> erased_bytes_{0};
  std::atomic<int64_t> size_{0};
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_H_
