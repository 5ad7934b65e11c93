#include "monolith/native_training/runtime/compact_table/compact_table_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/checksum/crc32c.h"
#include "monolith/native_training/runtime/compact_table/compact_format.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

// An entry of the spill: int64 id, its kind, the codes of its row.
constexpr size_t kKindOffset = sizeof(int64_t);
constexpr size_t kRowOffset = kKindOffset + 1;
enum Kind : uint8_t { kErased, kRow };

constexpr uint64_t kIdsPerBucket = 4;

int64_t IdOf(const uint8_t* entry) {
  int64_t id;
  std::memcpy(&id, entry, sizeof(id));
  return id;
}

// The last entry of each id, if that is a row, by the hashes of ids.
std::vector<const uint8_t*> LastRows(const std::vector<uint8_t>& entries,
                                     size_t entry_bytes) {
  std::vector<std::pair<uint64_t, const uint8_t*>> all;
  all.reserve(entries.size() / entry_bytes);
  for (size_t i = 0; i < entries.size(); i += entry_bytes) {
    all.emplace_back(HashId(IdOf(&entries[i])), &entries[i]);
  }
  // Later ones of an id come after earlier ones.
  std::sort(all.begin(), all.end());
  std::vector<const uint8_t*> rows;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool is_last = i + 1 == all.size() || all[i + 1].first > all[i].first;
    if (is_last && all[i].second[kKindOffset] == kRow) {
      rows.push_back(all[i].second);
    }
  }
  return rows;
}

// Appends to a file, with a checksum of each chunk.
class ChunkSink {
 public:
  explicit ChunkSink(ByteSink& sink) : sink_(sink) {
    chunk_.reserve(kCompactChunkBytes);
  }

  absl::Status Append(absl::Span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const size_t n =
          std::min(bytes.size(), kCompactChunkBytes - chunk_.size());
      chunk_.insert(chunk_.end(), bytes.begin(), bytes.begin() + n);
      bytes.remove_prefix(n);
      if (chunk_.size() < kCompactChunkBytes) continue;
      absl::Status written = Flush();
      if (!written.ok()) return written;
    }
    return absl::OkStatus();
  }

  absl::Status Flush() {
    if (chunk_.empty()) return absl::OkStatus();
    checksums_.push_back(Crc32c(chunk_));
    absl::Status written = sink_.Append(chunk_);
    chunk_.clear();
    return written;
  }

  const std::vector<uint32_t>& checksums() const { return checksums_; }

 private:
  ByteSink& sink_;
  std::vector<uint8_t> chunk_;
  std::vector<uint32_t> checksums_;
};

// The blocks of one partition's buckets.
absl::Status WriteBlocks(const std::vector<const uint8_t*>& rows,
                         size_t row_bytes, uint64_t first_row,
                         std::vector<uint32_t>* buckets, ChunkSink* sink) {
  const uint64_t num_buckets =
      std::max<uint64_t>(1, (rows.size() + kIdsPerBucket - 1) / kIdsPerBucket);
  size_t begin = 0;
  for (uint64_t bucket = 0; bucket < num_buckets; ++bucket) {
    buckets->push_back(static_cast<uint32_t>(first_row + begin));
    size_t end = begin;
    while (end < rows.size() &&
           BucketInPartition(HashId(IdOf(rows[end])), num_buckets) == bucket) {
      ++end;
    }
    for (size_t i = begin; i < end; ++i) {
      absl::Status done = sink->Append({rows[i], sizeof(int64_t)});
      if (!done.ok()) return done;
    }
    for (size_t i = begin; i < end; ++i) {
      absl::Status done = sink->Append({rows[i] + kRowOffset, row_bytes});
      if (!done.ok()) return done;
    }
    begin = end;
  }
  return absl::OkStatus();
}

template <typename Numbers>
void AppendBytes(const Numbers& numbers, std::vector<uint8_t>* bytes) {
  const auto* begin = reinterpret_cast<const uint8_t*>(numbers.data());
  bytes->insert(bytes->end(), begin,
                begin + numbers.size() * sizeof(numbers[0]));
}

}  // namespace

CompactTableWriter::CompactTableWriter(std::string schema, RowCodec codec,
                                       std::shared_ptr<RowSpill> spill,
                                       size_t first_partition)
    : schema_(std::move(schema)),
      codec_(std::move(codec)),
      spill_(std::move(spill)),
      first_partition_(first_partition),
      entry_(kRowOffset + codec_.row_bytes()) {}

absl::StatusOr<std::unique_ptr<CompactTableWriter>> CompactTableWriter::Create(
    const TableConfig& config, ScratchFile* scratch, size_t memory_bytes) {
  auto writers = CreateAll({&config, 1}, scratch, memory_bytes);
  if (!writers.ok()) return writers.status();
  return std::move(writers->front());
}

absl::StatusOr<std::vector<std::unique_ptr<CompactTableWriter>>>
CompactTableWriter::CreateAll(absl::Span<const TableConfig> configs,
                              ScratchFile* scratch, size_t memory_bytes) {
  const auto spill = std::make_shared<RowSpill>(configs.size() * kNumPartitions,
                                                memory_bytes, scratch);
  std::vector<std::unique_ptr<CompactTableWriter>> writers;
  for (const TableConfig& config : configs) {
    absl::StatusOr<RowCodec> codec = RowCodec::Create(config);
    if (!codec.ok()) return codec.status();
    writers.emplace_back(
        new CompactTableWriter(EncodeCompactSchema(config), *std::move(codec),
                               spill, writers.size() * kNumPartitions));
  }
  return writers;
}

absl::Status CompactTableWriter::Append(int64_t id, uint8_t kind) {
  std::memcpy(entry_.data(), &id, sizeof(id));
  entry_[kKindOffset] = kind;
  return spill_->Append(first_partition_ + PartitionOfHash(HashId(id)), entry_);
}

absl::Status CompactTableWriter::Add(absl::Span<const int64_t> ids,
                                     absl::Span<const float> embeddings) {
  const float* row = embeddings.data();
  for (const int64_t id : ids) {
    codec_.Encode(row, &entry_[kRowOffset]);
    absl::Status done = Append(id, kRow);
    if (!done.ok()) return done;
    row += codec_.dim();
  }
  return absl::OkStatus();
}

absl::Status CompactTableWriter::Erase(absl::Span<const int64_t> ids) {
  std::fill(entry_.begin(), entry_.end(), 0);
  for (const int64_t id : ids) {
    absl::Status done = Append(id, kErased);
    if (!done.ok()) return done;
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> CompactTableWriter::Finish(ByteSink& sink) {
  absl::Status done = sink.Append(EncodeCompactPreamble());
  if (!done.ok()) return done;
  ChunkSink blocks(sink);
  uint64_t num_rows = 0;
  std::vector<uint32_t> partitions, buckets;
  for (size_t p = 0; p < kNumPartitions; ++p) {
    absl::StatusOr<std::vector<uint8_t>> entries =
        spill_->Take(first_partition_ + p);
    if (!entries.ok()) return entries.status();
    const std::vector<const uint8_t*> rows = LastRows(*entries, entry_.size());
    if (num_rows + rows.size() > kMaxCompactRows) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "a compact table has at most ", kMaxCompactRows,
          " rows; export the model in distributed mode, with more servers"));
    }
    partitions.push_back(static_cast<uint32_t>(buckets.size()));
    done = WriteBlocks(rows, codec_.row_bytes(), num_rows, &buckets, &blocks);
    if (!done.ok()) return done;
    num_rows += rows.size();
  }
  done = blocks.Flush();
  if (!done.ok()) return done;
  CompactFooter footer;
  footer.num_rows = num_rows;
  footer.row_bytes = codec_.row_bytes();
  footer.num_buckets = buckets.size();
  footer.schema_bytes = schema_.size();
  partitions.push_back(static_cast<uint32_t>(buckets.size()));
  buckets.push_back(static_cast<uint32_t>(num_rows));
  std::vector<uint8_t> index;
  index.reserve(footer.index_bytes());
  AppendBytes(partitions, &index);
  AppendBytes(buckets, &index);
  AppendBytes(blocks.checksums(), &index);
  AppendBytes(schema_, &index);
  footer.index_crc = Crc32c(index);
  done = sink.Append(index);
  if (!done.ok()) return done;
  done = sink.Append(EncodeCompactFooter(footer));
  if (!done.ok()) return done;
  return static_cast<int64_t>(num_rows);
}

}  // namespace monolith
