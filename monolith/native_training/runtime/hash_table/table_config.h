#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TABLE_CONFIG_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TABLE_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace monolith {

// What a table is made of, and its JSON form.
//
// A table maps 64-bit ids to rows. A row is divided into segments, each with
// its own width, initial values, optimizer and export compressor.
//
// Thread safety: plain values; no shared state.
//
// Example (every key but "name", "segments" and "dim" may be left out; the
// values shown for the others are the defaults, except for the seed's 0):
//   {"tables": [{
//     "name": "movie", "occurrence_threshold": 0,
//     "admission_capacity": 4194304, "expire_time": 36500.0,
//     "segments": [{
//       "name": "vec", "dim": 32, "seed": 123456789,
//       "initializer": {"type": "random_uniform",
//                       "minval": -0.05, "maxval": 0.05},
//       "optimizer": {"type": "adagrad", "learning_rate": 0.05,
//                     "initial_accumulator_value": 0.1,
//                     "weight_decay_factor": 0.0, "warmup_steps": 0},
//       "compressor": {"type": "fp16"}}]}]}

// A named implementation and its parameters: numbers, and components that it
// wraps. A parameter that is not given takes the implementation's default; one
// it does not have is an error. Truth values are 0 and 1.
struct ComponentConfig {
  // Components of components are at most this deep in each other.
  static constexpr int kMaxDepth = 4;

  std::string type;
  std::map<std::string, double> params;
  // By parameter name, sorted, such as {"optimizer", {"sgd", {}}}.
  std::vector<std::pair<std::string, ComponentConfig>> components = {};

  friend bool operator==(const ComponentConfig& a, const ComponentConfig& b) {
    return a.type == b.type && a.params == b.params &&
           a.components == b.components;
  }
  friend bool operator!=(const ComponentConfig& a, const ComponentConfig& b) {
    return !(a == b);
  }
};

using InitializerConfig = ComponentConfig;  // see initializer/
using OptimizerConfig = ComponentConfig;    // see optimizer/
using CompressorConfig = ComponentConfig;   // how exported rows are stored

struct SegmentConfig {
  std::string name;   // unique in its table, not empty
  int dim = 0;        // floats per row, 1 .. kMaxTableDim
  uint64_t seed = 0;  // of the initial values; < 2^63
  InitializerConfig initializer{"random_uniform", {}};
  OptimizerConfig optimizer{"adagrad", {}};
  CompressorConfig compressor{"fp16", {}};

  friend bool operator==(const SegmentConfig& a, const SegmentConfig& b) {
    return a.name == b.name && a.dim == b.dim && a.seed == b.seed &&
           a.initializer == b.initializer && a.optimizer == b.optimizer &&
           a.compressor == b.compressor;
  }
  friend bool operator!=(const SegmentConfig& a, const SegmentConfig& b) {
    return !(a == b);
  }
};

struct TableConfig {
  // The sum of the dims of a table's segments is at most this.
  static constexpr int kMaxTableDim = 65536;
  static constexpr int kMaxOccurrenceThreshold = 65535;
  static constexpr int kMaxAdmissionCapacity = 1 << 30;

  std::string name;  // not empty; unique among tables that are made together
  std::vector<SegmentConfig> segments;  // at least one
  // An id gets a row once it has occurred this often; 0 means at once.
  int occurrence_threshold = 0;
  // With a threshold: how many ids that have no row yet are counted at a time.
  // They take 8 bytes each, below 100,000 and 20 KiB more in all; what becomes
  // of more is in occurrence_filter.h.
  int admission_capacity = 1 << 22;
  // Rows not updated for so many days may be evicted; fractions are allowed.
  double expire_time_days = 36500;

  friend bool operator==(const TableConfig& a, const TableConfig& b) {
    return a.name == b.name && a.segments == b.segments &&
           a.occurrence_threshold == b.occurrence_threshold &&
           a.admission_capacity == b.admission_capacity &&
           a.expire_time_days == b.expire_time_days;
  }
  friend bool operator!=(const TableConfig& a, const TableConfig& b) {
    return !(a == b);
  }
};

// Reads one table, the element of "tables" above. The result is valid in the
// sense of ValidateTableConfig. InvalidArgument says where the text is wrong
// and what was expected there.
absl::StatusOr<TableConfig> ParseTableConfig(absl::string_view json);

// Reads {"tables": [...]}; at least one table, names unique.
absl::StatusOr<std::vector<TableConfig>> ParseTableConfigs(
    absl::string_view json);

// The JSON that ParseTableConfig reads back as an equal value.
std::string ToJson(const TableConfig& config);

// Checks names, dims, ranges and that all numbers are finite. Whether a type of
// initializer, optimizer or compressor exists is found when the table is
// created.
absl::Status ValidateTableConfig(const TableConfig& config);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TABLE_CONFIG_H_
