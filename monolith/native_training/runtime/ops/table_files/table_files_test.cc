// SaveTables and RestoreTables beside each other, and over storage that fails.

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_files/record_framing.h"
#include "monolith/native_training/runtime/ops/table_files/restore_tables.h"
#include "monolith/native_training/runtime/ops/table_files/save_pace.h"
#include "monolith/native_training/runtime/ops/table_files/save_tables.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "tensorflow/core/lib/core/refcount.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/file_system.h"

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
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  Flushed().emplace_back(path, size > 0 ? static_cast<size_t>(size) : 0);
  return static_cast<int>(syscall(SYS_fsync, file));
}

namespace monolith {
namespace {

// Counts the bytes that are read.
class CountedFile : public tensorflow::RandomAccessFile {
 public:
  CountedFile(std::unique_ptr<tensorflow::RandomAccessFile> file,
              std::atomic<uint64_t>& num_read)
      : file_(std::move(file)), num_read_(num_read) {}

  absl::Status Read(uint64_t offset, size_t n, absl::string_view* result,
                    char* scratch) const override {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    absl::Status status = file_->Read(offset, n, result, scratch);
#pragma GCC diagnostic pop
    num_read_ += result->size();
    return status;
  }

 private:
  const std::unique_ptr<tensorflow::RandomAccessFile> file_;
  std::atomic<uint64_t>& num_read_;
};

// Is asked before a file is opened, and may wait or fail.
using Hook = std::function<absl::Status(const std::string& file)>;

class HookedFiles : public tensorflow::WrappedFileSystem {
 public:
  HookedFiles(tensorflow::FileSystem* files, Hook hook)
      : WrappedFileSystem(files, nullptr), hook_(std::move(hook)) {}

  absl::Status NewRandomAccessFile(
      const std::string& name, tensorflow::TransactionToken* token,
      std::unique_ptr<tensorflow::RandomAccessFile>* file) override {
    absl::Status status = hook_(name);
    if (!status.ok()) return status;
    status = WrappedFileSystem::NewRandomAccessFile(name, token, file);
    if (!status.ok()) return status;
    *file = std::make_unique<CountedFile>(std::move(*file), num_read_);
    return absl::OkStatus();
  }
  absl::Status NewWritableFile(
      const std::string& name, tensorflow::TransactionToken* token,
      std::unique_ptr<tensorflow::WritableFile>* file) override {
    absl::Status status = hook_(name);
    if (!status.ok()) return status;
    return WrappedFileSystem::NewWritableFile(name, token, file);
  }

  // The hook is asked for "size of FILE".
  absl::Status GetFileSize(const std::string& name,
                           tensorflow::TransactionToken* token,
                           uint64_t* size) override {
    absl::Status status = hook_("size of " + name);
    if (!status.ok()) return status;
    return WrappedFileSystem::GetFileSize(name, token, size);
  }

  uint64_t num_read() const { return num_read_; }

 private:
  const Hook hook_;
  std::atomic<uint64_t> num_read_{0};
};

class HookedEnv : public tensorflow::EnvWrapper {
 public:
  explicit HookedEnv(Hook hook) : EnvWrapper(tensorflow::Env::Default()) {
    tensorflow::FileSystem* files = nullptr;
    EXPECT_TRUE(target()->GetFileSystemForFile("/tmp", &files).ok());
    files_ = std::make_unique<HookedFiles>(files, std::move(hook));
  }

  absl::Status GetFileSystemForFile(const std::string&,
                                    tensorflow::FileSystem** files) override {
    *files = files_.get();
    return absl::OkStatus();
  }

  // Bytes of files.
  uint64_t num_read() const { return files_->num_read(); }

 private:
  std::unique_ptr<HookedFiles> files_;
};

bool Never() { return false; }

tensorflow::Env* Plain() { return tensorflow::Env::Default(); }

class TableFilesTest : public testing::Test {
 protected:
  using Tables = tensorflow::core::RefCountPtr<TableSet>;

  TableFilesTest() {
    char name[] = "/tmp/table_files_test_XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~TableFilesTest() override {
    int64_t files, folders;
    Plain()->DeleteRecursively(folder_, &files, &folders).IgnoreError();
  }

  static Tables MakeTables(const std::string& optimizer = "adagrad") {
    TableConfig config;
    config.name = "mov";
    SegmentConfig segment;
    segment.name = "vec";
    segment.dim = 1;
    segment.optimizer.type = optimizer;
    config.segments = {segment};
    auto tables = TableSet::Create({config});
    EXPECT_TRUE(tables.ok()) << tables.status();
    return Tables(*tables);
  }

  static void Assign(TableSet& tables, const std::vector<int64_t>& ids,
                     float value) {
    const std::vector<float> values(ids.size(), value);
    EXPECT_TRUE(tables.table(0).Assign(ids, values, 1).ok());
  }

  // The value of an id; -1 if it has no row.
  static float Value(const TableSet& tables, int64_t id) {
    const EmbeddingHashTable& table = tables.table(0);
    for (int stripe = 0; stripe < table.num_stripes(); ++stripe) {
      EmbeddingHashTable::RowBatch rows;
      EXPECT_TRUE(table.ExportStripe(stripe, &rows).ok());
      const auto found = std::find(rows.ids.begin(), rows.ids.end(), id);
      if (found != rows.ids.end()) {
        return rows.embeddings[found - rows.ids.begin()];
      }
    }
    return -1;
  }

  absl::StatusOr<TableCounts> Save(TableSet& tables, const std::string& id,
                                   const std::string& base,
                                   tensorflow::Env* env = Plain(),
                                   TableTurns::IsCancelled cancelled = Never) {
    SaveRequest request;
    request.file = File(id);
    request.save_id = id;
    request.base_save_id = base;
    return SaveTables(tables, request, std::move(cancelled), env);
  }

  static absl::StatusOr<Restored> Restore(
      TableSet& tables, const std::vector<std::string>& files,
      tensorflow::Env* env = Plain(),
      TableTurns::IsCancelled cancelled = Never) {
    return RestoreTables(tables, files, {}, {0, 1}, {}, std::move(cancelled),
                         env);
  }

  std::string File(const std::string& id) const {
    return folder_ + "/of_" + id + "/rows";
  }

  // Two saves: id 1 has value 1 in the first, 2 has 2 in the second.
  void SaveTwice() {
    const Tables tables = MakeTables();
    Assign(*tables, {1}, 1);
    ASSERT_TRUE(Save(*tables, "one", "").ok());
    Assign(*tables, {2}, 2);
    ASSERT_TRUE(Save(*tables, "two", "one").ok());
  }

  std::string folder_;
};

// Stops who restores both saves when the rows of the first are in, until it is
// released.
class Stopper {
 public:
  explicit Stopper(std::string last_file)
      : env_([this, last_file = std::move(last_file)](const std::string& file) {
          if (file != last_file || ++opened_ < 2) return absl::OkStatus();
          is_stopped_ = true;
          while (!is_released_) std::this_thread::yield();
          return result_;
        }) {}

  tensorflow::Env* env() { return &env_; }
  void Wait() const {
    while (!is_stopped_) std::this_thread::yield();
  }
  // The file is opened, or this is what opening it says.
  void Release(absl::Status result) {
    result_ = std::move(result);
    is_released_ = true;
  }

 private:
  std::atomic<int> opened_{0};  // Its header is read before.
  std::atomic<bool> is_stopped_{false};
  std::atomic<bool> is_released_{false};
  absl::Status result_;
  HookedEnv env_;
};

// As of a session that has gone.
TEST_F(TableFilesTest, ARestoreThatLagsOrFailsLateTouchesNoNewerOne) {
  SaveTwice();
  const Tables other = MakeTables();
  Assign(*other, {1, 3}, 7);
  ASSERT_TRUE(Save(*other, "other", "").ok());
  for (const absl::Status& end :
       {absl::OkStatus(), absl::DataLossError("damaged")}) {
    const Tables tables = MakeTables();
    Stopper stopper(File("two"));
    std::thread older([&] {
      EXPECT_TRUE(absl::IsAborted(
          Restore(*tables, {File("one"), File("two")}, stopper.env())
              .status()));
    });
    stopper.Wait();
    EXPECT_EQ(Value(*tables, 1), 1);
    std::atomic<bool> waits{false};
    std::thread newer([&] {
      const auto restored = Restore(*tables, {File("other")}, Plain(), [&] {
        waits = true;
        return false;
      });
      ASSERT_TRUE(restored.ok()) << restored.status();
      EXPECT_EQ(restored->rows, 2);
    });
    while (!waits) std::this_thread::yield();
    stopper.Release(end);
    older.join();
    newer.join();
    EXPECT_EQ(Value(*tables, 1), 7);
    EXPECT_EQ(Value(*tables, 2), -1);
    EXPECT_EQ(Value(*tables, 3), 7);
  }
}

TEST_F(TableFilesTest, ARestoreEndsWhenItsStepIsCancelled) {
  SaveTwice();
  const Tables tables = MakeTables();
  Stopper stopper(File("two"));
  std::atomic<bool> is_cancelled{false};
  std::thread restoring([&] {
    EXPECT_TRUE(absl::IsCancelled(
        Restore(*tables, {File("one"), File("two")}, stopper.env(), [&] {
          return is_cancelled.load();
        }).status()));
  });
  stopper.Wait();
  is_cancelled = true;
  stopper.Release(absl::OkStatus());
  restoring.join();
  EXPECT_EQ(tables->table(0).size(), 0);
}

TEST_F(TableFilesTest, RowsAreNotReplacedWhileTheyAreSaved) {
  SaveTwice();
  for (const char* id : {"", "three"}) {
    const Tables tables = MakeTables();
    Assign(*tables, {5}, 5);
    std::atomic<bool> is_saving{false}, is_released{false}, waits{false};
    HookedEnv env([&](const std::string&) {
      is_saving = true;
      while (!is_released) std::this_thread::yield();
      return absl::OkStatus();
    });
    std::thread saving([&] {
      EXPECT_TRUE(absl::IsAborted(Save(*tables, id, "", &env).status()));
    });
    while (!is_saving) std::this_thread::yield();
    std::thread restoring([&] {
      EXPECT_TRUE(Restore(*tables, {File("one")}, Plain(), [&] {
                    waits = true;
                    return false;
                  }).ok());
    });
    while (!waits) std::this_thread::yield();
    EXPECT_EQ(Value(*tables, 5), 5);
    is_released = true;
    saving.join();
    restoring.join();
    EXPECT_EQ(Value(*tables, 5), -1);
    EXPECT_TRUE(absl::IsNotFound(Plain()->FileExists(File(id))));
  }
}

TEST_F(TableFilesTest, ACancelledSaveLeavesNoFile) {
  const Tables tables = MakeTables();
  Assign(*tables, {5}, 5);
  for (const char* id : {"", "four"}) {
    std::atomic<bool> is_cancelled{false};
    HookedEnv env([&](const std::string&) {
      is_cancelled = true;
      return absl::OkStatus();
    });
    EXPECT_TRUE(absl::IsCancelled(Save(*tables, id, "", &env, [&] {
                                    return is_cancelled.load();
                                  }).status()));
    std::vector<std::string> names;
    ASSERT_TRUE(Plain()->GetChildren(folder_ + "/of_" + id, &names).ok());
    EXPECT_EQ(names.size(), 0u);
  }
}

// What filesystems say when they give up is not that a server is gone.
TEST_F(TableFilesTest, ErrorsOfStorageAreTold) {
  SaveTwice();
  for (const absl::Status& error :
       {absl::AbortedError("the bucket is busy"),
        absl::UnavailableError("the bucket is busy"),
        absl::CancelledError("the bucket is busy")}) {
    HookedEnv env([&](const std::string&) { return error; });
    std::atomic<int> opened{0};
    HookedEnv later([&](const std::string& file) {
      return file == File("one") && ++opened > 1 ? error : absl::OkStatus();
    });
    const Tables tables = MakeTables();
    Assign(*tables, {5}, 5);
    for (const absl::Status& status :
         {Save(*tables, "five", "", &env).status(),
          Restore(*tables, {File("one")}, &env).status(),
          Restore(*tables, {File("one")}, &later).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << status;
      EXPECT_NE(status.message().find("the bucket is busy"), std::string::npos);
    }
    EXPECT_EQ(Value(*tables, 5), 5);
  }
}

TEST_F(TableFilesTest, OthersFilesCostTheirHeadersAlone) {
  constexpr int kServers = 4;
  const Tables tables = MakeTables();
  std::vector<int64_t> ids(200000);
  std::iota(ids.begin(), ids.end(), 0);
  Assign(*tables, ids, 1);
  std::vector<std::string> files;
  uint64_t size = 0;
  for (int i = 0; i < kServers; ++i) {
    files.push_back(absl::StrCat(File("all"), i));
    SaveRequest request;
    request.file = files.back();
    request.save_id = "all";
    request.shard = {i, kServers};
    ASSERT_TRUE(SaveTables(*tables, request, Never, Plain()).ok());
    ASSERT_TRUE(Plain()->GetFileSize(files.back(), &size).ok());
  }
  HookedEnv env([](const std::string&) { return absl::OkStatus(); });
  ASSERT_TRUE(
      RestoreTables(*MakeTables(), files, {}, {0, kServers}, {}, Never, &env)
          .ok());
  EXPECT_GE(env.num_read(), size);
  EXPECT_LT(env.num_read(), size + size / 10) << "of files of " << size;
}

// Its header would not tell what its rows are like.
TEST_F(TableFilesTest, AFileOfAnotherShapeThatReplacesOneIsNotTakenForIt) {
  const Tables first = MakeTables(), other = MakeTables("sgd");
  Assign(*first, {1}, 1);
  Assign(*other, {1, 2}, 2);
  for (const int opening : {2, 3}) {
    ASSERT_TRUE(Save(*first, "", "").ok());
    int opened = 0;
    HookedEnv env([&](const std::string& file) {
      if (file == File("") && ++opened == opening) {
        EXPECT_TRUE(Save(*other, "", "").ok());
      }
      return absl::OkStatus();
    });
    const Tables tables = MakeTables("adam");
    Assign(*tables, {5}, 5);
    const absl::Status status = Restore(*tables, {File("")}, &env).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << status;
    EXPECT_NE(status.message().find(File("") + " was replaced"),
              std::string::npos);
    // Where its first reading was whole, the rows had gone for it.
    EXPECT_EQ(Value(*tables, 5), opening == 2 ? 5 : -1);
    EXPECT_EQ(Value(*tables, 1), -1);
  }
}

TEST_F(TableFilesTest, AFileThatIsReplacedWhileItIsOpenedIsNotDamaged) {
  const Tables tables = MakeTables();
  Assign(*tables, {1}, 1);
  ASSERT_TRUE(Save(*tables, "", "").ok());
  Assign(*tables, {2, 3}, 2);
  bool is_open = false, is_replaced = false;
  HookedEnv env([&](const std::string& file) {
    if (is_open && !is_replaced) {
      EXPECT_TRUE(Save(*tables, "", "").ok());
      is_replaced = true;
    }
    is_open |= file == File("");
    return absl::OkStatus();
  });
  const Tables restored = MakeTables();
  const auto result = Restore(*restored, {File("")}, &env);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows, 3);
  EXPECT_TRUE(is_replaced);
}

// With a checksum that is right.
TEST_F(TableFilesTest, ALengthThatNoFileHasIsDamage) {
  SaveTwice();
  const std::string file = File("two");
  std::string content;
  ASSERT_TRUE(tensorflow::ReadFileToString(Plain(), file, &content).ok());
  for (const int bit : {40, 62, 63}) {
    const uint64_t length = uint64_t{1} << bit;
    const std::string bytes(reinterpret_cast<const char*>(&length),
                            sizeof(length));
    const uint32_t crc = MaskedCrc(bytes);
    const std::string damage =
        bytes + std::string(reinterpret_cast<const char*>(&crc), sizeof(crc));
    for (const std::string& damaged : {damage, content + damage}) {
      ASSERT_TRUE(tensorflow::WriteStringToFile(Plain(), file, damaged).ok());
      const Tables tables = MakeTables();
      const absl::Status status =
          Restore(*tables, {File("one"), file}).status();
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
      EXPECT_NE(status.message().find(file + " cannot be used: "),
                std::string::npos);
      EXPECT_NE(status.message().find("(in the record at byte "),
                std::string::npos);
    }
  }
}

TEST_F(TableFilesTest, FilesAndTheirNamesAreFlushed) {
  const Tables tables = MakeTables();
  Assign(*tables, {5}, 5);
  for (const std::string scheme : {"", "file://"}) {
    Flushed().clear();
    SaveRequest request;
    request.file = scheme + File("six");
    ASSERT_TRUE(SaveTables(*tables, request, Never, Plain()).ok());
    const std::vector<std::string>& names = Flushed();
    ASSERT_EQ(names.size(), 3u);
    EXPECT_EQ(names[0].find(File("six") + ".tmp-"), 0u) << names[0];
    EXPECT_EQ(names[1], folder_ + "/of_six");
    EXPECT_EQ(names[2], folder_);
  }
}

// Whoever looks at it has worked for a second, beside training.
class BusyClock : public SavePace::Clock {
 public:
  explicit BusyClock(const TableSet& tables) : tables_(tables) {}

  absl::Time Now() override { return absl::UnixEpoch(); }
  absl::Duration ThreadTime() override {
    tables_.NoteRequest();
    return worked_ += absl::Seconds(1);
  }
  void SleepFor(absl::Duration) override {
    ++num_rests_;
    if (at_rest_) at_rest_();
  }

  void AtRest(std::function<void()> at_rest) { at_rest_ = std::move(at_rest); }
  int num_rests() const { return num_rests_; }

 private:
  const TableSet& tables_;
  absl::Duration worked_;
  int num_rests_ = 0;
  std::function<void()> at_rest_;
};

TEST_F(TableFilesTest, UrgentSavesDoNotRest) {
  const Tables tables = MakeTables();
  std::vector<int64_t> ids(1000);
  std::iota(ids.begin(), ids.end(), 0);
  Assign(*tables, ids, 1);
  SaveRequest request;
  request.file = File("seven");
  const auto num_rests = [&](const std::function<void()>& at_rest) {
    BusyClock clock(*tables);
    clock.AtRest(at_rest);
    EXPECT_TRUE(SaveTables(*tables, request, Never, Plain(), clock).ok());
    return clock.num_rests();
  };
  EXPECT_GT(num_rests(nullptr), 30);
  EXPECT_EQ(num_rests([&] { tables->HurrySaves(); }), 1);
  EXPECT_GT(num_rests(nullptr), 30) << "that was another one";
  request.urgent = true;
  EXPECT_EQ(num_rests(nullptr), 0);
}

TEST_F(TableFilesTest, SavesThatNoFileCanNameAreRefused) {
  const Tables tables = MakeTables();
  ASSERT_TRUE(Save(*tables, "one", "").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Save(*tables, "\xff", "").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Save(*tables, "a", "\xff").status()));
  EXPECT_TRUE(Save(*tables, "\xc3\xa9", "one").ok());
}

TEST_F(TableFilesTest, ChangesThatNobodyKnowsAreSavedAsAllRows) {
  constexpr int64_t kIds = 200000;
  const Tables tables = MakeTables();
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < kIds; ++id) ids.push_back(id);
  Assign(*tables, ids, 1);
  ASSERT_TRUE(Save(*tables, "one", "").ok());
  ids.pop_back();
  ASSERT_TRUE(tables->table(0).Erase(ids).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Save(*tables, "two", "one").status()));
  const auto saved = Save(*tables, "two", "");
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_EQ(saved->rows, 1);
  ASSERT_TRUE(Save(*tables, "three", "two").ok());
}

}  // namespace
}  // namespace monolith
