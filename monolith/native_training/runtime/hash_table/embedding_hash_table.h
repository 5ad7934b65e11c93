#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_EMBEDDING_HASH_TABLE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_EMBEDDING_HASH_TABLE_H_

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_filter/trial.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

class IndexMemory;
class OccurrenceFilter;
class RowArena;
class RowSchema;
class Stripe;
class StripeGate;
class StripePartition;

// An exact map from 64-bit ids to rows of floats that trains in place.
//
// Every int64 is a legal id; each id with a row has a row of its own. A row
// holds the embeddings of all segments, then their optimizer states, and the
// time of its last update. An id without a row reads its initial value, which
// depends on nothing but the segment's seed, the id and the position, so
// reading never inserts and results do not depend on the order of arrival, the
// number of threads or the number of tables that the ids are spread over.
//
// Admission: in a table with an occurrence_threshold t > 0 an id without a row
// reads zeros, and ApplyGradients gives it one only when it has occurred t
// times. What counts are the occurrences in the batches of ApplyGradients,
// repeated ones too; the batch with the t-th is the first that trains the row,
// from its initial value and with all that batch's gradient. Assign, AssignAdd
// and ImportRows insert at once. An id that has lost its row begins at 0 again.
// Ids on trial take bounded memory: see OccurrenceFilter for how many are
// remembered, and how rarely one is admitted too early or late.
//
// Thread safety: thread-safe. Reads run beside each other, without locks where
// nobody writes; a write excludes others only from the few stripes (64ths of
// the ids) it is working on. Nobody sees half a row, but a batch is not one
// atomic step: another thread may see some of its rows written and others not.
//
// Batches: matrices are row-major and dense, one row per id. A call with wrong
// sizes returns InvalidArgument and changes nothing. An id may be repeated.
// ResourceExhausted (no memory, or 2^32 rows) may leave a batch partly done:
// every row is then either as before or wholly written.
//
// Units: times are seconds since the epoch; memory is bytes.
//
// Example:
//   auto table = EmbeddingHashTable::Create(config);  // dim 2
//   if (!table.ok()) return table.status();
//   std::vector<float> values(2 * 2);
//   (*table)->Lookup({7, -1}, EmbeddingHashTable::MissingId::kInitialValue,
//                    absl::MakeSpan(values));
//   EmbeddingHashTable::UpdateOptions options;
//   options.update_time = now;
//   (*table)->ApplyGradients({7, -1}, {.1f, .2f, .3f, .4f}, options);
class EmbeddingHashTable {
 public:
  // What an id without a row reads as; zeros where there is an
  // occurrence_threshold.
  enum class MissingId {
    kInitialValue,  // in training
    kZero,          // in evaluation and serving
  };

  struct UpdateOptions {
    // One a segment, each finite and 0 or more; empty: the optimizers' own
    // learning rates.
    absl::Span<const float> learning_rates;
    uint32_t update_time = 0;  // seconds since the epoch
    int64_t global_step = 0;   // of the update, from 0: warm-up depends on it
    // (n), how often each entry counts for the admission of its id; empty:
    // once. Of no effect in a table without an occurrence_threshold.
    absl::Span<const uint16_t> occurrences;
    // The caller promises that no id is repeated; a broken promise means that
    // gradients of one id are applied one after the other instead of summed.
    bool ids_are_unique = false;
    // The caller has had ValidateGradients accept the same arguments.
    bool validated = false;
  };

  // Rows in columns. Row i is ids[i], embeddings[i * dim ...],
  // states[i * state_dim ...], update_times[i].
  struct RowBatch {
    std::vector<int64_t> ids;            // (n)
    std::vector<float> embeddings;       // (n, dim)
    std::vector<float> states;           // (n, state_dim)
    std::vector<uint32_t> update_times;  // (n), seconds since the epoch
  };

  // InvalidArgument if the config is not valid or names an initializer or
  // optimizer that does not exist; Unimplemented for what is not built in.
  // An empty table takes a few kilobytes.
  static absl::StatusOr<std::unique_ptr<EmbeddingHashTable>> Create(
      TableConfig config);
  ~EmbeddingHashTable();

  EmbeddingHashTable(const EmbeddingHashTable&) = delete;
  EmbeddingHashTable& operator=(const EmbeddingHashTable&) = delete;

  const TableConfig& config() const { return config_; }
  int dim() const { return dim_; }              // embedding floats per row
  int state_dim() const { return state_dim_; }  // optimizer floats per row
  int num_segments() const { return static_cast<int>(config_.segments.size()); }

  // The optimizer state of a new row's segment, 0 <= segment < num_segments().
  absl::Span<const float> initial_state(int segment) const;

  // Reads the embeddings of `ids`. Never inserts.
  absl::Status Lookup(absl::Span<const int64_t> ids,  // (n)
                      MissingId missing,
                      absl::Span<float> values,  // (n, dim)
                      Executor& executor = InlineExecutor::Get()) const;

  // Sets embeddings, if all are finite. A new row gets the optimizers' initial
  // state; the state of an existing one stays. Of a repeated id the last value
  // wins.
  absl::Status Assign(absl::Span<const int64_t> ids,   // (n)
                      absl::Span<const float> values,  // (n, dim)
                      uint32_t update_time,
                      Executor& executor = InlineExecutor::Get());

  // Adds to embeddings, if all values are finite; a new row starts at its
  // initial value. All values of a repeated id are added, in their order. Sums
  // stay within the largest finite float.
  absl::Status AssignAdd(absl::Span<const int64_t> ids,   // (n)
                         absl::Span<const float> values,  // (n, dim)
                         uint32_t update_time,
                         Executor& executor = InlineExecutor::Get());

  // Whether Assign and AssignAdd would accept their arguments: sizes, and that
  // every value is finite. For values of several tables that must all be good
  // before the first is changed.
  absl::Status ValidateValues(absl::Span<const int64_t> ids,
                              absl::Span<const float> values,
                              Executor& executor = InlineExecutor::Get()) const;

  // Trains: one step of each segment's optimizer. The gradients of a repeated
  // id are summed in their order and applied once; a sum out of float's range
  // becomes the largest finite float. New rows start at their initial value;
  // an id that is not admitted yet is passed over.
  // Validates as ValidateGradients does, before any row changes.
  absl::Status ApplyGradients(absl::Span<const int64_t> ids,      // (n)
                              absl::Span<const float> gradients,  // (n, dim)
                              const UpdateOptions& options,
                              Executor& executor = InlineExecutor::Get());

  // Whether ApplyGradients would accept its arguments: sizes, learning rates,
  // and that every gradient is finite. The error names the table, the id and
  // the row of the first bad gradient. For updates of several tables that must
  // all be good before the first is changed.
  absl::Status ValidateGradients(
      absl::Span<const int64_t> ids, absl::Span<const float> gradients,
      const UpdateOptions& options,
      Executor& executor = InlineExecutor::Get()) const;

  // Removes rows; returns how many there were. Their memory is used again.
  absl::StatusOr<int64_t> Erase(absl::Span<const int64_t> ids,
                                Executor& executor = InlineExecutor::Get());

  // Removes the rows whose last update is more than expire_time_days before
  // `now_seconds`; returns how many. Others go on meanwhile and never wait for
  // more than some thousand rows.
  int64_t Evict(uint32_t now_seconds,
                Executor& executor = InlineExecutor::Get());

  // Evict for one of `num_parts` parts of all ids, which are equal by hash: for
  // callers that may want to stop in between. 0 <= part < num_parts; beyond
  // num_stripes() parts some are empty.
  int64_t EvictPart(uint32_t now_seconds, int part, int num_parts,
                    Executor& executor = InlineExecutor::Get());

  // Removes all rows and trials and returns their memory to the system.
  void Clear();

  // The number of rows. Exact when nobody is writing.
  int64_t size() const;

  // Memory held for rows, index, trials and the ids erased since the last save,
  // in bytes, free rows included.
  int64_t memory_bytes() const;

  int num_stripes() const;

  // Appends all rows of one stripe, in [0, num_stripes()), as they are at one
  // moment. The stripes together are the table. With `trials`, sets these to
  // those of the stripe's ids at that moment; no buckets if there cannot be
  // any.
  absl::Status ExportStripe(int stripe, RowBatch* out,
                            TrialBatch* trials = nullptr) const;

  // How a save treats what has changed since the one before.
  enum class SaveMode {
    kCopy,     // all rows; what counts as changed stays so
    kAll,      // all rows; from here on changes are counted anew
    kChanges,  // the rows that have changed since the last kAll or kChanges of
               // this stripe, and the ids erased; likewise
  };

  // Takes what a save gives it, outside of all locks. An error ends the save.
  class StripeWriter {
   public:
    virtual ~StripeWriter() = default;
    // Ids that may have a row in the save before, or in what was written of
    // this one, and have been erased since. Some may be there twice, or have a
    // row again, which is written after if it is not left to the next save.
    virtual absl::Status WriteErased(absl::Span<const int64_t> ids) = 0;
    // Trials with their age when the save of the stripe began. In changes they
    // are those that have begun or occurred since, and `aged` tells by how much
    // those of the save before have become older; the trial of an id that is
    // erased or has a row in the changes is over.
    virtual absl::Status WriteTrials(const TrialBatch& trials) = 0;
    virtual absl::Status WriteRows(const RowBatch& rows) = 0;
  };

  // Gives all there is to save of one stripe to `writer`, while others train:
  // they never wait for more than some thousand rows. Each row is as it was at
  // one moment, or was without one at a moment, since the save of the stripe
  // began. A reader has to apply them in their order: ids on trial, then rows,
  // in several batches, and before each the ids that were erased until then. An
  // id that is admitted meanwhile is in one of the first two at least. After an
  // error the next save must be kAll, because changes have been forgotten.
  //
  // FailedPrecondition for kChanges if the table does not know them, or no
  // longer.
  //
  // Not for two saves of a stripe at a time, other than of kCopy.
  absl::Status SaveStripe(int stripe, SaveMode mode, StripeWriter& writer);

  // False from when so many ids of a stripe were erased that nobody keeps them,
  // about half of all, until it is saved as kAll.
  bool KnowsChanges() const;

  // Makes room for so many rows in all, as far as there is memory: before
  // ImportRows of rows that ExportStripe and SaveStripe gave, in parts, which
  // otherwise takes ever longer.
  void Reserve(int64_t rows);

  // Inserts or overwrites whole rows, as ExportStripe gave them, if
  // ValidateRows accepts them. Of a repeated id the last row wins.
  absl::Status ImportRows(absl::Span<const int64_t> ids,       // (n)
                          absl::Span<const float> embeddings,  // (n, dim)
                          absl::Span<const float> states,      // (n, state_dim)
                          absl::Span<const uint32_t> update_times,  // (n)
                          Executor& executor = InlineExecutor::Get());

  // Makes the trials there are older as `aged` says, and adds trials that
  // ExportStripe and SaveStripe gave for this stripe, here or in tables that
  // the ids are spread over, as many as there is room for: see
  // OccurrenceFilter. False if the trials are of another number of buckets, as
  // those of another admission_capacity are; nothing is done then.
  // InvalidArgument if one cannot be.
  absl::StatusOr<bool> ImportTrials(int stripe, const TrialBatch& trials);

  // Ends the trials of ids.
  absl::Status EndTrials(absl::Span<const int64_t> ids,
                         Executor& executor = InlineExecutor::Get());

  // Whether ImportRows would accept these: sizes, that every embedding is
  // finite, and that every state is one that its optimizer can have. The error
  // names the table, the id, the row and the segment of a state. For rows of
  // several batches that must all be good before the first is changed.
  absl::Status ValidateRows(absl::Span<const int64_t> ids,
                            absl::Span<const float> embeddings,
                            absl::Span<const float> states,
                            Executor& executor = InlineExecutor::Get()) const;

 private:
  EmbeddingHashTable(TableConfig config, std::unique_ptr<RowSchema> schema,
                     std::unique_ptr<RowArena> arena);

  // InvalidArgument unless there is such a stripe.
  absl::Status CheckStripe(int stripe) const;

  // The parts of SaveStripe.
  // Those that were erased since the last time; none for kCopy, which leaves
  // them to others. With the stripe held.
  absl::Status TakeErased(int stripe, SaveMode mode,
                          std::vector<int64_t>* erased);
  absl::Status SaveTrials(int stripe, SaveMode mode, StripeWriter& writer);
  absl::Status SaveRows(int stripe, SaveMode mode, StripeWriter& writer);

  // Appends these rows of the arena.
  void CopyRows(absl::Span<const std::pair<int64_t, uint32_t>> entries,
                RowBatch* rows) const;

  // InvalidArgument unless `got` is num_ids * width; `what` names the matrix.
  absl::Status CheckMatrix(const char* what, size_t num_ids, size_t got,
                           int width) const;

  const TableConfig config_;
  const std::unique_ptr<RowSchema> schema_;
  const int dim_;
  const int state_dim_;
  // Held exclusively by Clear, shared by everything else that touches rows.
  mutable std::shared_mutex clear_mutex_;
  std::unique_ptr<RowArena> arena_;
  std::unique_ptr<IndexMemory> index_memory_;
  std::unique_ptr<Stripe[]> stripes_;
  std::unique_ptr<StripeGate> gate_;  // of stripes_
  // Of the ids on trial, one a stripe and guarded like it; none without an
  // occurrence_threshold.
  std::vector<std::unique_ptr<OccurrenceFilter>> filters_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_EMBEDDING_HASH_TABLE_H_
