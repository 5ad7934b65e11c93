#include "monolith/native_training/runtime/ops/table_files/record_writer.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {
namespace {

template <typename Writer>
std::string BytesOfFile(const std::string& name, const Writer& write) {
  tensorflow::Env* const env = tensorflow::Env::Default();
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  std::unique_ptr<tensorflow::WritableFile> file;
  EXPECT_TRUE(env->NewWritableFile(path, &file).ok());
  write(*file);
  EXPECT_TRUE(file->Close().ok());
  std::string bytes;
  EXPECT_TRUE(tensorflow::ReadFileToString(env, path, &bytes).ok());
  return bytes;
}

TEST(RecordWriterTest, WritesTheBytesThatTensorFlowWrites) {
  std::vector<std::string> records = {"", "a", std::string(3, '\0')};
  std::string large;
  for (int i = 0; i < 1'000'003; ++i) large.push_back(static_cast<char>(i * 7));
  records.push_back(large);

  const std::string ours =
      BytesOfFile("ours", [&](tensorflow::WritableFile& file) {
        RecordWriter writer(file);
        for (const std::string& r : records) ASSERT_TRUE(writer.Write(r).ok());
      });
  const std::string theirs =
      BytesOfFile("theirs", [&](tensorflow::WritableFile& file) {
        tensorflow::io::RecordWriter writer(&file);
        for (const std::string& r : records) {
          ASSERT_TRUE(writer.WriteRecord(r).ok());
        }
        ASSERT_TRUE(writer.Close().ok());
      });
  EXPECT_GT(ours.size(), large.size());
  EXPECT_TRUE(ours == theirs);
}

}  // namespace
}  // namespace monolith
