// The optimizer state that a new row starts with.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_INITIAL_STATE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_INITIAL_STATE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// State of one segment of a new row: as many floats as the segment's optimizer
// keeps. Found by adding a row to a table of just this segment, so that it is
// true for whatever a table does.
absl::StatusOr<std::vector<float>> InitialState(const SegmentConfig& segment);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_INITIAL_STATE_H_
