// Whatever the bytes of a file are, it is refused, or can be read.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/checksum/crc32c.h"
#include "monolith/native_training/runtime/compact_table/compact_format.h"
#include "monolith/native_training/runtime/compact_table/compact_table.h"
#include "monolith/native_training/runtime/compact_table/memory_files.h"
#include "monolith/native_training/runtime/compact_table/test_compact_tables.h"

namespace monolith {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr int kIds = 40;

Bytes SmallFile() {
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < kIds; ++id) ids.push_back(id);
  return WriteCompactTable(
      CompactConfig({{{"fp16", {}}, 2}, {{"one_bit", {}}, 3}}), ids,
      std::vector<float>(kIds * 5, 0.25f));
}

absl::Status LoadStatus(const Bytes& bytes) {
  return CompactTable::Load(MemorySource(bytes)).status();
}

TEST(DamagedCompactTableTest, EveryFlippedBitIsNoticed) {
  const Bytes whole = SmallFile();
  ASSERT_TRUE(LoadStatus(whole).ok());
  Bytes bytes = whole;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] ^= 1 << bit;
      const absl::Status status = LoadStatus(bytes);
      ASSERT_TRUE(absl::IsDataLoss(status) || absl::IsUnimplemented(status))
          << "byte " << i << ": " << status;
      bytes[i] = whole[i];
    }
  }
}

TEST(DamagedCompactTableTest, EveryOtherLengthIsNoticed) {
  const Bytes whole = SmallFile();
  for (size_t n = 0; n < whole.size(); ++n) {
    ASSERT_TRUE(
        absl::IsDataLoss(LoadStatus(Bytes(whole.begin(), whole.begin() + n))))
        << n;
  }
  Bytes longer = whole;
  longer.push_back(0);
  EXPECT_TRUE(absl::IsDataLoss(LoadStatus(longer)));
  longer.insert(longer.end(), whole.end() - kCompactFooterBytes, whole.end());
  EXPECT_TRUE(absl::IsDataLoss(LoadStatus(longer)));
}

TEST(DamagedCompactTableTest, ALaterVersionIsNamed) {
  Bytes bytes = SmallFile();
  bytes[4] = 9;
  const absl::Status status = LoadStatus(bytes);
  EXPECT_TRUE(absl::IsUnimplemented(status));
  EXPECT_NE(status.message().find("version 9"), absl::string_view::npos);
}

// Makes the checksums right again.
void Seal(const CompactFooter& footer, Bytes* bytes) {
  uint8_t* const index =
      bytes->data() + kCompactPreambleBytes + footer.blocks_bytes();
  const uint32_t chunk = Crc32c(absl::MakeConstSpan(
      bytes->data() + kCompactPreambleBytes, footer.blocks_bytes()));
  std::memcpy(index + 4 * (kNumPartitions + 1 + footer.num_buckets + 1), &chunk,
              sizeof(chunk));
  CompactFooter sealed = footer;
  sealed.index_crc = Crc32c(absl::MakeConstSpan(index, footer.index_bytes()));
  const Bytes end = EncodeCompactFooter(sealed);
  std::copy(end.begin(), end.end(), bytes->end() - end.size());
}

TEST(DamagedCompactTableTest, WrongBytesWithRightChecksumsDoNoHarm) {
  const Bytes whole = SmallFile();
  const CompactFooter footer = *DecodeCompactFooter(
      absl::MakeConstSpan(whole).last(kCompactFooterBytes), whole.size());
  std::vector<int64_t> ids;
  for (int64_t id = -100; id < 100; ++id) ids.push_back(id);
  std::mt19937 random(3);
  int refused = 0;
  for (size_t i = kCompactPreambleBytes; i < whole.size() - kCompactFooterBytes;
       ++i) {
    for (int round = 0; round < 3; ++round) {
      Bytes bytes = whole;
      bytes[i] ^= 1 + random() % 255;
      Seal(footer, &bytes);
      const auto table = CompactTable::Load(MemorySource(bytes));
      if (!table.ok()) {
        ++refused;
        continue;
      }
      std::vector<float> values(ids.size() * (*table)->dim());
      EXPECT_TRUE((*table)->Lookup(ids, absl::MakeSpan(values)).ok());
    }
  }
  EXPECT_GT(refused, 1000);  // ids out of place and numbers that do not rise
}

TEST(DamagedCompactTableTest, AFooterThatPromisesTooMuchIsRefused) {
  Bytes bytes = SmallFile();
  const CompactFooter footer = *DecodeCompactFooter(
      absl::MakeConstSpan(bytes).last(kCompactFooterBytes), bytes.size());
  const auto refuses = [&bytes](const CompactFooter& other) {
    const Bytes end = EncodeCompactFooter(other);
    std::copy(end.begin(), end.end(), bytes.end() - end.size());
    return absl::IsDataLoss(LoadStatus(bytes));
  };
  for (const uint64_t number : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 31,
                                uint64_t{1} << 61, ~uint64_t{0}}) {
    CompactFooter other = footer;
    other.num_rows = number;
    EXPECT_TRUE(refuses(other));
    other = footer;
    other.row_bytes = number;
    EXPECT_TRUE(refuses(other));
    other = footer;
    other.num_buckets = number;
    EXPECT_TRUE(refuses(other));
    other = footer;
    other.schema_bytes = number;
    EXPECT_TRUE(refuses(other));
  }
}

// Reads, but not into memory as large as an index.
class SourceWithoutMemory : public MemorySource {
 public:
  using MemorySource::MemorySource;

  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) const override {
    if (offset > 0 && offset + bytes.size() < size()) throw std::bad_alloc();
    return MemorySource::Read(offset, bytes);
  }
};

TEST(DamagedCompactTableTest, NoMemoryIsAnError) {
  EXPECT_TRUE(absl::IsResourceExhausted(
      CompactTable::Load(SourceWithoutMemory(SmallFile())).status()));
}

}  // namespace
}  // namespace monolith
