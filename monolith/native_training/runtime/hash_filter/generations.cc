#include "monolith/native_training/runtime/hash_filter/generations.h"

#include <algorithm>
#include <numeric>

namespace monolith {

Generations::Generations(uint32_t full) : full_(full) {}

std::optional<Generations::Merger> Generations::BeginNext() {
  DropEmpty();
  std::optional<Merger> merger;
  if (num_ == kMax) merger = MergeSmallest();
  newest_ = UnusedLabel();
  labels_[num_++] = newest_;
  ++num_begun_;
  UpdateRanks();
  return merger;
}

std::array<uint8_t, Generations::kMax + 1> Generations::BeginEmpty(
    int generations) {
  const int begun = std::min(generations, kMax - 1);
  std::array<uint8_t, kMax + 1> label_of;
  std::iota(label_of.begin(), label_of.end(), uint8_t{0});
  if (num_ > kMax - begun) DropEmpty();
  while (num_ > kMax - begun) {
    const Merger merger = MergeSmallest();
    std::replace(label_of.begin(), label_of.end(), merger.from, merger.into);
  }
  for (int i = 0; i < begun; ++i) {
    newest_ = UnusedLabel();
    labels_[num_++] = newest_;
  }
  num_begun_ += static_cast<uint64_t>(begun);
  UpdateRanks();
  return label_of;
}

uint8_t Generations::LabelOfAge(int age) {
  for (; num_ <= age; ++num_) {
    const uint8_t oldest = UnusedLabel();
    std::copy_backward(labels_, labels_ + num_, labels_ + num_ + 1);
    labels_[0] = oldest;
  }
  UpdateRanks();
  return labels_[num_ - 1 - age];
}

Generations::Merger Generations::MergeSmallest() {
  const auto size_with_next = [&](int rank) {
    return sizes_[labels_[rank]] + sizes_[labels_[rank + 1]];
  };
  int smallest = 0;
  for (int rank = 1; rank < num_ - 1; ++rank) {
    if (size_with_next(rank) < size_with_next(smallest)) smallest = rank;
  }
  const Merger merger = {labels_[smallest + 1], labels_[smallest]};
  sizes_[merger.into] += sizes_[merger.from];
  sizes_[merger.from] = 0;
  Drop(smallest + 1);
  return merger;
}

void Generations::DropEmpty() {
  for (int rank = num_ - 1; rank >= 0; --rank) {
    if (sizes_[labels_[rank]] == 0) Drop(rank);
  }
}

void Generations::Drop(int rank) {
  std::copy(labels_ + rank + 1, labels_ + num_, labels_ + rank);
  --num_;
}

uint8_t Generations::UnusedLabel() const {
  uint8_t label = 1;
  while (std::find(labels_, labels_ + num_, label) != labels_ + num_) ++label;
  return label;
}

void Generations::UpdateRanks() {
  for (int rank = 0; rank < num_; ++rank) {
    rank_[labels_[rank]] = static_cast<uint8_t>(rank);
  }
}

}  // namespace monolith
