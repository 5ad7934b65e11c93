#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_INITIALIZER_FACTORY_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_INITIALIZER_FACTORY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_table/initializer/initializer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Makes an initializer by the name of its type. A new one is added to the table
// in initializer_factory.cc.

// InvalidArgument if the type or a parameter does not exist or a value is out
// of range.
absl::StatusOr<std::unique_ptr<Initializer>> CreateInitializer(
    const InitializerConfig& config);

// The names of all types, sorted.
std::vector<std::string> InitializerTypes();

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_INITIALIZER_FACTORY_H_
