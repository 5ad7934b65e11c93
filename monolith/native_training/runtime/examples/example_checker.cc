#include "monolith/native_training/runtime/examples/example_checker.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
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

constexpr int64_t kUnreadable = -1;

int64_t CountInt64s(absl::string_view list) {
  constexpr uint8_t kSingle = WireReader::Tag(kList, WireReader::kVarint);
  WireReader reader(list);
  const bool packed = reader.Peek() == kDelimitedList;
  if (packed) {
    // What follows the first packed block is not read by TensorFlow.
    absl::string_view block;
    if (!reader.Skip(1) || !reader.ReadBlock(&block)) return kUnreadable;
    reader = WireReader(block);
  }
  int64_t count = 0;
  for (; !reader.AtEnd(); ++count) {
    if (!packed && !reader.Take(kSingle)) return kUnreadable;
    if (!reader.SkipVarint()) return kUnreadable;
  }
  return count;
}

int64_t CountFloats(absl::string_view list) {
  constexpr uint8_t kSingle = WireReader::Tag(kList, WireReader::kFixed32);
  WireReader reader(list);
  if (reader.Take(kDelimitedList)) {
    // Bytes behind the last whole float, and behind the block, are not read.
    uint32_t bytes;
    if (!reader.ReadVarint32(&bytes)) return kUnreadable;
    const size_t count = bytes / sizeof(float);
    return reader.Skip(count * sizeof(float)) ? static_cast<int64_t>(count)
                                              : kUnreadable;
  }
  int64_t count = 0;
  for (; !reader.AtEnd(); ++count) {
    if (!reader.Take(kSingle) || !reader.Skip(sizeof(float))) {
      return kUnreadable;
    }
  }
  return count;
}

int64_t CountStrings(absl::string_view list) {
  WireReader reader(list);
  int64_t count = 0;
  for (absl::string_view value; !reader.AtEnd(); ++count) {
    if (!reader.Take(kDelimitedList) || !reader.ReadString(&value)) {
      return kUnreadable;
    }
  }
  return count;
}

// The number of values, or kUnreadable.
int64_t CountValues(ValueType type, absl::string_view list) {
  switch (type) {
    case ValueType::kBytes:
      return CountStrings(list);
    case ValueType::kFloat:
      return CountFloats(list);
    case ValueType::kInt64:
      return CountInt64s(list);
  }
  return kUnreadable;
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

struct ExampleChecker::Found {
  absl::string_view feature;
  bool bad_type = false;  // of any occurrence: TensorFlow reads that of all
};

absl::StatusOr<ExampleChecker> ExampleChecker::Create(
    std::vector<FeatureSpec> specs) {
  ExampleChecker checker(std::move(specs));
  for (size_t i = 0; i < checker.specs_.size(); ++i) {
    const FeatureSpec& spec = checker.specs_[i];
    if (checker.IndexOf(spec.name) != static_cast<int>(i)) {
      return absl::InvalidArgumentError(
          absl::StrCat("feature '", spec.name, "' is named twice"));
    }
    if (spec.length < 0 && spec.length != FeatureSpec::kAnyLength) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the length of feature '", spec.name, "' must be 0 or more, or ",
          FeatureSpec::kAnyLength, " for any, got ", spec.length));
    }
    if (spec.length == FeatureSpec::kAnyLength && spec.required) {
      return absl::InvalidArgumentError(
          absl::StrCat("feature '", spec.name,
                       "' has any number of values and so cannot be required"));
    }
  }
  return checker;
}

ExampleChecker::ExampleChecker(std::vector<FeatureSpec> specs)
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

int ExampleChecker::IndexOf(absl::string_view name) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = HashOf(name) & mask; slots_[slot] >= 0;
       slot = (slot + 1) & mask) {
    if (specs_[slots_[slot]].name == name) return slots_[slot];
  }
  return -1;
}

bool ExampleChecker::ReadFeatures(absl::string_view features,
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

ExampleFault ExampleChecker::Check(absl::string_view serialized) const {
  if (serialized.size() > kMaxBytes) return {ExampleFault::kNotAnExample};
  absl::InlinedVector<Found, 32> found(specs_.size());
  WireReader reader(serialized);
  while (!reader.AtEnd()) {
    if (reader.Take(WireReader::Tag(kFeatures, WireReader::kDelimited))) {
      absl::string_view features;
      if (!reader.ReadBlock(&features) ||
          !ReadFeatures(features, absl::MakeSpan(found))) {
        return {ExampleFault::kNotAnExample};
      }
    } else if (!SkipField(reader)) {
      return {ExampleFault::kNotAnExample};
    }
  }
  for (uint32_t i = 0; i < specs_.size(); ++i) {
    const FeatureSpec& spec = specs_[i];
    if (found[i].bad_type) return {ExampleFault::kUnreadable, i};
    if (found[i].feature.empty()) {
      if (spec.required) return {ExampleFault::kMissing, i};
      continue;
    }
    ValueType type;
    if (!TypeOf(found[i].feature, &type)) return {ExampleFault::kUnreadable, i};
    if (type != spec.type) return {ExampleFault::kWrongType, i, type};
    WireReader feature(found[i].feature.substr(1));
    absl::string_view list;
    if (!feature.ReadBlock(&list)) return {ExampleFault::kUnreadable, i};
    const int64_t count = CountValues(type, list);
    if (count == kUnreadable) return {ExampleFault::kUnreadable, i};
    if (spec.length != FeatureSpec::kAnyLength && count != spec.length) {
      return {ExampleFault::kWrongLength, i};
    }
  }
  return {};
}

std::string ExampleChecker::Describe(const ExampleFault& fault) const {
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
