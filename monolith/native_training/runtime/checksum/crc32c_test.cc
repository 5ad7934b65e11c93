#include "monolith/native_training/runtime/checksum/crc32c.h"

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(Crc32cTest, MatchesTheStandard) {  // RFC 3720, appendix B.4
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0)), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0xff)), 0x62a8ab43u);
  std::vector<uint8_t> rising(32);
  std::iota(rising.begin(), rising.end(), uint8_t{0});
  EXPECT_EQ(Crc32c(rising), 0x46dd794eu);
}

TEST(Crc32cTest, IsTheSameWithoutTheInstructionAndInParts) {
  std::vector<uint8_t> bytes(200);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i * 37 ^ i >> 3;
  const absl::Span<const uint8_t> all(bytes);
  for (size_t n = 0; n <= all.size(); ++n) {
    const uint32_t crc = Crc32c(all.subspan(0, n));
    EXPECT_EQ(crc, ExtendCrc32cPortably(0, all.subspan(0, n)));
    EXPECT_EQ(ExtendCrc32c(crc, all.subspan(n)), Crc32c(all));
  }
}

}  // namespace
}  // namespace monolith
