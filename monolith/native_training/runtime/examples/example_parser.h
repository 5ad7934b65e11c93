// The values of features in serialized tf.train.Examples, or why an example
// cannot be parsed.
//
// The values are those that tf.io.parse_example gives, and an example is
// accepted where it accepts it. It fails a whole batch for one bad example,
// without saying which, and some bytes end the process: it writes past a
// fixed-length float feature whose values are not packed, and reads past a
// message whose length is 2^31 or more. So what does not come from ourselves is
// parsed here, one example at a time, and a bad one leaves nothing behind.
//
// That includes what TensorFlow is lenient about: a feature that occurs twice
// counts as it last occurred, bytes behind a list of values are ignored, and a
// message cut between two features is one without the later of them.
//
// Example:
//   StatusOr<ExampleParser> parser = ExampleParser::Create(
//       {{"mov", ValueType::kInt64}, {"label", ValueType::kFloat, 1}});
//   std::vector<FeatureValues> defaults = parser->EmptyValues();  // Has none.
//   std::vector<ExampleColumn> columns = parser->EmptyColumns();
//   ExampleFault fault =
//       parser->Parse(serialized, defaults, absl::MakeSpan(columns));
//   if (fault.kind != ExampleFault::kNone) log(parser->Describe(fault));
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_PARSER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_PARSER_H_

#include <cstdint>
#include <string>
#include <variant>
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
};

// Values of one type. Strings are not copied.
using FeatureValues = std::variant<std::vector<absl::string_view>,
                                   std::vector<float>, std::vector<int64_t>>;

// The values of one feature in several examples, one after the other.
struct ExampleColumn {
  FeatureValues values;
  std::vector<int64_t> ends;  // per example, where its values end
};

struct ExampleFault {
  enum Kind : uint8_t {
    kNone,
    kNotAnExample,
    kMissing,      // the feature is not there and has no default
    kWrongType,    // it has values of another type
    kWrongLength,  // it has more or fewer values
    kUnreadable,   // its values are not in protobuf's format
  };

  Kind kind = kNone;
  uint32_t feature = 0;  // index into the specs; but for kNotAnExample
  ValueType got = ValueType::kBytes;  // for kWrongType
};

// Thread safety: thread-safe once created; it never changes.
class ExampleParser {
 public:
  // InvalidArgument for a name that occurs twice, and a length below 0 that is
  // not kAnyLength.
  static absl::StatusOr<ExampleParser> Create(std::vector<FeatureSpec> specs);

  // No values of each feature's type, and columns of them.
  std::vector<FeatureValues> EmptyValues() const;
  std::vector<ExampleColumn> EmptyColumns() const;

  // Appends the values of an example, one column per feature, or nothing if
  // there is a fault. Of several faults it is kNotAnExample, else that of the
  // first feature in the order of the specs. Strings point into `serialized`
  // and `defaults`.
  //
  // A feature of fixed length that the example lacks has the values of
  // `defaults`, and is missing if there are none.
  //
  // REQUIRES: `defaults` and `columns` are of the specs' types, one per spec;
  // of defaults there are none or as many as the spec's length.
  ExampleFault Parse(absl::string_view serialized,
                     absl::Span<const FeatureValues> defaults,
                     absl::Span<ExampleColumn> columns) const;

  // A sentence without a stop. There are few different ones per feature, so
  // that they can be counted: it tells no values and lengths of the example.
  std::string Describe(const ExampleFault& fault) const;

 private:
  explicit ExampleParser(std::vector<FeatureSpec> specs);

  // Where a feature of the example is, as the walk over it has found.
  struct Found;

  bool Find(absl::string_view serialized, absl::Span<Found> found) const;
  bool FindInFeatures(absl::string_view features,
                      absl::Span<Found> found) const;
  ExampleFault Append(uint32_t index, const Found& found,
                      const FeatureValues& defaults,
                      FeatureValues& values) const;
  // The position of a name in the specs, -1 if no one asked for it.
  int IndexOf(absl::string_view name) const;

  std::vector<FeatureSpec> specs_;
  std::vector<int> slots_;  // hash of a name -> index into specs_, or -1
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_PARSER_H_
