// How the records of a table file (table_file_format.h) lie in memory: what
// encoding and decoding share.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_LAYOUT_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/hash_filter/trial.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "blocks are written from memory as they are");

namespace monolith {

constexpr absl::string_view kHeaderTag = "MTH1";
constexpr absl::string_view kBlockTag = "MTB1";
constexpr absl::string_view kErasedTag = "MTE1";
constexpr absl::string_view kTrialsTag = "MTT1";
constexpr absl::string_view kAgedTag = "MTA1";
constexpr absl::string_view kFooterTag = "MTF1";
constexpr size_t kTagSize = 4;

struct BlockHeader {
  char tag[kTagSize];
  uint32_t table;
  uint32_t dim;
  uint32_t state_dim;
  uint64_t n;
};
static_assert(sizeof(BlockHeader) == 24, "no padding");

struct ErasedHeader {
  char tag[kTagSize];
  uint32_t table;
  uint64_t n;
};
static_assert(sizeof(ErasedHeader) == 16, "no padding");

struct TrialsHeader {
  char tag[kTagSize];
  uint32_t table;
  uint32_t stripe;
  uint32_t num_buckets;
  uint64_t n;
};
static_assert(sizeof(TrialsHeader) == 24, "no padding");
constexpr size_t kTrialBytes = sizeof(Trial::bucket) +
                               sizeof(Trial::fingerprint) +
                               sizeof(Trial::occurrences) + sizeof(Trial::age);

struct AgedHeader {
  char tag[kTagSize];
  uint32_t table;
  uint32_t stripe;
  uint32_t num_buckets;
  uint32_t aged;
};
static_assert(sizeof(AgedHeader) == 20, "no padding");

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_LAYOUT_H_
