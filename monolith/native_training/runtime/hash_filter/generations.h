#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_GENERATIONS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_GENERATIONS_H_

#include <array>
#include <cstdint>
#include <optional>

namespace monolith {

// Which trials are older than others, told by a label of four bits each.
//
// A generation is a set of trials that carry one label; generations are ordered
// by age. Trials join the newest one. When that is full a new one begins, and
// if no label is left for it, the two neighbours that are the smallest together
// become one. So of two trials of different generations it is known for sure
// which one has occurred later, and if there are never more trials than fill
// kMax generations, none ever holds more than a seventh of them, however often
// these occur again.
//
// Thread safety: none.
//
// Invariant: the newest generation has fewer trials than it takes.
class Generations {
 public:
  static constexpr int kMax = 15;
  static constexpr uint8_t kNone = 0;  // a label that no generation has

  // A generation that is none any more, and the one that takes its trials.
  struct Merger {
    uint8_t from;
    uint8_t into;
  };

  // The newest generation is full with `full` trials, at least 1.
  explicit Generations(uint32_t full);

  // The label of the newest generation.
  uint8_t newest() const { return newest_; }

  // How many generations are newer than the one of this label.
  int Age(uint8_t label) const { return num_ - 1 - rank_[label]; }

  // Counts a trial into a generation, or out of it.
  void Add(uint8_t label) { ++sizes_[label]; }
  void Remove(uint8_t label) { --sizes_[label]; }

  // Call when a trial has joined the newest generation. The caller gives the
  // trials of `from` the label `into`, if there is a merger.
  std::optional<Merger> BeginNextIfFull() {
    if (sizes_[newest_] < full_) return std::nullopt;
    return BeginNext();
  }

  // The label of an age, 0 .. kMax - 1: of the generation there is, or of one
  // that is made now, older than all.
  uint8_t LabelOfAge(int age);

  // How many have begun since the first.
  uint64_t num_begun() const { return num_begun_; }

  // Makes every trial older, as if so many generations had begun: where labels
  // are short, the neighbours that are the smallest together become one. The
  // caller gives each trial the label that the result has for its label.
  std::array<uint8_t, kMax + 1> BeginEmpty(int generations);

 private:
  std::optional<Merger> BeginNext();
  // Makes one of the two neighbours that are the smallest together, of at least
  // two generations.
  Merger MergeSmallest();
  // Drops those without trials.
  void DropEmpty();
  // Makes the generation at a rank one that does not exist.
  void Drop(int rank);
  uint8_t UnusedLabel() const;
  void UpdateRanks();

  uint32_t full_;
  uint64_t num_begun_ = 0;
  uint8_t newest_ = 1;
  int num_ = 1;
  uint8_t labels_[kMax] = {1};     // the first num_, by rank: oldest first
  uint8_t rank_[kMax + 1] = {};    // by label
  uint32_t sizes_[kMax + 1] = {};  // trials, by label
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_GENERATIONS_H_
