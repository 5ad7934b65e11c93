#include "monolith/native_training/runtime/examples/example_bytes.h"

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace monolith {

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes.push_back(static_cast<char>(value | 0x80));
  }
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string Delimited(uint32_t field, absl::string_view bytes) {
  return absl::StrCat(Varint(field << 3 | 2), Varint(bytes.size()), bytes);
}

std::string Int64s(std::initializer_list<int64_t> values, bool packed) {
  std::string list;
  for (const int64_t value : values) {
    if (!packed) list.push_back(0x08);
    list += Varint(static_cast<uint64_t>(value));
  }
  return Delimited(3, packed ? Delimited(1, list) : list);
}

std::string Floats(std::initializer_list<float> values, bool packed) {
  std::string list;
  for (const float value : values) {
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    if (!packed) list.push_back(0x0D);
    list.append(bytes, sizeof(value));
  }
  return Delimited(2, packed ? Delimited(1, list) : list);
}

std::string Strings(std::initializer_list<absl::string_view> values) {
  std::string list;
  for (const absl::string_view value : values) list += Delimited(1, value);
  return Delimited(1, list);
}

std::string Entry(absl::string_view name, absl::string_view feature) {
  return Delimited(1, absl::StrCat(Delimited(1, name), Delimited(2, feature)));
}

std::string Example(std::initializer_list<std::string> entries) {
  std::string features;
  for (const std::string& entry : entries) features += entry;
  return Delimited(1, features);
}

}  // namespace monolith
