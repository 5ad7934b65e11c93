#include "monolith/native_training/runtime/ops/table_files/processor_quota.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "tensorflow/core/platform/cpu_info.h"

namespace monolith {
namespace {

constexpr double kNoQuota = std::numeric_limits<double>::infinity();
constexpr double kLeast = 0.01;

// "max" and negative numbers are none.
double Quota(const std::string& quota, const std::string& period) {
  double time = 0;
  double of = 0;
  if (!absl::SimpleAtod(quota, &time) || !absl::SimpleAtod(period, &of)) {
    return kNoQuota;
  }
  return time > 0 && of > 0 ? time / of : kNoQuota;
}

// Empty where there is no such file.
std::string FirstWord(std::istream& file) {
  std::string word;
  file >> word;
  return word;
}

double QuotaOfGroup(const std::string& folder, bool is_version_2) {
  if (is_version_2) {
    std::ifstream file(folder + "/cpu.max");
    const std::string quota = FirstWord(file);
    return Quota(quota, FirstWord(file));
  }
  std::ifstream quota(folder + "/cpu.cfs_quota_us");
  std::ifstream period(folder + "/cpu.cfs_period_us");
  return Quota(FirstWord(quota), FirstWord(period));
}

// The least quota of a group and all that it is in. A container may see the
// path as its host does, but the files of its own group at the top: what is not
// there has no say.
double QuotaOfPath(const std::string& top, absl::string_view path,
                   bool is_version_2) {
  double quota = QuotaOfGroup(top, is_version_2);
  while (path.size() > 1) {
    quota =
        std::min(quota, QuotaOfGroup(absl::StrCat(top, path), is_version_2));
    path = path.substr(0, path.rfind('/'));
  }
  return quota;
}

}  // namespace

double ProcessorQuota(const std::string& root) {
  double quota = kNoQuota;
  std::ifstream groups(root + "proc/self/cgroup");
  // Lines such as "4:cpu,cpuacct:/path", or "0::/path" in version 2.
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::string folder = root + "sys/fs/cgroup";
    if (parts[1].empty()) {
      quota = std::min(quota, QuotaOfPath(folder, parts[2], true));
      continue;
    }
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    if (std::count(controllers.begin(), controllers.end(), "cpu") == 0) {
      continue;
    }
    for (const std::string& name : {std::string("cpu"), parts[1]}) {
      const std::string top = absl::StrCat(folder, "/", name);
      quota = std::min(quota, QuotaOfPath(top, parts[2], false));
    }
  }
  return quota;
}

double UsableProcessors() {
  const double allowed = tensorflow::port::MaxParallelism();
  return std::max(std::min(allowed, ProcessorQuota("/")), kLeast);
}

}  // namespace monolith
