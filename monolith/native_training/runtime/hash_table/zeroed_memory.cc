#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace monolith {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = ZeroedMemory::kHugePageBytes;

// Maps `bytes`, aligned to a huge page; null on failure.
void* MapAligned(size_t bytes) {
  const size_t padded = bytes + kHugePage;
  void* const mapped = mmap(nullptr, padded, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(mapped);
  const size_t misaligned = reinterpret_cast<uintptr_t>(begin) % kHugePage;
  const size_t head = misaligned == 0 ? 0 : kHugePage - misaligned;
  if (head > 0) munmap(begin, head);
  munmap(begin + head + bytes, padded - head - bytes);
  return begin + head;
}

void* Map(size_t bytes, bool huge) {
  void* data = nullptr;
  if (huge) {
    data = MapAligned(bytes);
  } else {
    data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) data = nullptr;
  }
  // Advice only: a kernel without huge pages answers with an error.
  if (data) madvise(data, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return data;
}

}  // namespace

absl::StatusOr<ZeroedMemory> ZeroedMemory::Create(size_t bytes, Pages pages) {
  void* data;
  if (bytes >= kKernelBytes) {
    bytes = RoundUp(bytes, kSmallPageBytes);
    data = Map(bytes, pages == Pages::kHuge && bytes >= kHugePage);
  } else {
    data = ::operator new (bytes, std::align_val_t{kAlignment}, std::nothrow);
    if (data) std::memset(data, 0, bytes);
  }
  if (!data) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the system has no ", bytes,
                     " bytes of memory left for the embedding table"));
  }
  return ZeroedMemory(data, bytes);
}

ZeroedMemory& ZeroedMemory::operator=(ZeroedMemory&& other) noexcept {
  if (this != &other) {
    Free();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

size_t ZeroedMemory::Extent::resident_bytes() const {
  if (size < kKernelBytes) return size;
  constexpr size_t kPagesAtATime = 4096;
  constexpr size_t kBytesAtATime = kPagesAtATime * kSmallPageBytes;
  unsigned char states[kPagesAtATime];
  size_t pages = 0;
  // The kernel does not write to it; the call's type is older than const.
  char* const pages_begin = static_cast<char*>(const_cast<void*>(data));
  for (size_t begin = 0; begin < size; begin += kBytesAtATime) {
    const size_t bytes = std::min(kBytesAtATime, size - begin);
    if (mincore(pages_begin + begin, bytes, states) != 0) return size;
    for (size_t i = 0; i < bytes / kSmallPageBytes; ++i) pages += states[i] & 1;
  }
  return pages * kSmallPageBytes;
}

void ZeroedMemory::Free() {
  if (!data_) return;
  if (size_ >= kKernelBytes) {
    munmap(data_, size_);
  } else {
    ::operator delete (data_, std::align_val_t{kAlignment});
  }
}

}  // namespace monolith
