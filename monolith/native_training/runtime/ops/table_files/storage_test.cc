#include "monolith/native_training/runtime/ops/table_files/storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace {

std::vector<std::string>& Flushed() {
  static std::vector<std::string> names;
  return names;
}

}  // namespace

// Takes the place of the system's.
extern "C" int fsync(int file) {
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(file);
  const ssize_t size = readlink(link.c_str(), path, sizeof(path));
  Flushed().emplace_back(path, size > 0 ? static_cast<size_t>(size) : 0);
  return static_cast<int>(syscall(SYS_fsync, file));
}

namespace monolith {
namespace {

using Names = std::vector<std::string>;

class StorageTest : public testing::Test {
 protected:
  StorageTest() {
    char name[] = "/tmp/storage_test_XXXXXX";
    folder_ = mkdtemp(name);
    file_ = folder_ + "/file";
    std::ofstream(file_) << "content";
    Flushed().clear();
  }
  ~StorageTest() override {
    unlink(file_.c_str());
    rmdir(folder_.c_str());
  }

  std::string folder_;
  std::string file_;
};

TEST_F(StorageTest, FilesAndFoldersOfThisMachineAreFlushed) {
  EXPECT_TRUE(FlushFile(file_).ok());
  EXPECT_TRUE(FlushFolder(folder_).ok());
  EXPECT_TRUE(FlushFile("file://" + file_).ok());
  EXPECT_TRUE(FlushFolder("file://localhost" + folder_).ok());
  EXPECT_EQ(Flushed(), (Names{file_, folder_, file_, folder_}));
}

TEST_F(StorageTest, TheFolderOfABareNameIsThisOne) {
  ASSERT_EQ(chdir(folder_.c_str()), 0);
  EXPECT_TRUE(FlushFolder("").ok());
  EXPECT_EQ(Flushed(), (Names{folder_}));
}

TEST_F(StorageTest, OthersAreTheirStoragesMatter) {
  EXPECT_TRUE(FlushFile("ram://nowhere/file").ok());
  EXPECT_TRUE(FlushFolder("hdfs://host/folder").ok());
  EXPECT_TRUE(Flushed().empty());
}

TEST_F(StorageTest, APipeHasNothingToFlush) {
  unlink(file_.c_str());
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  EXPECT_TRUE(FlushFile(file_).ok());
}

TEST_F(StorageTest, WhatCannotBeFlushedIsNamed) {
  absl::Status status = FlushFile(folder_ + "/nothing");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_NE(status.message().find(folder_ + "/nothing"), std::string::npos);
  EXPECT_FALSE(FlushFolder(file_).ok());
}

TEST_F(StorageTest, ErrorsThatSessionsTakeForAnothersAreUnknown) {
  for (const absl::Status& error :
       {absl::AbortedError("busy"), absl::UnavailableError("busy"),
        absl::CancelledError("busy")}) {
    EXPECT_EQ(StorageError(error), absl::UnknownError("busy"));
  }
  for (const absl::Status& error :
       {absl::DataLossError("damaged"), absl::NotFoundError("nothing"),
        absl::OkStatus()}) {
    EXPECT_EQ(StorageError(error), error);
  }
}

}  // namespace
}  // namespace monolith
