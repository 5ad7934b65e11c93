// Says in what two configurations of a set of tables differ.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_CONFIG_DIFFERENCE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_CONFIG_DIFFERENCE_H_

#include <string>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// The first difference, such as "segment vec of table mov: dim is 32, not 16"
// (`there` comes first, then `wanted`). Empty if there is none.
std::string FindConfigDifference(absl::Span<const TableConfig> there,
                                 absl::Span<const TableConfig> wanted);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_CONFIG_DIFFERENCE_H_
