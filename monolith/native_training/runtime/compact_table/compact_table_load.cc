// CompactTable::Load: reads a file and checks all of it.

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/checksum/crc32c.h"
#include "monolith/native_training/runtime/compact_table/compact_table.h"

namespace monolith {
namespace {

absl::StatusOr<std::vector<uint8_t>> ReadBytes(const ByteSource& source,
                                               uint64_t offset, size_t bytes) {
  std::vector<uint8_t> result(bytes);
  absl::Status read = source.Read(offset, absl::MakeSpan(result));
  if (!read.ok()) return read;
  return result;
}

std::vector<uint32_t> TakeNumbers(size_t count,
                                  absl::Span<const uint8_t>* bytes) {
  std::vector<uint32_t> numbers(count);
  if (count == 0) return numbers;
  std::memcpy(numbers.data(), bytes->data(), count * sizeof(uint32_t));
  bytes->remove_prefix(count * sizeof(uint32_t));
  return numbers;
}

absl::StatusOr<CompactFooter> ReadFooter(const ByteSource& source) {
  const uint64_t size = source.size();
  if (size < kCompactPreambleBytes + kCompactFooterBytes) {
    return absl::DataLossError(
        absl::StrCat("it has ", size, " bytes, no compact table has so few"));
  }
  absl::StatusOr<std::vector<uint8_t>> preamble =
      ReadBytes(source, 0, kCompactPreambleBytes);
  if (!preamble.ok()) return preamble.status();
  absl::Status known = CheckCompactPreamble(*preamble);
  if (!known.ok()) return known;
  absl::StatusOr<std::vector<uint8_t>> footer =
      ReadBytes(source, size - kCompactFooterBytes, kCompactFooterBytes);
  if (!footer.ok()) return footer.status();
  return DecodeCompactFooter(*footer, size);
}

// Calls body(i) for each i below n, until one fails; the first error.
absl::Status ForEach(size_t n, Executor& executor,
                     absl::FunctionRef<absl::Status(size_t)> body) {
  std::mutex mutex;
  absl::Status status;
  executor.ParallelFor(static_cast<int64_t>(n), [&](int64_t i) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      if (!status.ok()) return;
    }
    absl::Status done = body(static_cast<size_t>(i));
    std::lock_guard<std::mutex> lock(mutex);
    status.Update(done);
  });
  return status;
}

// Numbers from 0 to `last`, none below the one before.
bool Rise(const std::vector<uint32_t>& numbers, uint64_t last) {
  return numbers.front() == 0 && numbers.back() == last &&
         std::is_sorted(numbers.begin(), numbers.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<CompactTable>> CompactTable::Load(
    const ByteSource& source, Executor& executor) {
  // Its index is as large as the file says, and its caller has no handler.
  try {
    return LoadOrThrow(source, executor);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "there is no memory for its index; it has ", source.size(), " bytes"));
  }
}

absl::StatusOr<std::unique_ptr<CompactTable>> CompactTable::LoadOrThrow(
    const ByteSource& source, Executor& executor) {
  absl::StatusOr<CompactFooter> footer = ReadFooter(source);
  if (!footer.ok()) return footer.status();
  absl::StatusOr<std::vector<uint8_t>> index =
      ReadBytes(source, kCompactPreambleBytes + footer->blocks_bytes(),
                footer->index_bytes());
  if (!index.ok()) return index.status();
  if (Crc32c(*index) != footer->index_crc) {
    return absl::DataLossError("the checksum of its index does not match");
  }
  absl::Span<const uint8_t> rest = *index;
  std::vector<uint32_t> partitions = TakeNumbers(kNumPartitions + 1, &rest);
  std::vector<uint32_t> buckets = TakeNumbers(footer->num_buckets + 1, &rest);
  const std::vector<uint32_t> checksums =
      TakeNumbers(footer->num_chunks(), &rest);
  const std::string schema(rest.begin(), rest.end());
  absl::StatusOr<TableConfig> config = ParseTableConfig(schema);
  absl::StatusOr<RowCodec> codec =
      config.ok() ? RowCodec::Create(*config) : config.status();
  if (!codec.ok()) {
    return absl::DataLossError(
        absl::StrCat("its schema: ", codec.status().message()));
  }
  if (codec->row_bytes() != footer->row_bytes) {
    return absl::DataLossError(
        absl::StrCat("its schema has rows of ", codec->row_bytes(),
                     " bytes, its footer says ", footer->row_bytes));
  }
  std::unique_ptr<CompactTable> table(
      new CompactTable(*std::move(config), *std::move(codec), *footer));
  table->partitions_ = std::move(partitions);
  table->buckets_ = std::move(buckets);
  absl::Status done = table->CheckIndex();
  if (!done.ok()) return done;
  done = table->LoadBlocks(source, checksums, executor);
  if (!done.ok()) return done;
  done = table->CheckIds(executor);
  if (!done.ok()) return done;
  return table;
}

absl::Status CompactTable::LoadBlocks(const ByteSource& source,
                                      absl::Span<const uint32_t> checksums,
                                      Executor& executor) {
  const uint64_t bytes = footer_.blocks_bytes();
  if (bytes == 0) return absl::OkStatus();
  absl::StatusOr<ZeroedMemory> memory =
      ZeroedMemory::Create(bytes, ZeroedMemory::Pages::kHuge);
  if (!memory.ok()) return memory.status();
  blocks_ = *std::move(memory);
  auto* const begin = static_cast<uint8_t*>(blocks_.data());
  return ForEach(checksums.size(), executor, [&](size_t i) -> absl::Status {
    const uint64_t offset = i * kCompactChunkBytes;
    const absl::Span<uint8_t> chunk(
        begin + offset, std::min<uint64_t>(kCompactChunkBytes, bytes - offset));
    absl::Status read = source.Read(kCompactPreambleBytes + offset, chunk);
    if (!read.ok() || Crc32c(chunk) == checksums[i]) return read;
    return absl::DataLossError(
        absl::StrCat("the checksum of its ", chunk.size(), " bytes from ",
                     kCompactPreambleBytes + offset, " on does not match"));
  });
}

absl::Status CompactTable::CheckIndex() const {
  // A partition without a bucket would have its ids looked up in another's.
  const auto is_not_rising = [](uint32_t a, uint32_t b) { return a >= b; };
  if (Rise(partitions_, footer_.num_buckets) &&
      std::adjacent_find(partitions_.begin(), partitions_.end(),
                         is_not_rising) == partitions_.end() &&
      Rise(buckets_, footer_.num_rows)) {
    return absl::OkStatus();
  }
  return absl::DataLossError("the numbers of its index do not rise");
}

absl::Status CompactTable::CheckIds(Executor& executor) const {
  return ForEach(kNumPartitions, executor, [&](size_t p) {
    for (uint32_t b = partitions_[p]; b < partitions_[p + 1]; ++b) {
      absl::Status valid = CheckBucket(p, b);
      if (!valid.ok()) return valid;
    }
    return absl::OkStatus();
  });
}

absl::Status CompactTable::CheckBucket(size_t partition,
                                       uint32_t bucket) const {
  const uint8_t* const ids = BlockOf(bucket);
  uint64_t before = 0;
  for (uint32_t i = 0; i < buckets_[bucket + 1] - buckets_[bucket]; ++i) {
    int64_t id;
    std::memcpy(&id, ids + i * sizeof(id), sizeof(id));
    const uint64_t hash = HashId(id);
    if (BucketOf(id) != bucket || PartitionOfHash(hash) != partition ||
        (i > 0 && hash <= before)) {
      return absl::DataLossError(
          absl::StrCat("id ", id, " is out of its place in it"));
    }
    before = hash;
  }
  return absl::OkStatus();
}

}  // namespace monolith
