#include "monolith/native_training/runtime/examples/example_parser.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/examples/wire_reader.h"

namespace monolith {
namespace {

// The numbers of the fields in tensorflow/core/example/{example,feature}.proto.
constexpr uint32_t kFeatures = 1;  // of Example
constexpr uint32_t kEntry = 1;     // of Features
constexpr uint32_t kKey = 1;       // of an entry
constexpr uint32_t kValue = 2;     // of an entry
constexpr uint32_t kList = 1;      // of BytesList, FloatList, Int64List

constexpr uint8_t kDelimitedList =
    WireReader::Tag(kList, WireReader::kDelimited);

// TensorFlow reads with 32 bit positions.
constexpr size_t kMaxBytes = std::numeric_limits<int32_t>::max();

// Each appends the values of a list, and returns whether all could be read.

bool AppendInt64s(absl::string_view list, std::vector<int64_t>& values) {
  constexpr uint8_t kSingle = WireReader::Tag(kList, WireReader::kVarint);
  WireReader reader(list);
  const bool packed = reader.Peek() == kDelimitedList;
  if (packed) {
    // What follows the first packed block is not read by TensorFlow.
    absl::string_view block;
    if (!reader.Skip(1) || !reader.ReadBlock(&block)) return false;
    reader = WireReader(block);
  }
  while (!reader.AtEnd()) {
    uint64_t value;
    if (!packed && !reader.Take(kSingle)) return false;
    if (!reader.ReadVarint64(&value)) return false;
    values.push_back(static_cast<int64_t>(value));
  }
  return true;
}

bool AppendFloats(absl::string_view list, std::vector<float>& values) {
  constexpr uint8_t kSingle = WireReader::Tag(kList, WireReader::kFixed32);
  WireReader reader(list);
  if (reader.Take(kDelimitedList)) {
    // Bytes behind the last whole float, and behind the block, are not read.
    uint32_t bytes;
    if (!reader.ReadVarint32(&bytes)) return false;
    const size_t count = bytes / sizeof(float);
    if (count * sizeof(float) > reader.Left()) return false;
    for (size_t i = 0; i < count; ++i) values.push_back(reader.NextFloat());
    return true;
  }
  while (!reader.AtEnd()) {
    if (!reader.Take(kSingle) || reader.Left() < sizeof(float)) return false;
    values.push_back(reader.NextFloat());
  }
  return true;
}

bool AppendStrings(absl::string_view list,
                   std::vector<absl::string_view>& values) {
  WireReader reader(list);
  for (absl::string_view value; !reader.AtEnd();) {
    if (!reader.Take(kDelimitedList) || !reader.ReadString(&value)) {
      return false;
    }
    values.push_back(value);
  }
  return true;
}

// The values of a type.
std::vector<absl::string_view>& Strings(FeatureValues& values) {
  return *std::get_if<std::vector<absl::string_view>>(&values);
}
std::vector<float>& Floats(FeatureValues& values) {
  return *std::get_if<std::vector<float>>(&values);
}
std::vector<int64_t>& Int64s(FeatureValues& values) {
  return *std::get_if<std::vector<int64_t>>(&values);
}

bool AppendList(ValueType type, absl::string_view list, FeatureValues& values) {
  switch (type) {
    case ValueType::kBytes:
      return AppendStrings(list, Strings(values));
    case ValueType::kFloat:
      return AppendFloats(list, Floats(values));
    case ValueType::kInt64:
      return AppendInt64s(list, Int64s(values));
  }
  return false;
}

int64_t SizeOf(const FeatureValues& values) {
  return std::visit(
      [](const auto& v) { return static_cast<int64_t>(v.size()); }, values);
}

void Truncate(int64_t size, FeatureValues& values) {
  std::visit([size](auto& v) { v.resize(size); }, values);
}

// The type that a feature's first byte says; false if it is none.
bool TypeOf(absl::string_view feature, ValueType* type) {
  const auto tag = static_cast<uint8_t>(feature.front());
  const uint32_t field = tag >> 3;
  *type = static_cast<ValueType>(field);
  return (tag & 7) == WireReader::kDelimited && field >= 1 && field <= 3;
}

// One entry of the map: a key and a value, in any order.
bool ReadEntry(absl::string_view entry, absl::string_view* name,
               absl::string_view* feature) {
  WireReader reader(entry);
  for (int i = 0; i < 2; ++i) {
    uint32_t tag;
    if (!reader.ReadVarint32(&tag)) return false;
    if (tag == WireReader::Tag(kKey, WireReader::kDelimited)) {
      if (!reader.ReadString(name)) return false;
    } else if (tag == WireReader::Tag(kValue, WireReader::kDelimited)) {
      if (!reader.ReadString(feature)) return false;
    } else {
      return false;
    }
  }
  return reader.AtEnd();
}

// A field of Example that is not its features.
bool SkipField(WireReader& reader) {
  uint32_t tag;
  if (!reader.ReadVarint32(&tag)) return false;
  uint32_t value;
  switch (tag & 7) {
    case WireReader::kVarint:
      return reader.SkipVarint();
    case WireReader::kFixed64:
      return reader.Skip(8);
    case WireReader::kFixed32:
      return reader.Skip(4);
    case WireReader::kDelimited:
      if (!reader.ReadVarint32(&value)) return false;
      // TensorFlow passes over no byte for a length that is negative as an
      // int32, and goes to the end for one that is too large.
      if (value > kMaxBytes) return true;
      if (!reader.Skip(value)) reader.Skip(reader.Left());
      return true;
    default:
      return false;
  }
}

template <typename T>
uint64_t Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// Of the length and of where a name begins and ends, in which most names
// differ.
uint64_t HashOf(absl::string_view name) {
  const char* const data = name.data();
  const size_t size = name.size();
  uint64_t head = 0;
  uint64_t tail = 0;
  if (size >= 8) {
    head = Load<uint64_t>(data);
    tail = Load<uint64_t>(data + size - 8);
  } else if (size >= 4) {
    head = Load<uint32_t>(data);
    tail = Load<uint32_t>(data + size - 4);
  } else if (size > 0) {
    head = static_cast<uint8_t>(data[0]) << 8 |
           static_cast<uint8_t>(data[size / 2]);
    tail = static_cast<uint8_t>(data[size - 1]);
  }
  // A product moves bits upwards only, so the upper half goes down in between.
  uint64_t hash = (head ^ size) * 0x9E3779B97F4A7C15u ^ tail;
  hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93u;
  return hash ^ hash >> 32;
}

absl::string_view NameOf(ValueType type) {
  switch (type) {
    case ValueType::kBytes:
      return "bytes";
    case ValueType::kFloat:
      return "float";
    case ValueType::kInt64:
      return "int64";
  }
  return "unknown";
}

}  // namespace

struct ExampleParser::Found {
  absl::string_view feature;
  bool bad_type = false;  // of any occurrence: TensorFlow reads that of all
};

absl::StatusOr<ExampleParser> ExampleParser::Create(
    std::vector<FeatureSpec> specs) {
  ExampleParser parser(std::move(specs));
  for (size_t i = 0; i < parser.specs_.size(); ++i) {
    const FeatureSpec& spec = parser.specs_[i];
    if (parser.IndexOf(spec.name) != static_cast<int>(i)) {
      return absl::InvalidArgumentError(
          absl::StrCat("feature '", spec.name, "' is named twice"));
    }
    if (spec.length < 0 && spec.length != FeatureSpec::kAnyLength) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the length of feature '", spec.name, "' must be 0 or more, or ",
          FeatureSpec::kAnyLength, " for any, got ", spec.length));
    }
  }
  return parser;
}

ExampleParser::ExampleParser(std::vector<FeatureSpec> specs)
    : specs_(std::move(specs)) {
  size_t size = 8;
  while (size < 4 * specs_.size()) size *= 2;
  slots_.assign(size, -1);
  for (size_t i = 0; i < specs_.size(); ++i) {
    if (IndexOf(specs_[i].name) >= 0) continue;  // Create refuses it.
    size_t slot = HashOf(specs_[i].name) & (size - 1);
    while (slots_[slot] >= 0) slot = (slot + 1) & (size - 1);
    slots_[slot] = static_cast<int>(i);
  }
}

int ExampleParser::IndexOf(absl::string_view name) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = HashOf(name) & mask; slots_[slot] >= 0;
       slot = (slot + 1) & mask) {
    if (specs_[slots_[slot]].name == name) return slots_[slot];
  }
  return -1;
}

std::vector<FeatureValues> ExampleParser::EmptyValues() const {
  std::vector<FeatureValues> values;
  for (const FeatureSpec& spec : specs_) {
    switch (spec.type) {
      case ValueType::kBytes:
        values.emplace_back(std::vector<absl::string_view>());
        break;
      case ValueType::kFloat:
        values.emplace_back(std::vector<float>());
        break;
      case ValueType::kInt64:
        values.emplace_back(std::vector<int64_t>());
        break;
    }
  }
  return values;
}

std::vector<ExampleColumn> ExampleParser::EmptyColumns() const {
  std::vector<ExampleColumn> columns;
  for (FeatureValues& values : EmptyValues()) {
    columns.push_back({std::move(values), {}});
  }
  return columns;
}

ExampleFault ExampleParser::Parse(absl::string_view serialized,
                                  absl::Span<const FeatureValues> defaults,
                                  absl::Span<ExampleColumn> columns) const {
  absl::InlinedVector<Found, 32> found(specs_.size());
  if (!Find(serialized, absl::MakeSpan(found))) {
    return {ExampleFault::kNotAnExample};
  }
  for (uint32_t i = 0; i < specs_.size(); ++i) {
    const ExampleFault fault =
        Append(i, found[i], defaults[i], columns[i].values);
    if (fault.kind == ExampleFault::kNone) continue;
    for (uint32_t j = 0; j <= i; ++j) {
      ExampleColumn& column = columns[j];
      Truncate(column.ends.empty() ? 0 : column.ends.back(), column.values);
    }
    return fault;
  }
  for (ExampleColumn& column : columns) {
    column.ends.push_back(SizeOf(column.values));
  }
  return {};
}

// The features of an example, where each occurred last; false if it is none.
bool ExampleParser::Find(absl::string_view serialized,
                         absl::Span<Found> found) const {
  if (serialized.size() > kMaxBytes) return false;
  WireReader reader(serialized);
  while (!reader.AtEnd()) {
    if (reader.Take(WireReader::Tag(kFeatures, WireReader::kDelimited))) {
      absl::string_view features;
      if (!reader.ReadBlock(&features) || !FindInFeatures(features, found)) {
        return false;
      }
    } else if (!SkipField(reader)) {
      return false;
    }
  }
  return true;
}

bool ExampleParser::FindInFeatures(absl::string_view features,
                                   absl::Span<Found> found) const {
  WireReader reader(features);
  while (!reader.AtEnd()) {
    absl::string_view entry;
    absl::string_view name;
    absl::string_view feature;
    if (!reader.Take(WireReader::Tag(kEntry, WireReader::kDelimited)) ||
        !reader.ReadBlock(&entry) || !ReadEntry(entry, &name, &feature)) {
      return false;
    }
    const int index = IndexOf(name);
    if (index < 0) continue;
    if (feature.empty()) {
      // It hides earlier values only where there may be any number of them.
      if (specs_[index].length == FeatureSpec::kAnyLength) {
        found[index].feature = feature;
      }
      continue;
    }
    ValueType type;
    if (!TypeOf(feature, &type)) found[index].bad_type = true;
    found[index].feature = feature;
  }
  return true;
}

// The values of a feature; where there is a fault, some of them.
ExampleFault ExampleParser::Append(uint32_t index, const Found& found,
                                   const FeatureValues& defaults,
                                   FeatureValues& values) const {
  const FeatureSpec& spec = specs_[index];
  if (found.bad_type) return {ExampleFault::kUnreadable, index};
  if (found.feature.empty()) {
    if (spec.length == FeatureSpec::kAnyLength) return {};
    if (SizeOf(defaults) == 0) return {ExampleFault::kMissing, index};
    std::visit(
        [&values](const auto& from) {
          auto& to = *std::get_if<std::decay_t<decltype(from)>>(&values);
          to.insert(to.end(), from.begin(), from.end());
        },
        defaults);
    return {};
  }
  ValueType type;
  if (!TypeOf(found.feature, &type)) return {ExampleFault::kUnreadable, index};
  if (type != spec.type) return {ExampleFault::kWrongType, index, type};
  WireReader feature(found.feature.substr(1));
  absl::string_view list;
  const int64_t before = SizeOf(values);
  if (!feature.ReadBlock(&list) || !AppendList(type, list, values)) {
    return {ExampleFault::kUnreadable, index};
  }
  if (spec.length != FeatureSpec::kAnyLength &&
      SizeOf(values) - before != spec.length) {
    return {ExampleFault::kWrongLength, index};
  }
  return {};
}

std::string ExampleParser::Describe(const ExampleFault& fault) const {
  if (fault.kind == ExampleFault::kNone) return "";
  if (fault.kind == ExampleFault::kNotAnExample) {
    return "not a tf.train.Example";
  }
  const FeatureSpec& spec = specs_[fault.feature];
  const std::string name = absl::StrCat("feature '", spec.name, "' ");
  switch (fault.kind) {
    case ExampleFault::kMissing:
      return absl::StrCat(name, "is missing");
    case ExampleFault::kWrongType:
      return absl::StrCat(name, "is ", NameOf(fault.got), ", wanted ",
                          NameOf(spec.type));
    case ExampleFault::kWrongLength:
      return absl::StrCat(name, "has more or fewer values than ", spec.length);
    default:
      return absl::StrCat(name, "has values that cannot be read");
  }
}

}  // namespace monolith
