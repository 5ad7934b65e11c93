#include "monolith/native_training/runtime/ops/table_files/record_reader.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/ops/table_files/record_framing.h"
#include "monolith/native_training/runtime/ops/table_files/record_writer.h"
#include "tensorflow/core/platform/file_system.h"

namespace monolith {
namespace {

class StringWriter : public tensorflow::WritableFile {
 public:
  absl::Status Append(absl::string_view bytes) override {
    content.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  absl::Status Close() override { return absl::OkStatus(); }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::Status Sync() override { return absl::OkStatus(); }

  std::string content;
};

// A file that may fail, and counts what is read.
class StringFile : public tensorflow::RandomAccessFile {
 public:
  explicit StringFile(std::string content) : content_(std::move(content)) {}

  absl::Status Read(uint64_t offset, size_t n, absl::string_view* result,
                    char* scratch) const override {
    *result = {};
    if (!error.ok()) return error;
    const std::string part =
        offset < content_.size() ? content_.substr(offset, n) : "";
    std::memcpy(scratch, part.data(), part.size());
    *result = {scratch, part.size()};
    num_read += part.size();
    if (part.size() == n) return absl::OkStatus();
    return absl::OutOfRangeError("the end");
  }
  uint64_t size() const { return content_.size(); }

  absl::Status error;
  mutable uint64_t num_read = 0;

 private:
  const std::string content_;
};

std::string Written(const std::vector<std::string>& records) {
  StringWriter file;
  RecordWriter writer(file);
  for (const std::string& record : records) {
    EXPECT_TRUE(writer.Write(record).ok());
  }
  return file.content;
}

// What can be read, and why no more.
struct Result {
  std::vector<std::string> records;
  absl::Status status;
};

Result ReadAll(const StringFile& file, uint64_t size) {
  RecordReader reader(file, size);
  Result result;
  for (;;) {
    auto record = reader.Next();
    result.status = record.status();
    if (!record.ok() || !record->has_value()) return result;
    result.records.emplace_back(**record);
  }
}

Result ReadAll(const std::string& content) {
  return ReadAll(StringFile(content), content.size());
}

std::string Head(uint64_t length) {
  const std::string bytes(reinterpret_cast<const char*>(&length),
                          sizeof(length));
  const uint32_t crc = MaskedCrc(bytes);
  return bytes + std::string(reinterpret_cast<const char*>(&crc), sizeof(crc));
}

TEST(RecordReaderTest, ReadsWhatWasWritten) {
  std::vector<std::string> records = {"", "a"};
  for (const size_t size : {100, 16'000, 20'000, 4'000'000, 9'000'000, 7}) {
    records.emplace_back(size, static_cast<char>(size));
  }
  for (int i = 0; i < 30; ++i) records.emplace_back(1'000'000, 'a' + i);
  const Result result = ReadAll(Written(records));
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result.records == records);
  EXPECT_TRUE(ReadAll("").records.empty());
  EXPECT_TRUE(ReadAll("").status.ok());
}

// For such a length there is no memory, or no number.
TEST(RecordReaderTest, LengthsThatTheFileDoesNotHaveAreRefused) {
  for (const uint64_t length :
       {uint64_t{4}, uint64_t{1} << 40, uint64_t{1} << 62, uint64_t{1} << 63,
        ~uint64_t{0} - 15, ~uint64_t{0} - 3, ~uint64_t{0}}) {
    const Result result =
        ReadAll(Written({"first"}) + Head(length) + "abc" + "crc.");
    EXPECT_EQ(result.records, std::vector<std::string>{"first"});
    EXPECT_TRUE(absl::IsDataLoss(result.status)) << result.status;
  }
}

TEST(RecordReaderTest, EveryByteCounts) {
  const std::vector<std::string> records = {"one", "", "three"};
  const std::string content = Written(records);
  for (size_t i = 0; i < content.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = content;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const Result result = ReadAll(damaged);
      EXPECT_TRUE(absl::IsDataLoss(result.status)) << result.status;
      EXPECT_LT(result.records.size(), 3u);
    }
  }
}

TEST(RecordReaderTest, WhatIsCutOffIsMissed) {
  const std::string content = Written({"one", "three"});
  const size_t first = Written({"one"}).size();
  for (size_t size = 1; size < content.size(); ++size) {
    const Result result = ReadAll(content.substr(0, size));
    EXPECT_EQ(result.status.ok(), size == first) << size;
    EXPECT_TRUE(result.status.ok() || absl::IsDataLoss(result.status));
    // Or the file has become shorter since somebody looked.
    EXPECT_TRUE(absl::IsDataLoss(
        ReadAll(StringFile(content.substr(0, size)), content.size()).status));
  }
}

TEST(RecordReaderTest, WhatTheFileSaysIsTold) {
  StringFile file(Written({"one"}));
  file.error = absl::UnavailableError("the bucket is busy");
  EXPECT_EQ(ReadAll(file, file.size()).status, file.error);
}

TEST(RecordReaderTest, TheFirstRecordCostsLittle) {
  std::vector<std::string> records = {"header"};
  for (int i = 0; i < 10; ++i) records.emplace_back(1'000'000, 'a');
  const StringFile file(Written(records));
  RecordReader reader(file, file.size());
  EXPECT_EQ(reader.offset(), 0u);
  auto record = reader.Next();
  ASSERT_TRUE(record.ok() && record->has_value());
  EXPECT_EQ(**record, "header");
  EXPECT_EQ(reader.offset(), kRecordHead + 6 + kRecordTail);
  EXPECT_LT(file.num_read, 20'000u);
}

}  // namespace
}  // namespace monolith
