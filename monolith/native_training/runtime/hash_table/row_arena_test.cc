#include "monolith/native_training/runtime/hash_table/row_arena.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

namespace monolith {
namespace {

TEST(ZeroedMemoryTest, IsZeroAndAligned) {
  for (size_t bytes : {size_t{64}, size_t{4096}, ZeroedMemory::kKernelBytes - 1,
                       ZeroedMemory::kKernelBytes, size_t{5} << 20}) {
    for (auto pages :
         {ZeroedMemory::Pages::kSmall, ZeroedMemory::Pages::kHuge}) {
      auto memory = ZeroedMemory::Create(bytes, pages);
      ASSERT_TRUE(memory.ok()) << memory.status();
      EXPECT_GE(memory->size(), bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 64, 0u);
      char* const begin = static_cast<char*>(memory->data());
      EXPECT_TRUE(std::all_of(begin, begin + memory->size(),
                              [](char c) { return c == 0; }));
      std::memset(begin, 1, memory->size());
      ZeroedMemory moved = *std::move(memory);
      EXPECT_EQ(moved.data(), begin);
      EXPECT_EQ(memory->data(), nullptr);
    }
  }
}

TEST(ZeroedMemoryTest, RefusesWhatTheSystemDoesNotHave) {
  for (auto pages : {ZeroedMemory::Pages::kSmall, ZeroedMemory::Pages::kHuge}) {
    auto memory = ZeroedMemory::Create(size_t{1} << 60, pages);
    EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
  }
}

// Takes n rows in blocks of varying size and marks each with its number.
void FillRows(RowArena& arena, uint32_t n) {
  uint32_t rows = 0;
  for (uint32_t wanted = 1; rows < n; wanted = wanted % 64 + 1) {
    auto block = arena.AllocateBlock(wanted);
    ASSERT_TRUE(block.ok()) << block.status();
    ASSERT_EQ(block->first, rows);
    ASSERT_GE(block->count, 1u);
    ASSERT_LE(block->count, wanted);
    for (uint32_t i = 0; i < block->count; ++i, ++rows) {
      float* const row = arena.Row(rows);
      for (size_t j = 0; j < arena.row_floats(); ++j) {
        ASSERT_EQ(row[j], 0);
        row[j] = static_cast<float>(rows + j);
      }
      ASSERT_EQ(*arena.UpdateTime(rows), 0u);
      *arena.UpdateTime(rows) = rows;
    }
  }
  for (uint32_t row = 0; row < rows; ++row) {
    for (size_t j = 0; j < arena.row_floats(); ++j) {
      ASSERT_EQ(arena.Row(row)[j], static_cast<float>(row + j));
    }
    ASSERT_EQ(*arena.UpdateTime(row), row);
  }
}

TEST(RowArenaTest, RowsDoNotOverlap) {
  for (size_t row_floats : {1, 3, 64, 5000}) {
    auto arena = RowArena::Create(row_floats);
    ASSERT_TRUE(arena.ok());
    // More than two regions.
    FillRows(**arena,
             std::max<uint32_t>(
                 600, static_cast<uint32_t>(10000000 / 4 / (row_floats + 1))));
  }
}

TEST(RowArenaTest, CountsItsMemory) {
  auto arena = RowArena::Create(31);
  ASSERT_TRUE(arena.ok());
  EXPECT_EQ((*arena)->memory_bytes(), 0);
  auto block = (*arena)->AllocateBlock(256);
  ASSERT_TRUE(block.ok());
  constexpr int64_t kPage = 4096;
  EXPECT_EQ((*arena)->memory_bytes(), kPage);  // of the directory
  for (uint32_t i = 0; i < block->count; ++i) {
    (*arena)->Row(block->first + i)[0] = 1;
    *(*arena)->UpdateTime(block->first + i) = 1;
  }
  // Rows of 124 bytes and the times of all.
  EXPECT_EQ((*arena)->memory_bytes(), (1 + 8 + 1) * kPage);
}

TEST(RowArenaTest, ResetTakesAllBack) {
  auto arena = RowArena::Create(64);
  ASSERT_TRUE(arena.ok());
  FillRows(**arena, 100000);
  (*arena)->Reset();
  EXPECT_LE((*arena)->memory_bytes(), 4096);  // of the directory
  FillRows(**arena, 1000);                    // zeros again
}

TEST(RowArenaTest, RefusesMoreRowsThanItsLimit) {
  auto arena = RowArena::Create(2, 100);
  ASSERT_TRUE(arena.ok());
  auto block = (*arena)->AllocateBlock(64);
  ASSERT_TRUE(block.ok());
  block = (*arena)->AllocateBlock(64);
  ASSERT_TRUE(block.ok());
  EXPECT_EQ(block->count, 36u);
  EXPECT_EQ((*arena)->AllocateBlock(1).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(RowArenaTest, ThreadsGetDifferentRows) {
  auto arena = RowArena::Create(64);
  ASSERT_TRUE(arena.ok());
  std::vector<std::vector<uint32_t>> rows(4);
  std::vector<std::thread> threads;
  for (auto& mine : rows) {
    threads.emplace_back([&arena, &mine] {
      for (int i = 0; i < 1000; ++i) {
        auto block = (*arena)->AllocateBlock(64);
        ASSERT_TRUE(block.ok());
        for (uint32_t j = 0; j < block->count; ++j) {
          mine.push_back(block->first + j);
          *(*arena)->Row(mine.back()) = 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<uint32_t> all;
  size_t count = 0;
  for (const auto& mine : rows) {
    all.insert(mine.begin(), mine.end());
    count += mine.size();
  }
  EXPECT_EQ(all.size(), count);
}

}  // namespace
}  // namespace monolith
