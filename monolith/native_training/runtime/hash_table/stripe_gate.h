#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_GATE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_GATE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {

// Lets readers pass without a lock wherever nobody writes.
//
// A reader makes a short Visit. It is told once which stripes are closed and
// leaves those alone, however long they stay so; what it may read cannot
// change before it leaves. A writer closes stripes, which waits for the
// visitors that may have come before they were closed, and opens them again.
// So readers pay two atomic operations a visit, not two a stripe, and a writer
// waits at most as long as one visit takes.
//
// How: a visitor announces itself in a slot of its own, then reads the word of
// closed stripes; a writer sets its bits in that word, then reads the slots.
// All four are sequentially consistent, so at least one sees the other.
//
// Thread safety: thread-safe. Writers exclude each other by other means: no two
// may have one stripe closed at a time. A visitor must not wait for a writer.
//
// Example:
//   {
//     StripeGate::Visit visit(gate);
//     if (visit.MayRead(stripe)) Read(stripe); else later.push_back(stripe);
//   }
class StripeGate {
 public:
  class Visit {
   public:
    explicit Visit(StripeGate& gate);
    ~Visit();

    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

    bool MayRead(int stripe) const { return ((closed_ >> stripe) & 1) == 0; }

   private:
    std::atomic<uint64_t>* slot_;  // null: nothing may be read
    uint64_t closed_;
  };

  // The set of stripes [first, last).
  static uint64_t Range(int first, int last) {
    const uint64_t below_last = last == 64 ? ~uint64_t{0} : Bit(last) - 1;
    return below_last & ~(Bit(first) - 1);
  }

  // Closes stripes; afterwards the caller is alone in them.
  void Close(uint64_t stripes);
  // Opens stripes that the caller has closed.
  void Open(uint64_t stripes);

 private:
  static_assert(kNumStripes <= 64, "the closed stripes are one word");

  // More visitors at a time than this read by the stripes' locks.
  static constexpr size_t kSlots = 64;

  struct alignas(64) Slot {
    // 0, or the ticket of the visit that is going on: never the same twice.
    std::atomic<uint64_t> ticket{0};
  };

  static uint64_t Bit(int stripe) { return uint64_t{1} << stripe; }

  alignas(64) std::atomic<uint64_t> closed_{0};
  std::array<Slot, kSlots> slots_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_GATE_H_
