#include "monolith/native_training/runtime/hash_table/id_index.h"

#include <algorithm>
#include <limits>
#include <random>
#include <unordered_map>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

void InsertId(IdIndex& index, int64_t id, uint32_t row) {
  ASSERT_TRUE(index.ReserveOne().ok());
  index.Insert(id, HashId(id), row);
}

uint32_t Find(const IdIndex& index, int64_t id) {
  return index.Find(id, HashId(id));
}

bool FindAtHome(const IdIndex& index, int64_t id, uint32_t* row) {
  return IdIndex::FindAtHome(index.HomeBucket(HashId(id)), id, row);
}

TEST(IdIndexTest, AnEmptyIndexFindsNothing) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 0);
  EXPECT_EQ(Find(index, 0), IdIndex::kNoRow);
  EXPECT_EQ(index.Erase(0, HashId(0)), IdIndex::kNoRow);
  EXPECT_EQ(memory.memory_bytes(), 0);
  uint32_t row = 3;
  EXPECT_TRUE(FindAtHome(index, 7, &row));
  EXPECT_EQ(row, IdIndex::kNoRow);
}

TEST(IdIndexTest, EveryIdIsLegal) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 0);
  const std::vector<int64_t> ids = {0, -1, std::numeric_limits<int64_t>::min(),
                                    std::numeric_limits<int64_t>::max()};
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(Find(index, ids[i]), IdIndex::kNoRow);
    InsertId(index, ids[i], static_cast<uint32_t>(i));
  }
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(Find(index, ids[i]), i);
}

TEST(IdIndexTest, AgreesWithUnorderedMap) {
  for (uint32_t seed : {1, 2, 3}) {
    std::mt19937 random(seed);
    IndexMemory memory;
    IdIndex index;
    index.Attach(memory, static_cast<int>(16 * seed));
    std::unordered_map<int64_t, uint32_t> oracle;
    int found_at_home = 0;
    int not_at_home = 0;
    // Ids from a small range are inserted and erased again and again; the range
    // widens, so that the index also grows.
    for (uint32_t step = 0; step < 300000; ++step) {
      const int64_t id = static_cast<int64_t>(random() % (100 + step / 10));
      const auto it = oracle.find(id);
      const uint32_t wanted = it == oracle.end() ? IdIndex::kNoRow : it->second;
      ASSERT_EQ(Find(index, id), wanted);
      uint32_t row;
      const bool at_home = FindAtHome(index, id, &row);
      ASSERT_EQ(row, at_home ? wanted : IdIndex::kNoRow);
      ++(at_home ? found_at_home : not_at_home);
      if (it == oracle.end()) {
        InsertId(index, id, step);
        oracle[id] = step;
      } else if (random() % 3 == 0) {
        ASSERT_EQ(index.Erase(id, HashId(id)), it->second);
        oracle.erase(it);
      }
      ASSERT_EQ(index.size(), static_cast<int64_t>(oracle.size()));
    }
    index.ForEach([&](int64_t id, uint32_t row) {
      ASSERT_EQ(oracle.at(id), row);
      oracle.erase(id);
    });
    EXPECT_TRUE(oracle.empty());
    EXPECT_GT(not_at_home, 0);
    EXPECT_GT(found_at_home, 5 * not_at_home);
  }
}

// A walk in steps sees every entry once, also while it erases them.
TEST(IdIndexTest, AWalkInStepsSeesEveryEntry) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 0);
  EXPECT_EQ(
      index.ForEachFrom(IdIndex::kFirstPlace, 1, [](int64_t, uint32_t) {}),
      IdIndex::kPastPlaces);
  for (int64_t id = 0; id < 5000; ++id) {
    InsertId(index, id, static_cast<uint32_t>(id));
    if (id % 7 != 0) continue;
    std::unordered_map<int64_t, int> visits;
    uint64_t place = IdIndex::kFirstPlace;
    while (place != IdIndex::kPastPlaces) {
      place = index.ForEachFrom(place, 3, [&](int64_t visited, uint32_t row) {
        EXPECT_EQ(visited, row);
        ++visits[visited];
      });
    }
    EXPECT_EQ(visits.size(), static_cast<size_t>(id) + 1);
    for (const auto& [visited, times] : visits) EXPECT_EQ(times, 1) << visited;
  }
}

// What stays in the index is seen once, however it grows on the way.
TEST(IdIndexTest, AWalkInStepsOutlivesGrowth) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 5);
  int64_t next = 0;
  for (; next < 1000; ++next) {
    InsertId(index, next, static_cast<uint32_t>(next));
  }
  std::vector<int> visits(20000);
  uint64_t place = IdIndex::kFirstPlace;
  while (place != IdIndex::kPastPlaces) {
    place = index.ForEachFrom(place, 7,
                              [&](int64_t id, uint32_t) { ++visits[id]; });
    for (int i = 0; i < 100 && next < 20000; ++i, ++next) {
      InsertId(index, next, static_cast<uint32_t>(next));
    }
  }
  EXPECT_GT(next, 5000);
  for (int64_t id = 0; id < 1000; ++id) EXPECT_EQ(visits[id], 1) << id;
  for (int64_t id = 1000; id < next; ++id) EXPECT_LE(visits[id], 1) << id;
}

TEST(IdIndexTest, TellsChangesOnce) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 0);
  const auto changes = [&] {
    std::vector<int64_t> ids;
    uint64_t place = IdIndex::kFirstPlace;
    while (place != IdIndex::kPastPlaces) {
      place = index.TakeChangesFrom(
          place, 2, /*only_changed=*/true,
          [&](int64_t id, uint32_t) { ids.push_back(id); });
    }
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  for (int64_t id = 0; id < 500; ++id) {
    InsertId(index, id, static_cast<uint32_t>(id));
  }
  EXPECT_EQ(changes().size(), 500u);
  EXPECT_EQ(changes().size(), 0u);
  EXPECT_EQ(index.FindToChange(7, HashId(7)), 7u);
  EXPECT_EQ(index.FindToChange(499, HashId(499)), 499u);
  EXPECT_EQ(index.FindToChange(500, HashId(500)), IdIndex::kNoRow);
  index.Erase(8, HashId(8));
  for (int64_t id = 500; id < 5000; ++id) {  // It grows.
    InsertId(index, id, static_cast<uint32_t>(id));
  }
  EXPECT_EQ(changes().size(), 2u + 4500u);
  InsertId(index, 8, 8);
  EXPECT_EQ(changes(), std::vector<int64_t>({8}));
  EXPECT_EQ(index.FindToChange(8, HashId(8)), 8u);
  index.Erase(8, HashId(8));
  EXPECT_EQ(changes(), std::vector<int64_t>());
}

// Ids whose hashes are equal where the index looks first: all want one bucket.
TEST(IdIndexTest, SurvivesCrowdedBuckets) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 0);
  const uint64_t hash = 0;  // of all ids, so the index must not grow on the way
  for (int64_t i = 0; i < 32; ++i) {
    ASSERT_TRUE(index.ReserveOne().ok());
    index.Insert(i, HashId(i), static_cast<uint32_t>(i));
  }
  for (int64_t i = 0; i < 32; ++i) index.Erase(i, HashId(i));
  for (int64_t i = 0; i < 32; ++i) index.Insert(i, hash, 100 + i);
  for (int64_t i = 0; i < 32; i += 2) EXPECT_EQ(index.Erase(i, hash), 100 + i);
  for (int64_t i = 0; i < 32; ++i) {
    EXPECT_EQ(index.Find(i, hash), i % 2 ? 100 + i : IdIndex::kNoRow);
  }
}

TEST(IdIndexTest, ErasingEverythingLeavesNoTrace) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 0);
  for (int round = 0; round < 50; ++round) {
    for (int64_t i = 0; i < 1000; ++i) InsertId(index, i * 977 + round, 1);
    const int64_t bytes = memory.memory_bytes();
    for (int64_t i = 0; i < 1000; ++i) {
      const int64_t id = i * 977 + round;
      ASSERT_EQ(index.Erase(id, HashId(id)), 1u);
    }
    EXPECT_EQ(index.size(), 0);
    EXPECT_EQ(memory.memory_bytes(), bytes);
  }
  index.Clear();
  memory.Reset();
  InsertId(index, 5, 6);
  EXPECT_EQ(Find(index, 5), 6u);
}

TEST(IdIndexTest, GrowsByAQuarter) {
  IndexMemory memory;
  IdIndex index;
  index.Attach(memory, 0);
  uint64_t buckets = 0;
  for (int64_t id = 0; id < 200000; ++id) {
    InsertId(index, id, 0);
    if (id > 1000 && index.num_buckets() != buckets) {
      EXPECT_LE(index.num_buckets(), buckets + buckets / 4);
    }
    buckets = index.num_buckets();
  }
  // At most 70 %, at least 56 % full.
  EXPECT_GE(static_cast<double>(5 * buckets), 200000 / 0.7);
  EXPECT_LE(static_cast<double>(5 * buckets), 200000 / 0.55);
}

// Growth moves entries past the last bucket's end and those that had begun
// again at the first bucket.
TEST(IdIndexTest, FindsEveryIdAfterEachGrowth) {
  for (int stripe : {0, 17, 63}) {
    IndexMemory memory;
    IdIndex index;
    index.Attach(memory, stripe);
    uint64_t buckets = 0;
    for (int64_t id = 0; id < 20000; ++id) {
      InsertId(index, id, static_cast<uint32_t>(id));
      if (index.num_buckets() == buckets) continue;
      buckets = index.num_buckets();
      for (int64_t there = 0; there <= id; ++there) {
        ASSERT_EQ(Find(index, there), static_cast<uint32_t>(there)) << buckets;
      }
      ASSERT_EQ(Find(index, id + 1), IdIndex::kNoRow);
    }
  }
}

}  // namespace
}  // namespace monolith
