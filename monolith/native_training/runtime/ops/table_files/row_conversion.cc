#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

namespace monolith {
namespace {

// Where a segment of the file begins in a row.
struct Place {
  const SegmentConfig* segment = nullptr;  // none of that name
  int embedding = 0;
  int state = 0;
  int state_dim = 0;
};

Place FindSegment(const TableFileHeader::Table& table,
                  const std::string& name) {
  Place place;
  for (size_t s = 0; s < table.config.segments.size(); ++s) {
    const SegmentConfig& segment = table.config.segments[s];
    place.state_dim = table.state_dims[s];
    if (segment.name == name) {
      place.segment = &segment;
      return place;
    }
    place.embedding += segment.dim;
    place.state += place.state_dim;
  }
  return place;
}

bool HasSegment(const TableConfig& table, const std::string& name) {
  return std::any_of(
      table.segments.begin(), table.segments.end(),
      [&](const SegmentConfig& segment) { return segment.name == name; });
}

// The type of an optimizer and of those that it wraps, by which its state is
// laid out: "stochastic_rounding_float16(adam)".
std::string TypeName(const OptimizerConfig& optimizer) {
  if (optimizer.components.empty()) return optimizer.type;
  const auto append = [](std::string* out, const auto& component) {
    absl::StrAppend(out, TypeName(component.second));
  };
  return absl::StrCat(optimizer.type, "(",
                      absl::StrJoin(optimizer.components, ", ", append), ")");
}

}  // namespace

absl::StatusOr<RowConversion> RowConversion::Create(
    const TableFileHeader::Table& from, const EmbeddingHashTable& to,
    MustFit must_fit) {
  const std::string& name = to.config().name;
  RowConversion conversion;
  conversion.from_dim_ = from.dim();
  conversion.from_state_dim_ = from.state_dim();
  int embedding = 0;
  int state = 0;
  for (int s = 0; s < to.num_segments(); ++s) {
    const SegmentConfig& segment = to.config().segments[s];
    const absl::Span<const float> initial = to.initial_state(s);
    const auto state_dim = static_cast<int>(initial.size());
    conversion.initial_state_.insert(conversion.initial_state_.end(),
                                     initial.begin(), initial.end());

    const Place place = FindSegment(from, segment.name);
    const bool is_there = place.segment != nullptr;
    if (!is_there || place.segment->dim != segment.dim) {
      const std::string has_dim = absl::StrCat("segment ", segment.name,
                                               " of table ", name, " has dim ");
      const std::string misfit =
          is_there
              ? absl::StrCat(has_dim, place.segment->dim, " in the file, but ",
                             segment.dim, " in the model")
              : absl::StrCat(has_dim, segment.dim,
                             " in the model, but is not in the file");
      if (must_fit == MustFit::kEverySegment ||
          (is_there && must_fit == MustFit::kSharedSegments)) {
        return absl::InvalidArgumentError(misfit);
      }
      conversion.needs_initial_values_ = true;
      conversion.warnings_.push_back(
          absl::StrCat(misfit, ": it begins with initial values"));
    } else {
      conversion.embeddings_.push_back(
          {place.embedding, embedding, segment.dim});
      const std::string before = TypeName(place.segment->optimizer);
      const std::string now = TypeName(segment.optimizer);
      if (before == now && place.state_dim == state_dim) {
        conversion.states_.push_back({place.state, state, state_dim});
      } else {
        conversion.warnings_.push_back(absl::StrCat(
            "segment ", segment.name, " of table ", name, " was trained with ",
            before, ", now with ", now, ": its optimizer state starts anew"));
      }
    }
    embedding += segment.dim;
    state += state_dim;
  }
  if (must_fit == MustFit::kSharedSegments) {
    for (const SegmentConfig& segment : from.config.segments) {
      if (HasSegment(to.config(), segment.name)) continue;
      conversion.warnings_.push_back(
          absl::StrCat("segment ", segment.name, " of table ", name,
                       " is not in the model: its values are left out"));
    }
  }
  if (must_fit == MustFit::kNothing && conversion.embeddings_.empty()) {
    conversion.takes_rows_ = false;
    conversion.warnings_ = {absl::StrCat(
        "table ", name,
        " begins empty: ", absl::StrJoin(conversion.warnings_, "; "))};
  }
  conversion.to_dim_ = embedding;
  const auto is_in_place = [](const Range& range) {
    return range.from == range.to;
  };
  conversion.is_identity_ =
      conversion.from_dim_ == embedding &&
      conversion.from_state_dim_ == state &&
      !conversion.needs_initial_values_ && conversion.warnings_.empty() &&
      std::all_of(conversion.embeddings_.begin(), conversion.embeddings_.end(),
                  is_in_place) &&
      std::all_of(conversion.states_.begin(), conversion.states_.end(),
                  is_in_place);
  return conversion;
}

absl::Status RowConversion::Convert(const RowBatch& from,
                                    absl::Span<float> embeddings,
                                    absl::Span<float> states) const {
  const size_t n = from.ids.size();
  if (from.embeddings.size() != n * from_dim_ ||
      from.states.size() != n * from_state_dim_) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", from.embeddings.size(), " + ", from.states.size(),
                     " floats for ", n, " rows, wanted ", from_dim_, " + ",
                     from_state_dim_, " a row"));
  }
  const size_t to_state_dim = initial_state_.size();
  for (size_t row = 0; row < n; ++row) {
    const float* embedding = from.embeddings.data() + row * from_dim_;
    for (const Range& range : embeddings_) {
      std::copy_n(embedding + range.from, range.size,
                  embeddings.data() + row * to_dim_ + range.to);
    }
    float* to = states.data() + row * to_state_dim;
    std::copy(initial_state_.begin(), initial_state_.end(), to);
    const float* state = from.states.data() + row * from_state_dim_;
    for (const Range& range : states_) {
      std::copy_n(state + range.from, range.size, to + range.to);
    }
  }
  return absl::OkStatus();
}

}  // namespace monolith
