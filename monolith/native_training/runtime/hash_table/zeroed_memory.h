#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ZEROED_MEMORY_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ZEROED_MEMORY_H_

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"

namespace monolith {

// An owned block of zero bytes, aligned to 64.
//
// Small blocks come from the heap. Large ones come from the kernel: they take
// no memory until they are touched, and go back as soon as they are freed.
//
// Thread safety: as a plain pointer and size.
//
// Example:
//   auto memory = ZeroedMemory::Create(bytes, ZeroedMemory::Pages::kHuge);
//   if (!memory.ok()) return memory.status();
//   auto* words = static_cast<uint64_t*>(memory->data());
class ZeroedMemory {
 public:
  enum class Pages {
    kSmall,  // take memory in steps of a page: sparse or little used blocks
    kHuge,   // fewer TLB misses: big blocks that fill up
  };

  // Of the kernel's pages.
  static constexpr size_t kSmallPageBytes = 4096;
  static constexpr size_t kHugePageBytes = size_t{2} << 20;

  static constexpr size_t RoundUp(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
  }

  // Blocks of this many bytes or more come from the kernel.
  static constexpr size_t kKernelBytes = 64 << 10;

  // ResourceExhausted if there is no memory or address space.
  static absl::StatusOr<ZeroedMemory> Create(size_t bytes, Pages pages);

  ZeroedMemory() = default;
  ~ZeroedMemory() { Free(); }
  ZeroedMemory(ZeroedMemory&& other) noexcept { *this = std::move(other); }
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept;

  void* data() const { return data_; }
  size_t size() const { return size_; }  // bytes

  // A block that may be looked at while its owner does something else.
  struct Extent {
    const void* data;
    size_t size;

    // How many bytes of it are in the process's memory, as the kernel says: in
    // pages of whichever size it has given. Takes time in proportion to the
    // size, about a millisecond a gigabyte. The block must not be freed
    // meanwhile.
    size_t resident_bytes() const;
  };

  Extent extent() const { return {data_, size_}; }

 private:
  ZeroedMemory(void* data, size_t size) : data_(data), size_(size) {}

  void Free();

  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ZEROED_MEMORY_H_
