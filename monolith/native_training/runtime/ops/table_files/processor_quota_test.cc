#include "monolith/native_training/runtime/ops/table_files/processor_quota.h"

#include <limits>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensorflow/core/lib/io/path.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {
namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();

// A machine of files.
class ProcessorQuotaTest : public testing::Test {
 protected:
  ProcessorQuotaTest() {
    const auto* const test =
        testing::UnitTest::GetInstance()->current_test_info();
    root_ = absl::StrCat(testing::TempDir(), "/", test->name(), "/");
  }

  void Write(const std::string& file, const std::string& content) {
    tensorflow::Env* const env = tensorflow::Env::Default();
    const std::string path = root_ + file;
    const std::string folder(tensorflow::io::Dirname(path));
    ASSERT_TRUE(env->RecursivelyCreateDir(folder).ok());
    ASSERT_TRUE(tensorflow::WriteStringToFile(env, path, content).ok());
  }

  double Quota() const { return ProcessorQuota(root_); }

 private:
  std::string root_;
};

TEST_F(ProcessorQuotaTest, NoGroupsHaveNone) { EXPECT_EQ(Quota(), kNone); }

TEST_F(ProcessorQuotaTest, Version2) {
  Write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(Quota(), kNone);
  Write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(Quota(), kNone);
  Write("sys/fs/cgroup/cpu.max", "250000 100000\n");
  EXPECT_EQ(Quota(), 2.5);
}

TEST_F(ProcessorQuotaTest, TheLeastOfAllGroupsCounts) {
  Write("proc/self/cgroup", "0::/kubepods/pod7/main\n");
  Write("sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n");
  Write("sys/fs/cgroup/kubepods/pod7/cpu.max", "50000 100000\n");
  Write("sys/fs/cgroup/kubepods/pod7/main/cpu.max", "max 100000\n");
  EXPECT_EQ(Quota(), 0.5);
  Write("sys/fs/cgroup/kubepods/pod7/main/cpu.max", "25000 100000\n");
  EXPECT_EQ(Quota(), 0.25);
}

TEST_F(ProcessorQuotaTest, Version1) {
  Write("proc/self/cgroup",
        "5:memory:/docker/c0\n4:cpu,cpuacct:/docker/c0\n1:name=systemd:/\n"
        "0::/docker/c0\n");
  EXPECT_EQ(Quota(), kNone);
  // The container has its own group at the top.
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota(), kNone);
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(Quota(), 2);
  Write("sys/fs/cgroup/cpu/docker/c0/cpu.cfs_quota_us", "75000\n");
  Write("sys/fs/cgroup/cpu/docker/c0/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(Quota(), 1.5);
}

TEST_F(ProcessorQuotaTest, WhatIsNoNumberIsNone) {
  Write("proc/self/cgroup", "nothing\n:\n0::/\n3:cpu:/a\n");
  Write("sys/fs/cgroup/cpu.max", "many\n");
  Write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "0\n");
  Write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "0\n");
  EXPECT_EQ(Quota(), kNone);
}

TEST(UsableProcessorsTest, ThereAreSome) {
  EXPECT_GT(UsableProcessors(), 0);
  EXPECT_LT(UsableProcessors(), 100000);
}

}  // namespace
}  // namespace monolith
