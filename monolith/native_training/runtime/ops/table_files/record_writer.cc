#include "monolith/native_training/runtime/ops/table_files/record_writer.h"

#include <cstdint>
#include <cstring>

#include "monolith/native_training/runtime/ops/table_files/record_framing.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

template <typename T>
absl::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

}  // namespace

absl::Status RecordWriter::Write(absl::string_view record) {
  const uint64_t size = record.size();
  const uint32_t size_crc = MaskedCrc(BytesOf(size));
  char head[kRecordHead];
  std::memcpy(head, &size, sizeof(size));
  std::memcpy(head + sizeof(size), &size_crc, sizeof(size_crc));
  const uint32_t record_crc = MaskedCrc(record);
  TF_RETURN_IF_ERROR(file_.Append({head, sizeof(head)}));
  TF_RETURN_IF_ERROR(file_.Append(record));
  return file_.Append(BytesOf(record_crc));
}

}  // namespace monolith
