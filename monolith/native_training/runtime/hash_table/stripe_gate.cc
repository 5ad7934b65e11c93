#include "monolith/native_training/runtime/hash_table/stripe_gate.h"

#include <thread>

namespace monolith {
namespace {

// Tickets of a thread: its number in the high bits, and which visit.
class Tickets {
 public:
  uint64_t Next() { return ++last_; }
  uint64_t thread() const { return thread_; }

 private:
  static uint64_t NextThread() {
    static std::atomic<uint64_t> threads{0};
    return threads.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  const uint64_t thread_ = NextThread();
  uint64_t last_ = thread_ << 40;
};

thread_local Tickets tickets;

}  // namespace

StripeGate::Visit::Visit(StripeGate& gate)
    : slot_(nullptr), closed_(~uint64_t{0}) {
  const uint64_t ticket = tickets.Next();
  for (size_t i = 0; i < kSlots; ++i) {
    std::atomic<uint64_t>& slot =
        gate.slots_[(tickets.thread() + i) % kSlots].ticket;
    uint64_t free = 0;
    if (slot.compare_exchange_strong(free, ticket, std::memory_order_seq_cst)) {
      slot_ = &slot;
      closed_ = gate.closed_.load(std::memory_order_seq_cst);
      return;
    }
  }
}

StripeGate::Visit::~Visit() {
  if (slot_ != nullptr) slot_->store(0, std::memory_order_release);
}

void StripeGate::Close(uint64_t stripes) {
  constexpr int kSpins = 200;  // about a microsecond
  closed_.fetch_or(stripes, std::memory_order_seq_cst);
  // All are looked at before the first is waited for: who comes later knows.
  std::array<uint64_t, kSlots> there;
  for (size_t i = 0; i < kSlots; ++i) {
    there[i] = slots_[i].ticket.load(std::memory_order_seq_cst);
  }
  for (size_t i = 0; i < kSlots; ++i) {
    if (there[i] == 0) continue;
    const std::atomic<uint64_t>& ticket = slots_[i].ticket;
    for (int spins = 0; ticket.load(std::memory_order_acquire) == there[i];
         ++spins) {
      if (spins >= kSpins) std::this_thread::yield();
    }
  }
}

void StripeGate::Open(uint64_t stripes) {
  closed_.fetch_and(~stripes, std::memory_order_release);
}

}  // namespace monolith
