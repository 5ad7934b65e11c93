// Small compact tables, for tests.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_TEST_COMPACT_TABLES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_TEST_COMPACT_TABLES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/compact_table/compact_table_writer.h"
#include "monolith/native_training/runtime/compact_table/memory_files.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// A table with a segment for each compressor and dim.
inline TableConfig CompactConfig(
    const std::vector<std::pair<CompressorConfig, int>>& segments) {
  TableConfig config;
  config.name = "movie";
  for (const auto& [compressor, dim] : segments) {
    SegmentConfig segment;
    segment.name = "slice" + std::to_string(config.segments.size());
    segment.dim = dim;
    segment.compressor = compressor;
    config.segments.push_back(segment);
  }
  return config;
}

inline std::vector<uint8_t> WriteCompactTable(
    const TableConfig& config, const std::vector<int64_t>& ids,
    const std::vector<float>& embeddings) {
  MemoryFile scratch, file;
  auto writer = CompactTableWriter::Create(config, &scratch);
  EXPECT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE((*writer)->Add(ids, embeddings).ok());
  EXPECT_EQ(*(*writer)->Finish(file), static_cast<int64_t>(ids.size()));
  return file.bytes();
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_TEST_COMPACT_TABLES_H_
