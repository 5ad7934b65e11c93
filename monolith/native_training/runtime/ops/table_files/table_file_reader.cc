#include "monolith/native_training/runtime/ops/table_files/table_file_reader.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

// A file's size is asked by its name, which may be another's by then: it counts
// if it was the same before.
absl::Status OpenWithSize(tensorflow::Env* env, const std::string& file,
                          std::unique_ptr<tensorflow::RandomAccessFile>* source,
                          uint64_t* size) {
  constexpr int kAttempts = 10;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    uint64_t before = 0;
    TF_RETURN_IF_ERROR(env->GetFileSize(file, &before));
    TF_RETURN_IF_ERROR(env->NewRandomAccessFile(file, source));
    TF_RETURN_IF_ERROR(env->GetFileSize(file, size));
    if (*size == before) return absl::OkStatus();
  }
  return absl::UnknownError(
      absl::StrCat("table file ", file, " changes all the time"));
}

}  // namespace

TableFileReader::TableFileReader(
    std::string file, std::unique_ptr<tensorflow::RandomAccessFile> source,
    uint64_t size)
    : file_(std::move(file)),
      source_(std::move(source)),
      size_(size),
      records_(*source_, size) {}

absl::StatusOr<std::unique_ptr<TableFileReader>> TableFileReader::Open(
    tensorflow::Env* env, const std::string& file) {
  std::unique_ptr<tensorflow::RandomAccessFile> source;
  uint64_t size = 0;
  TF_RETURN_IF_ERROR(OpenWithSize(env, file, &source, &size));
  std::unique_ptr<TableFileReader> reader(
      new TableFileReader(file, std::move(source), size));
  TF_ASSIGN_OR_RETURN(const bool read, reader->ReadRecord());
  if (!read) return reader->Damaged("it is empty");
  absl::StatusOr<TableFileHeader> header = DecodeHeader(reader->record_);
  if (!header.ok()) return reader->Damaged(header.status().message());
  reader->header_ = *std::move(header);
  reader->read_.resize(reader->header_.tables.size());
  return reader;
}

absl::Status TableFileReader::Damaged(absl::string_view reason) const {
  return absl::DataLossError(
      absl::StrCat("table file ", file_, " cannot be used: ", reason,
                   " (in the record at byte ", record_offset_, ")"));
}

absl::StatusOr<bool> TableFileReader::ReadRecord() {
  record_offset_ = records_.offset();
  const auto record = records_.Next();
  if (record.ok()) {
    record_ = record->value_or(absl::string_view());
    return record->has_value();
  }
  const absl::Status& status = record.status();
  if (absl::IsDataLoss(status)) return Damaged(status.message());
  return absl::Status(status.code(), absl::StrCat("reading table file ", file_,
                                                  ": ", status.message()));
}

absl::StatusOr<std::optional<TableFileReader::Block>> TableFileReader::Next() {
  TF_ASSIGN_OR_RETURN(const bool read, ReadRecord());
  if (!read) {
    return Damaged("it ends without a footer, so it was never finished");
  }
  switch (KindOfRecord(record_)) {
    case TableRecordKind::kFooter: {
      TF_RETURN_IF_ERROR(CheckFooter());
      return std::nullopt;
    }
    case TableRecordKind::kErased: {
      TF_ASSIGN_OR_RETURN(ErasedBlock erased, TakeErased());
      return std::optional<Block>(std::move(erased));
    }
    case TableRecordKind::kTrials: {
      TF_ASSIGN_OR_RETURN(TrialBlock trials, TakeTrials(DecodeTrials));
      return std::optional<Block>(std::move(trials));
    }
    case TableRecordKind::kAged: {
      TF_ASSIGN_OR_RETURN(TrialBlock aged, TakeTrials(DecodeAged));
      return std::optional<Block>(std::move(aged));
    }
    default: {
      TF_ASSIGN_OR_RETURN(RowBlock rows, TakeRows());
      return std::optional<Block>(std::move(rows));
    }
  }
}

absl::Status TableFileReader::CheckTable(uint32_t table) const {
  if (table < header_.tables.size()) return absl::OkStatus();
  return Damaged(absl::StrCat("a block is of table ", table,
                              ", but its header lists ",
                              header_.tables.size()));
}

absl::StatusOr<RowBlock> TableFileReader::TakeRows() {
  absl::StatusOr<RowBlock> block = DecodeBlock(record_);
  if (!block.ok()) return Damaged(block.status().message());
  TF_RETURN_IF_ERROR(CheckTable(block->table));
  const TableFileHeader::Table& table = header_.tables[block->table];
  if (static_cast<int64_t>(block->dim) != table.dim() ||
      static_cast<int64_t>(block->state_dim) != table.state_dim()) {
    return Damaged(absl::StrCat(
        "a block of table ", table.config.name, " has rows of ", block->dim,
        " + ", block->state_dim, " floats, but its header says ", table.dim(),
        " + ", table.state_dim()));
  }
  read_[block->table].rows += block->rows.ids.size();
  return block;
}

absl::StatusOr<ErasedBlock> TableFileReader::TakeErased() {
  absl::StatusOr<ErasedBlock> block = DecodeErased(record_);
  if (!block.ok()) return Damaged(block.status().message());
  TF_RETURN_IF_ERROR(CheckTable(block->table));
  read_[block->table].erased += block->ids.size();
  return block;
}

absl::StatusOr<TrialBlock> TableFileReader::TakeTrials(
    absl::StatusOr<TrialBlock> (*decode)(absl::string_view)) {
  absl::StatusOr<TrialBlock> block = decode(record_);
  if (!block.ok()) return Damaged(block.status().message());
  TF_RETURN_IF_ERROR(CheckTable(block->table));
  read_[block->table].trials += block->batch.trials.size();
  return block;
}

absl::Status TableFileReader::CheckFooter() {
  absl::StatusOr<TableFileFooter> footer = DecodeFooter(record_);
  if (!footer.ok()) return Damaged(footer.status().message());
  if (footer->size() != read_.size()) {
    return Damaged(absl::StrCat("its footer counts rows of ", footer->size(),
                                " tables, but its header lists ",
                                read_.size()));
  }
  for (size_t t = 0; t < read_.size(); ++t) {
    const TableCounts& wanted = (*footer)[t];
    const TableCounts& got = read_[t];
    if (wanted.rows == got.rows && wanted.trials == got.trials &&
        wanted.erased == got.erased) {
      continue;
    }
    return Damaged(
        absl::StrCat("it has ", got.rows, " rows, ", got.erased,
                     " erased ids and ", got.trials, " ids on trial of table ",
                     header_.tables[t].config.name, ", but its footer says ",
                     wanted.rows, ", ", wanted.erased, " and ", wanted.trials));
  }
  if (records_.offset() < size_) {
    return Damaged("something follows its footer");
  }
  return absl::OkStatus();
}

}  // namespace monolith
