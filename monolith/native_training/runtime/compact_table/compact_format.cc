#include "monolith/native_training/runtime/compact_table/compact_format.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/checksum/crc32c.h"
#include "nlohmann/json.hpp"

namespace monolith {
namespace {

constexpr char kBegin[] = "MCTB";
constexpr char kEnd[] = "MCTE";
constexpr size_t kMagicBytes = 4;
constexpr size_t kFooterCrcOffset = kCompactFooterBytes - sizeof(uint32_t);
// Far more than a row of TableConfig::kMaxTableDim floats takes.
constexpr uint64_t kMaxRowBytes = uint64_t{1} << 24;

template <typename T>
void Put(T value, std::vector<uint8_t>* bytes) {
  const size_t begin = bytes->size();
  bytes->resize(begin + sizeof(value));
  std::memcpy(bytes->data() + begin, &value, sizeof(value));
}

template <typename T>
T Take(absl::Span<const uint8_t>* bytes) {
  T value;
  std::memcpy(&value, bytes->data(), sizeof(value));
  bytes->remove_prefix(sizeof(value));
  return value;
}

bool TakeMagic(const char* magic, absl::Span<const uint8_t>* bytes) {
  const bool same = std::memcmp(bytes->data(), magic, kMagicBytes) == 0;
  bytes->remove_prefix(kMagicBytes);
  return same;
}

}  // namespace

std::vector<uint8_t> EncodeCompactPreamble() {
  std::vector<uint8_t> bytes(kBegin, kBegin + kMagicBytes);
  Put(kCompactVersion, &bytes);
  Put(uint64_t{0}, &bytes);
  return bytes;
}

absl::Status CheckCompactPreamble(absl::Span<const uint8_t> bytes) {
  if (bytes.size() != kCompactPreambleBytes || !TakeMagic(kBegin, &bytes)) {
    return absl::DataLossError("it does not begin as a compact table does");
  }
  const auto version = Take<uint32_t>(&bytes);
  if (version > kCompactVersion) {
    return absl::UnimplementedError(absl::StrCat(
        "it has format version ", version, ", this program reads up to ",
        kCompactVersion, "; serve it with the Monolith that it was exported ",
        "with, or a later one"));
  }
  if (version != kCompactVersion || Take<uint64_t>(&bytes) != 0) {
    return absl::DataLossError("its first 16 bytes are damaged");
  }
  return absl::OkStatus();
}

std::vector<uint8_t> EncodeCompactFooter(const CompactFooter& footer) {
  std::vector<uint8_t> bytes(kEnd, kEnd + kMagicBytes);
  Put(kCompactVersion, &bytes);
  Put(footer.num_rows, &bytes);
  Put(footer.row_bytes, &bytes);
  Put(footer.num_buckets, &bytes);
  Put(footer.schema_bytes, &bytes);
  Put(footer.index_crc, &bytes);
  Put(Crc32c(bytes), &bytes);
  return bytes;
}

absl::StatusOr<CompactFooter> DecodeCompactFooter(
    absl::Span<const uint8_t> bytes, uint64_t file_bytes) {
  absl::Span<const uint8_t> rest = bytes;
  if (bytes.size() != kCompactFooterBytes || !TakeMagic(kEnd, &rest)) {
    return absl::DataLossError(absl::StrCat(
        "it does not end as a compact table does: it was cut off at ",
        file_bytes, " bytes, or never finished"));
  }
  absl::Span<const uint8_t> crc = bytes.subspan(kFooterCrcOffset);
  if (Crc32c(bytes.subspan(0, kFooterCrcOffset)) != Take<uint32_t>(&crc) ||
      Take<uint32_t>(&rest) != kCompactVersion) {
    return absl::DataLossError("the checksum of its footer does not match");
  }
  CompactFooter footer;
  footer.num_rows = Take<uint64_t>(&rest);
  footer.row_bytes = Take<uint64_t>(&rest);
  footer.num_buckets = Take<uint64_t>(&rest);
  footer.schema_bytes = Take<uint64_t>(&rest);
  footer.index_crc = Take<uint32_t>(&rest);
  if (footer.num_rows > kMaxCompactRows || footer.row_bytes > kMaxRowBytes ||
      footer.num_buckets > kMaxCompactRows ||
      footer.schema_bytes > file_bytes || footer.file_bytes() != file_bytes) {
    return absl::DataLossError(
        absl::StrCat("its footer tells of ", footer.num_rows, " rows of ",
                     footer.row_bytes, " bytes in ", footer.num_buckets,
                     " buckets, which do not make its ", file_bytes, " bytes"));
  }
  return footer;
}

std::string EncodeCompactSchema(const TableConfig& config) {
  const auto all = nlohmann::ordered_json::parse(ToJson(config));
  auto segments = nlohmann::ordered_json::array();
  for (const auto& segment : all["segments"]) {
    segments.push_back({{"name", segment["name"]},
                        {"dim", segment["dim"]},
                        {"compressor", segment["compressor"]}});
  }
  const nlohmann::ordered_json schema = {{"name", all["name"]},
                                         {"segments", segments}};
  return schema.dump();
}

}  // namespace monolith
