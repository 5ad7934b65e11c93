#include "monolith/native_training/runtime/hash_table/stripe.h"

#include <memory>
#include <set>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

uint32_t InsertId(Stripe& stripe, int64_t id, RowArena& arena) {
  Stripe::Slot slot;
  EXPECT_TRUE(stripe.FindOrInsert(id, HashId(id), arena, &slot).ok());
  return slot.row;
}

TEST(StripeTest, FindsWhatItInserted) {
  auto arena = *RowArena::Create(4);
  IndexMemory memory;
  Stripe stripe;
  stripe.Attach(memory, 0);
  Stripe::Slot slot;
  ASSERT_TRUE(stripe.FindOrInsert(-3, HashId(-3), *arena, &slot).ok());
  EXPECT_TRUE(slot.inserted);
  const uint32_t row = slot.row;
  ASSERT_TRUE(stripe.FindOrInsert(-3, HashId(-3), *arena, &slot).ok());
  EXPECT_FALSE(slot.inserted);
  EXPECT_EQ(slot.row, row);
  EXPECT_EQ(stripe.size(), 1);
}

TEST(StripeTest, ReusesRowsOfErasedIds) {
  auto arena = *RowArena::Create(1);
  IndexMemory memory;
  Stripe stripe;
  stripe.Attach(memory, 0);
  std::set<uint32_t> rows;
  for (int64_t id = 0; id < 1000; ++id) {
    rows.insert(InsertId(stripe, id, *arena));
  }
  EXPECT_EQ(rows.size(), 1000u);
  for (int64_t id = 0; id < 1000; ++id) {
    EXPECT_TRUE(stripe.Erase(id, HashId(id), *arena));
    EXPECT_FALSE(stripe.Erase(id, HashId(id), *arena));
  }
  EXPECT_EQ(stripe.size(), 0);
  std::set<uint32_t> again;
  for (int64_t id = 5000; id < 6000; ++id) {
    again.insert(InsertId(stripe, id, *arena));
  }
  EXPECT_EQ(again, rows);
}

TEST(StripeTest, TakesLittleForFewRows) {
  auto arena = *RowArena::Create(64);
  IndexMemory memory;
  Stripe stripe;
  stripe.Attach(memory, 0);
  const uint32_t row = InsertId(stripe, 1, *arena);
  arena->Row(row)[0] = 1;
  *arena->UpdateTime(row) = 1;
  constexpr int64_t kPage = 4096;
  EXPECT_LE(arena->memory_bytes(), 3 * kPage);
  EXPECT_EQ(memory.memory_bytes(), kPage);
}

TEST(StripeTest, AFullArenaLeavesTheStripeAsItWas) {
  auto arena = *RowArena::Create(2, 3);
  IndexMemory memory;
  Stripe stripe;
  stripe.Attach(memory, 0);
  for (int64_t id = 0; id < 3; ++id) InsertId(stripe, id, *arena);
  Stripe::Slot slot;
  EXPECT_EQ(stripe.FindOrInsert(9, HashId(9), *arena, &slot).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(stripe.Find(9, HashId(9)), RowArena::kNoRow);
  EXPECT_EQ(stripe.size(), 3);
  EXPECT_TRUE(stripe.Erase(0, HashId(0), *arena));
  EXPECT_TRUE(stripe.FindOrInsert(9, HashId(9), *arena, &slot).ok());
}

}  // namespace
}  // namespace monolith
