// Serialized tf.train.Examples for tests, piece by piece, so that they can be
// wrong.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_BYTES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_BYTES_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace monolith {

std::string Varint(uint64_t value);

// A field of a message: its tag, its length and its bytes.
std::string Delimited(uint32_t field, absl::string_view bytes);

// tf.train.Features.
std::string Int64s(std::initializer_list<int64_t> values, bool packed = true);
std::string Floats(std::initializer_list<float> values, bool packed = true);
std::string Strings(std::initializer_list<absl::string_view> values);

// A name and its feature.
std::string Entry(absl::string_view name, absl::string_view feature);

// A whole tf.train.Example.
std::string Example(std::initializer_list<std::string> entries);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_EXAMPLE_BYTES_H_
