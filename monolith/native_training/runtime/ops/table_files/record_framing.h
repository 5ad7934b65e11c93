// How records stand in a file: the length and its checksum, the data and
// theirs. https://www.tensorflow.org/tutorials/load_data/tfrecord
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_FRAMING_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_FRAMING_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/checksum/crc32c.h"

namespace monolith {

// Bytes before and after the data.
constexpr size_t kRecordHead = sizeof(uint64_t) + sizeof(uint32_t);
constexpr size_t kRecordTail = sizeof(uint32_t);

// Of bytes that may hold checksums themselves.
inline uint32_t MaskedCrc(absl::string_view bytes) {
  constexpr uint32_t kMask = 0xa282ead8;
  const uint32_t crc =
      Crc32c({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  return ((crc >> 15) | (crc << 17)) + kMask;
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_FRAMING_H_
