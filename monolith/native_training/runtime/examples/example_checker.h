// Whether tf.io.parse_example would accept a serialized tf.train.Example, and
// if not, why not.
//
// tf.io.parse_example fails a whole batch for one bad example, without saying
// which, and some bytes end the process: it writes past a fixed-length float
// feature whose values are not packed, and reads past a message whose length
// is 2^31 or more. So every example is checked before it is parsed.
//
// The checker accepts what TensorFlow accepts and rejects the rest. That
// includes what TensorFlow is lenient about: a feature that occurs twice counts
// as it last occurred, bytes behind a list of values are ignored, and a message
// cut between two features is one without the later of them.
//
// Example:
//   StatusOr<ExampleChecker> checker = ExampleChecker::Create(
//       {{"mov", ValueType::kInt64}, {"label", ValueType::kFloat, 1, true}});
//   ExampleFault fault = checker->Check(serialized);
//   if (fault.kind != ExampleFault::kNone) log(checker->Describe(fault));
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_CHECKER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_CHECKER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace monolith {

// The fields of tf.train.Feature.
enum class ValueType : uint8_t { kBytes = 1, kFloat = 2, kInt64 = 3 };

// What a model expects of one feature.
struct FeatureSpec {
  static constexpr int64_t kAnyLength = -1;

  std::string name;
  ValueType type = ValueType::kInt64;
  // The number of values, or kAnyLength for ragged and sparse features.
  int64_t length = kAnyLength;
  // Whether an example without it is bad. REQUIRES: a fixed length.
  bool required = false;
};

struct ExampleFault {
  enum Kind : uint8_t {
    kNone,
    kNotAnExample,
    kMissing,      // the feature is required and not there
    kWrongType,    // it has values of another type
    kWrongLength,  // it has more or fewer values
    kUnreadable,   // its values are not in protobuf's format
  };

  Kind kind = kNone;
  uint32_t feature = 0;  // index into the specs; but for kNotAnExample
  ValueType got = ValueType::kBytes;  // for kWrongType
};

// Thread safety: thread-safe once created; it never changes.
class ExampleChecker {
 public:
  // InvalidArgument for a name that occurs twice, a length below 0 that is not
  // kAnyLength, and a required feature of any length.
  static absl::StatusOr<ExampleChecker> Create(std::vector<FeatureSpec> specs);

  // Of several faults it is kNotAnExample, else that of the first feature in
  // the order of the specs. Reads each byte at most twice.
  ExampleFault Check(absl::string_view serialized) const;

  // A sentence without a stop. There are few different ones per feature, so
  // that they can be counted: it tells no values and lengths of the example.
  std::string Describe(const ExampleFault& fault) const;

 private:
  explicit ExampleChecker(std::vector<FeatureSpec> specs);

  // Where a feature of the example is, as the walk over it has found.
  struct Found;

  bool ReadFeatures(absl::string_view features, absl::Span<Found> found) const;
  // The position of a name in the specs, -1 if no one asked for it.
  int IndexOf(absl::string_view name) const;

  std::vector<FeatureSpec> specs_;
  std::vector<int> slots_;  // hash of a name -> index into specs_, or -1
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_CHECKER_H_
