#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {
namespace {

using RowBatch = EmbeddingHashTable::RowBatch;

RowBatch SomeRows() {
  RowBatch rows;
  rows.ids = {7, -1, int64_t{1} << 62};
  rows.embeddings = {1, 2, 3, 4, 5, 6};
  rows.states = {10, 20, 30};
  rows.update_times = {100, 0, 0xffffffff};
  return rows;
}

TableFileHeader SomeHeader() {
  SegmentConfig segment;
  segment.name = "vec";
  segment.dim = 2;
  segment.seed = (uint64_t{1} << 63) - 1;
  segment.optimizer = {"adagrad", {{"initial_accumulator_value", 0.1}}};
  TableFileHeader::Table table;
  table.config.name = "mov";
  table.config.segments = {segment};
  table.state_dims = {1};
  return {"/job:ps/task:1", {1, 3}, {"5f", "4e", 1, 2}, {table}};
}

TEST(TableFileFormatTest, BlockRoundTrip) {
  const std::string record = EncodeBlock(5, 2, 1, SomeRows(), 1, 3);
  EXPECT_EQ(KindOfRecord(record), TableRecordKind::kBlock);
  const auto block = DecodeBlock(record);
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->table, 5u);
  EXPECT_EQ(block->dim, 2u);
  EXPECT_EQ(block->state_dim, 1u);
  EXPECT_EQ(block->rows.ids, (std::vector<int64_t>{-1, int64_t{1} << 62}));
  EXPECT_EQ(block->rows.embeddings, (std::vector<float>{3, 4, 5, 6}));
  EXPECT_EQ(block->rows.states, (std::vector<float>{20, 30}));
  EXPECT_EQ(block->rows.update_times, (std::vector<uint32_t>{0, 0xffffffff}));
}

TEST(TableFileFormatTest, EmptyBlockRoundTrip) {
  const auto block = DecodeBlock(EncodeBlock(0, 2, 0, RowBatch(), 0, 0));
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_TRUE(block->rows.ids.empty());
}

TEST(TableFileFormatTest, LayoutOfABlock) {
  RowBatch rows;
  rows.ids = {0x0102030405060708};
  rows.embeddings = {1.0f};
  rows.update_times = {9};
  const std::string wanted(
      "MTB1\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
      "\x08\x07\x06\x05\x04\x03\x02\x01"
      "\0\0\x80\x3f"
      "\x09\0\0\0",
      40);
  EXPECT_EQ(EncodeBlock(3, 1, 0, rows, 0, 1), wanted);
}

TEST(TableFileFormatTest, RefusesEveryOtherBlockLength) {
  const std::string record = EncodeBlock(0, 2, 1, SomeRows(), 0, 3);
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_EQ(DecodeBlock(record.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(DecodeBlock(record + "x").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(TableFileFormatTest, SurvivesAnyBlockHeader) {
  const std::string record = EncodeBlock(0, 2, 1, SomeRows(), 0, 3);
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = record;
    const int changes = 1 + random() % 4;
    for (int c = 0; c < changes; ++c) {
      damaged[4 + random() % 20] = static_cast<char>(random());
    }
    const auto block = DecodeBlock(damaged);
    if (!block.ok()) continue;
    EXPECT_EQ(block->rows.embeddings.size(),
              block->rows.ids.size() * block->dim);
    EXPECT_EQ(block->rows.states.size(),
              block->rows.ids.size() * block->state_dim);
  }
}

TEST(TableFileFormatTest, HeaderRoundTrip) {
  const TableFileHeader header = SomeHeader();
  const auto decoded = DecodeHeader(EncodeHeader(header));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->version, kTableFileVersion);
  EXPECT_EQ(decoded->written_by, header.written_by);
  EXPECT_EQ(decoded->shard, header.shard);
  ASSERT_EQ(decoded->tables.size(), 1u);
  EXPECT_EQ(decoded->tables[0].config, header.tables[0].config);
  EXPECT_EQ(decoded->tables[0].state_dims, header.tables[0].state_dims);
  EXPECT_EQ(decoded->tables[0].dim(), 2);
  EXPECT_EQ(decoded->tables[0].state_dim(), 1);
}

TEST(TableFileFormatTest, RefusesDamagedHeaders) {
  const std::string record = EncodeHeader(SomeHeader());
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_EQ(DecodeHeader(record.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  for (const char* json :
       {"{}", "[]", "7", "\"x\"", "{\"version\":1}",
        "{\"version\":1,\"tables\":{}}", "{\"version\":1,\"tables\":[7]}",
        "{\"version\":\"1\",\"tables\":[]}",
        "{\"version\":1,\"tables\":[{\"config\":{},\"state_dims\":[]}]}",
        "{\"version\":1,\"tables\":[{\"config\":{},\"state_dims\":[-1]}]}",
        "{\"version\":2,\"tables\":[]}",
        "{\"version\":2,\"tables\":[],\"shard\":[0]}",
        "{\"version\":2,\"tables\":[],\"shard\":[-1,1]}",
        "{\"version\":2,\"tables\":[],\"shard\":[2,2]}",
        "{\"version\":2,\"tables\":[],\"shard\":[0,1.5]}",
        "{\"version\":2,\"tables\":[],\"shard\":[0,4294967297]}",
        "{\"version\":0,\"tables\":[]}",
        "{\"version\":3,\"tables\":[],\"shard\":[0,1]}",
        "{\"version\":5,\"tables\":[],\"shard\":[0,1],\"save\":\"\",\"base\":"
        "\"\",\"file\":[0,1]}"}) {
    EXPECT_EQ(DecodeHeader(std::string("MTH1") + json).status().code(),
              absl::StatusCode::kDataLoss)
        << json;
  }
  // Wherever it is, it takes no room on the stack.
  constexpr int kDeep = 1000000;
  const std::string deep = std::string(kDeep, '[') + std::string(kDeep, ']');
  for (const char* begin :
       {"{\"version\":",
        "{\"version\":1,\"tables\":[{\"state_dims\":[],\"config\":",
        "{\"version\":1,\"more\":"}) {
    for (const char* end : {"}", "}]}", ""}) {
      EXPECT_EQ(DecodeHeader(absl::StrCat("MTH1", begin, deep, end)).status(),
                absl::DataLossError("its header is not readable"));
    }
  }
  TableFileHeader header = SomeHeader();
  header.tables[0].state_dims = {1, 1};
  EXPECT_FALSE(DecodeHeader(EncodeHeader(header)).ok());
  header.tables[0].state_dims = {0x7fffffff};
  EXPECT_FALSE(DecodeHeader(EncodeHeader(header)).ok());
}

TrialBatch SomeTrials() {
  return {9, {{0, 0xfffff, 65535, 14}, {8, 0, 1, 0}, {5, 0x12345, 300, 7}}};
}

TEST(TableFileFormatTest, TrialsRoundTrip) {
  const std::string record = EncodeTrials(5, 63, SomeTrials(), 1, 3);
  EXPECT_EQ(KindOfRecord(record), TableRecordKind::kTrials);
  const auto block = DecodeTrials(record);
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->table, 5u);
  EXPECT_EQ(block->stripe, 63u);
  EXPECT_EQ(block->batch.num_buckets, 9u);
  const auto trials = SomeTrials().trials;
  EXPECT_EQ(block->batch.trials,
            (std::vector<Trial>{trials.begin() + 1, trials.end()}));
}

TEST(TableFileFormatTest, LayoutOfTrials) {
  const TrialBatch batch = {7, {{3, 0x12345, 0x0102, 14}, {6, 1, 2, 0}}};
  const std::string wanted(
      "MTT1\x02\0\0\0\x3f\0\0\0\x07\0\0\0\x02\0\0\0\0\0\0\0"
      "\x03\0\0\0\x06\0\0\0"
      "\x45\x23\x01\0\x01\0\0\0"
      "\x02\x01\x02\0"
      "\x0e\0",
      46);
  EXPECT_EQ(EncodeTrials(2, 63, batch, 0, 2), wanted);
}

TEST(TableFileFormatTest, RefusesTrialsThatCannotBe) {
  const std::string record = EncodeTrials(0, 0, SomeTrials(), 0, 3);
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_EQ(DecodeTrials(record.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(DecodeTrials(record + "x").ok());
  for (const Trial& bad :
       {Trial{9, 0, 1, 0}, Trial{0, 1 << 20, 1, 0}, Trial{0, 0, 1, 15}}) {
    EXPECT_EQ(
        DecodeTrials(EncodeTrials(0, 0, {9, {bad}}, 0, 1)).status().code(),
        absl::StatusCode::kDataLoss);
  }
}

TEST(TableFileFormatTest, AgedRoundTrip) {
  TrialBatch batch;
  batch.num_buckets = 9;
  for (const uint32_t aged : {1, 14}) {
    batch.aged = aged;
    const std::string record = EncodeAged(5, 63, batch);
    std::string wanted("MTA1\x05\0\0\0\x3f\0\0\0\x09\0\0\0\0\0\0\0", 20);
    wanted[16] = static_cast<char>(aged);
    EXPECT_EQ(record, wanted);
    EXPECT_EQ(KindOfRecord(record), TableRecordKind::kAged);
    const auto block = DecodeAged(record);
    ASSERT_TRUE(block.ok()) << block.status();
    EXPECT_EQ(block->table, 5u);
    EXPECT_EQ(block->stripe, 63u);
    EXPECT_EQ(block->batch.num_buckets, 9u);
    EXPECT_EQ(block->batch.aged, aged);
    EXPECT_TRUE(block->batch.trials.empty());
    for (size_t size = 0; size < record.size(); ++size) {
      EXPECT_TRUE(
          absl::IsDataLoss(DecodeAged(record.substr(0, size)).status()));
    }
    EXPECT_TRUE(absl::IsDataLoss(DecodeAged(record + "x").status()));
  }
  for (const uint32_t aged : {0, 15}) {
    batch.aged = aged;
    EXPECT_TRUE(absl::IsDataLoss(DecodeAged(EncodeAged(0, 0, batch)).status()));
  }
}

TEST(TableFileFormatTest, ErasedRoundTrip) {
  const std::vector<int64_t> ids = {7, -1};
  const std::string record = EncodeErased(3, ids);
  EXPECT_EQ(record, std::string("MTE1\x03\0\0\0\x02\0\0\0\0\0\0\0"
                                "\x07\0\0\0\0\0\0\0"
                                "\xff\xff\xff\xff\xff\xff\xff\xff",
                                32));
  EXPECT_EQ(KindOfRecord(record), TableRecordKind::kErased);
  const auto block = DecodeErased(record);
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->table, 3u);
  EXPECT_EQ(block->ids, ids);
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_EQ(DecodeErased(record.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(TableFileFormatTest, HeaderTellsItsSave) {
  const auto header = DecodeHeader(EncodeHeader(SomeHeader()));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->save.id, "5f");
  EXPECT_EQ(header->save.base, "4e");
  EXPECT_EQ(header->save.file_index, 1);
  EXPECT_EQ(header->save.num_files, 2);
  for (const char* wrong : {"", ",\"save\":7,\"base\":\"\",\"file\":[0,1]",
                            ",\"save\":\"a\",\"base\":\"\",\"file\":[1,1]",
                            ",\"save\":\"a\",\"file\":[0,1]"}) {
    const std::string record = absl::StrCat(
        "MTH1{\"version\":3,\"tables\":[],\"shard\":[0,1]", wrong, "}");
    EXPECT_EQ(DecodeHeader(record).status().code(), absl::StatusCode::kDataLoss)
        << record;
  }
}

TEST(TableFileFormatTest, TextsThatAreNotUtf8AreReplaced) {
  TableFileHeader header = SomeHeader();
  header.written_by = "a\xff";
  header.save.id = "\xc3(b";
  const auto decoded = DecodeHeader(EncodeHeader(header));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->written_by, "a\xef\xbf\xbd");
  EXPECT_EQ(decoded->save.id, "\xef\xbf\xbd(b");
}

TEST(TableFileFormatTest, FooterRoundTrip) {
  const auto footer =
      DecodeFooter(EncodeFooter({{3, 7}, {0, 0}, {int64_t{1} << 40, 1}}));
  ASSERT_TRUE(footer.ok()) << footer.status();
  ASSERT_EQ(footer->size(), 3u);
  EXPECT_EQ((*footer)[0].rows, 3);
  EXPECT_EQ((*footer)[0].trials, 7);
  EXPECT_EQ((*footer)[2].rows, int64_t{1} << 40);
  EXPECT_EQ((*footer)[2].trials, 1);
  for (const char* record :
       {"", "MTF1", "MTF1{}", "MTF1{\"rows\":7}", "MTF1{\"rows\":[1.5]}",
        "MTF1{\"rows\":[-1]}", "MTH1{\"rows\":[1]}",
        "MTF1{\"rows\":[1],\"trials\":[]}",
        "MTF1{\"rows\":[1],\"trials\":[-1]}"}) {
    EXPECT_EQ(DecodeFooter(record).status().code(), absl::StatusCode::kDataLoss)
        << record;
  }
}

TEST(TableFileFormatTest, ReadsVersion1) {
  const auto header = DecodeHeader("MTH1{\"version\":1,\"tables\":[]}");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->version, 1);
  const auto footer = DecodeFooter("MTF1{\"rows\":[5]}");
  ASSERT_TRUE(footer.ok()) << footer.status();
  EXPECT_EQ(footer->at(0).rows, 5);
  EXPECT_EQ(footer->at(0).trials, 0);
}

}  // namespace
}  // namespace monolith
