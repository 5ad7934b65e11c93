#include "monolith/native_training/runtime/ops/table_files/record_reader.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/ops/table_files/record_framing.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

// Bytes read from the filesystem at once: a header, and what makes even distant
// storage fast.
constexpr size_t kFirstReadAhead = 16 << 10;
constexpr size_t kMostReadAhead = 4 << 20;
constexpr size_t kReadAheadGrowth = 8;

template <typename T>
T NumberAt(absl::string_view bytes) {
  T number;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return number;
}

absl::Status TooShort(uint64_t wanted, uint64_t left) {
  return absl::DataLossError(absl::StrCat("the file ends in a record of ",
                                          wanted, " bytes, of which it has ",
                                          left));
}

}  // namespace

RecordReader::RecordReader(const tensorflow::RandomAccessFile& file,
                           uint64_t size)
    : file_(file), size_(size), read_ahead_(kFirstReadAhead) {}

absl::StatusOr<std::optional<absl::string_view>> RecordReader::Next() {
  if (left() == 0) return std::nullopt;
  if (left() < kRecordHead) {
    return absl::DataLossError("the file ends where a record begins");
  }
  TF_ASSIGN_OR_RETURN(const absl::string_view head, Peek(kRecordHead));
  const auto length = NumberAt<uint64_t>(head);
  if (NumberAt<uint32_t>(head.substr(sizeof(length))) !=
      MaskedCrc(head.substr(0, sizeof(length)))) {
    return absl::DataLossError("the checksum of its length is wrong");
  }
  const uint64_t rest = left() - kRecordHead;
  if (rest < kRecordTail || length > rest - kRecordTail) {
    return TooShort(length, rest);
  }
  TF_ASSIGN_OR_RETURN(absl::string_view record,
                      Peek(kRecordHead + length + kRecordTail));
  const absl::string_view data = record.substr(kRecordHead, length);
  if (NumberAt<uint32_t>(record.substr(kRecordHead + length)) !=
      MaskedCrc(data)) {
    return absl::DataLossError("its checksum is wrong");
  }
  offset_ += record.size();
  return data;
}

absl::StatusOr<absl::string_view> RecordReader::Peek(size_t n) {
  const auto begin = static_cast<size_t>(offset_ - buffer_offset_);
  if (buffer_size_ - begin >= n) {
    return absl::string_view(buffer_.get() + begin, n);
  }
  const size_t kept = buffer_size_ - begin;
  const auto wanted =
      static_cast<size_t>(std::min<uint64_t>(left(), std::max(n, read_ahead_)));
  read_ahead_ = std::min(kReadAheadGrowth * read_ahead_, kMostReadAhead);
  if (wanted > buffer_capacity_) {
    // Not zeroed, as a vector's would be.
    std::unique_ptr<char[]> larger(new (std::nothrow) char[wanted]);
    if (larger == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a record of ", n, " bytes"));
    }
    if (kept > 0) std::memcpy(larger.get(), buffer_.get() + begin, kept);
    buffer_ = std::move(larger);
    buffer_capacity_ = wanted;
  } else if (kept > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin, kept);
  }
  buffer_offset_ = offset_;
  buffer_size_ = kept;
  absl::string_view read;
  char* const to = buffer_.get() + kept;
// What takes its place is not there in TensorFlow 2.15.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  const absl::Status status =
      file_.Read(offset_ + kept, wanted - kept, &read, to);
#pragma GCC diagnostic pop
  // Filesystems may have the bytes elsewhere.
  if (!read.empty() && read.data() != to) {
    std::memmove(to, read.data(), read.size());
  }
  buffer_size_ += read.size();
  if (buffer_size_ >= n) return absl::string_view(buffer_.get(), n);
  if (status.ok() || absl::IsOutOfRange(status)) {
    return TooShort(n, buffer_size_);
  }
  return status;
}

}  // namespace monolith
