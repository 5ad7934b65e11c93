#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_COMPRESSOR_FACTORY_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_COMPRESSOR_FACTORY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Makes a compressor by the name of its type. A new one is added to the table
// in compressor_factory.cc.

// InvalidArgument if the type or a parameter does not exist or a value is out
// of range.
absl::StatusOr<std::unique_ptr<Compressor>> CreateCompressor(
    const CompressorConfig& config);

// The names of all types, sorted.
std::vector<std::string> CompressorTypes();

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_COMPRESSOR_FACTORY_H_
