#include "monolith/native_training/runtime/compact_table/compact_table.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <unordered_map>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/compact_table/compact_table_writer.h"
#include "monolith/native_training/runtime/compact_table/memory_files.h"
#include "monolith/native_training/runtime/compact_table/row_codec.h"
#include "monolith/native_training/runtime/compact_table/test_compact_tables.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

namespace monolith {
namespace {

using Rows = std::unordered_map<int64_t, std::vector<float>>;

std::unique_ptr<CompactTable> Load(const std::vector<uint8_t>& bytes,
                                   Executor& executor = InlineExecutor::Get()) {
  auto table = CompactTable::Load(MemorySource(bytes), executor);
  EXPECT_TRUE(table.ok()) << table.status();
  return *std::move(table);
}

// What a row is once it has been stored.
std::vector<float> Stored(const TableConfig& config,
                          const std::vector<float>& row) {
  const auto codec = RowCodec::Create(config);
  std::vector<uint8_t> bytes(codec->row_bytes());
  std::vector<float> stored(row.size());
  codec->Encode(row.data(), bytes.data());
  codec->Decode(bytes.data(), stored.data());
  return stored;
}

const TableConfig kAllCompressors = CompactConfig({{{"fp16", {}}, 5},
                                                   {{"fp32", {}}, 3},
                                                   {{"fixed_r8", {}}, 7},
                                                   {{"one_bit", {}}, 11}});

class RandomCalls {
 public:
  RandomCalls(CompactTableWriter& writer, uint32_t seed)
      : writer_(writer), random_(seed) {}

  // Adds and erases; many ids come again.
  void Run(int num_calls, int64_t num_ids) {
    std::uniform_int_distribution<int64_t> id(-num_ids, num_ids);
    for (int call = 0; call < num_calls; ++call) {
      std::vector<int64_t> ids(random_() % 40);
      for (int64_t& each : ids) each = id(random_);
      if (call % 3 == 2) {
        ASSERT_TRUE(writer_.Erase(ids).ok());
        for (const int64_t each : ids) rows.erase(each);
      } else {
        Add(ids);
      }
    }
  }

  Rows rows;  // what the table should have

 private:
  void Add(const std::vector<int64_t>& ids) {
    std::uniform_real_distribution<float> value(-1, 1);
    std::vector<float> values;
    for (const int64_t id : ids) {
      std::vector<float> row(writer_.dim());
      for (float& each : row) each = value(random_);
      values.insert(values.end(), row.begin(), row.end());
      rows[id] = row;
    }
    ASSERT_TRUE(writer_.Add(ids, values).ok());
  }

  CompactTableWriter& writer_;
  std::mt19937 random_;
};

TEST(CompactTableTest, HasWhatATableWouldHave) {
  MemoryFile files[2];
  for (const size_t memory_bytes : {size_t{1000}, size_t{1} << 30}) {
    MemoryFile scratch, &file = files[memory_bytes == 1000 ? 0 : 1];
    auto writer =
        *CompactTableWriter::Create(kAllCompressors, &scratch, memory_bytes);
    RandomCalls calls(*writer, 1);
    calls.Run(1000, 5000);
    ASSERT_EQ(*writer->Finish(file), static_cast<int64_t>(calls.rows.size()));
    EXPECT_EQ(scratch.bytes().empty(), memory_bytes > 1000);

    ThreadPoolExecutor executor(3);
    const auto table = Load(file.bytes(), executor);
    EXPECT_EQ(table->size(), static_cast<int64_t>(calls.rows.size()));
    std::vector<int64_t> ids;
    for (int64_t id = -6000; id <= 6000; ++id) ids.push_back(id);
    std::vector<float> values(ids.size() * table->dim(), -1);
    ASSERT_TRUE(table->Lookup(ids, absl::MakeSpan(values), executor).ok());
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto got = values.begin() + i * table->dim();
      const auto row = calls.rows.find(ids[i]);
      ASSERT_EQ(std::vector<float>(got, got + table->dim()),
                row == calls.rows.end() ? std::vector<float>(table->dim())
                                        : Stored(kAllCompressors, row->second))
          << ids[i];
    }
  }
  EXPECT_EQ(files[0].bytes(), files[1].bytes());
}

TEST(CompactTableTest, WritersMayShareMemoryAndAScratchFile) {
  const std::vector<TableConfig> configs = {
      kAllCompressors, CompactConfig({{{"fp32", {}}, 1}}), kAllCompressors};
  MemoryFile scratch, unused;
  const auto writers = *CompactTableWriter::CreateAll(configs, &scratch, 2000);
  ASSERT_EQ(writers.size(), configs.size());
  std::vector<std::unique_ptr<CompactTableWriter>> alone;
  std::vector<RandomCalls> calls, calls_alone;
  for (size_t i = 0; i < configs.size(); ++i) {
    alone.push_back(*CompactTableWriter::Create(configs[i], &unused));
    calls.emplace_back(*writers[i], i);
    calls_alone.emplace_back(*alone[i], i);
  }
  for (int round = 0; round < 5; ++round) {
    for (size_t i = 0; i < configs.size(); ++i) {
      calls[i].Run(40, 500);
      calls_alone[i].Run(40, 500);
    }
  }
  EXPECT_FALSE(scratch.bytes().empty());
  for (size_t i = 0; i < configs.size(); ++i) {
    MemoryFile file, wanted;
    EXPECT_EQ(*writers[i]->Finish(file), *alone[i]->Finish(wanted));
    EXPECT_EQ(file.bytes(), wanted.bytes()) << i;
  }
}

TEST(CompactTableTest, AnyNumberIsAnId) {
  const std::vector<int64_t> ids = {0, -1, std::numeric_limits<int64_t>::min(),
                                    std::numeric_limits<int64_t>::max()};
  const auto table = Load(
      WriteCompactTable(CompactConfig({{{"fp32", {}}, 1}}), ids, {1, 2, 3, 4}));
  std::vector<float> values(5);
  ASSERT_TRUE(
      table->Lookup({ids[0], ids[1], ids[2], ids[3], 7}, absl::MakeSpan(values))
          .ok());
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4, 0}));
}

TEST(CompactTableTest, MayBeEmpty) {
  const auto table =
      Load(WriteCompactTable(CompactConfig({{{"fp16", {}}, 2}}), {}, {}));
  std::vector<float> values(4, 1);
  ASSERT_TRUE(table->Lookup({0, 1}, absl::MakeSpan(values)).ok());
  EXPECT_EQ(values, std::vector<float>(4));
}

TEST(CompactTableTest, RefusesValuesOfAnotherSize) {
  const auto table =
      Load(WriteCompactTable(CompactConfig({{{"fp16", {}}, 2}}), {}, {}));
  for (const size_t n : {0, 1, 3, 6}) {
    std::vector<float> values(n);
    const absl::Status status = table->Lookup({0, 1}, absl::MakeSpan(values));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("movie"), absl::string_view::npos);
  }
}

TEST(CompactTableTest, TakesAtMostTenBytesMoreThanARow) {
  constexpr int kIds = 100000;
  std::vector<int64_t> ids(kIds);
  for (int i = 0; i < kIds; ++i) ids[i] = i * int64_t{1000};
  const auto bytes = WriteCompactTable(CompactConfig({{{"fp16", {}}, 32}}), ids,
                                       std::vector<float>(kIds * 32, 0.5f));
  EXPECT_LE(bytes.size(), kIds * (64 + 10));
  EXPECT_LE(Load(bytes)->memory_bytes(), kIds * (64 + 10) + (2 << 20));
}

}  // namespace
}  // namespace monolith
