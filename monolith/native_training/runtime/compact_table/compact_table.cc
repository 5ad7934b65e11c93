#include "monolith/native_training/runtime/compact_table/compact_table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/compact_table/bucket_pipeline.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"

namespace monolith {
namespace {

// Below this a lookup is done sooner than other threads would wake up.
constexpr size_t kParallelIds = 2048;
constexpr size_t kIdsPerTask = 1024;

int64_t IdAt(const uint8_t* ids, size_t i) {
  int64_t id;
  std::memcpy(&id, ids + i * sizeof(id), sizeof(id));
  return id;
}

}  // namespace

int64_t CompactTable::memory_bytes() const {
  return static_cast<int64_t>(
      blocks_.size() +
      sizeof(uint32_t) * (partitions_.capacity() + buckets_.capacity()));
}

absl::Status CompactTable::Lookup(absl::Span<const int64_t> ids,
                                  absl::Span<float> values,
                                  Executor& executor) const {
  const size_t row_floats = static_cast<size_t>(dim());
  if (values.size() / row_floats != ids.size() ||
      values.size() % row_floats != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "table ", config_.name, ": got ", values.size(), " values for ",
        ids.size(), " ids, wanted ", dim(), " for each"));
  }
  if (ids.size() < kParallelIds || executor.num_threads() == 1) {
    LookupPart(ids.data(), ids.size(), values.data());
    return absl::OkStatus();
  }
  const size_t num_tasks = (ids.size() + kIdsPerTask - 1) / kIdsPerTask;
  executor.ParallelFor(static_cast<int64_t>(num_tasks), [&](int64_t task) {
    const size_t begin = task * kIdsPerTask;
    LookupPart(&ids[begin], std::min(kIdsPerTask, ids.size() - begin),
               &values[begin * row_floats]);
  });
  return absl::OkStatus();
}

void CompactTable::LookupPart(const int64_t* ids, size_t n,
                              float* values) const {
  struct Slot {
    uint32_t bucket;
    uint32_t size;
    const uint8_t* block;
    const uint8_t* row;  // null: there is none
  };
  std::array<Slot, kBucketPipelineRing> slots;
  const auto slot = [&](size_t i) -> Slot& {
    return slots[i % kBucketPipelineRing];
  };
  const size_t row_floats = static_cast<size_t>(dim());
  const size_t row_bytes = codec_.row_bytes();
  RunBucketPipeline(
      n,
      [&](size_t i) {
        slot(i).bucket = BucketOf(ids[i]);
        PrefetchLine(&buckets_[slot(i).bucket]);
      },
      [&](size_t i) {
        Slot& s = slot(i);
        s.size = buckets_[s.bucket + 1] - buckets_[s.bucket];
        s.block = BlockOf(s.bucket);
        PrefetchBlock(s.block, std::min<size_t>(s.size, 16) * sizeof(int64_t));
      },
      [&](size_t i) {
        Slot& s = slot(i);
        s.row = nullptr;
        for (uint32_t j = 0; j < s.size; ++j) {
          if (IdAt(s.block, j) != ids[i]) continue;
          s.row = s.block + s.size * sizeof(int64_t) + j * row_bytes;
          PrefetchBlock(s.row, row_bytes);
          break;
        }
      },
      [&](size_t i) {
        float* const out = values + i * row_floats;
        if (slot(i).row == nullptr) {
          std::fill_n(out, row_floats, 0.0f);
        } else {
          codec_.Decode(slot(i).row, out);
        }
      });
}

}  // namespace monolith
