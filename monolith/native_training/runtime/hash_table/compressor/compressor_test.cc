#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_factory.h"
#include "monolith/native_training/runtime/simd/instruction_set.h"

namespace monolith {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

std::vector<uint8_t> Encoded(const CompressorConfig& config,
                             const std::vector<float>& values) {
  auto compressor = *CreateCompressor(config);
  std::vector<uint8_t> bytes(
      compressor->EncodedBytes(static_cast<int>(values.size())));
  compressor->Encode(values, absl::MakeSpan(bytes));
  return bytes;
}

std::vector<float> RoundTrip(const CompressorConfig& config,
                             const std::vector<float>& values) {
  const std::vector<uint8_t> bytes = Encoded(config, values);
  std::vector<float> decoded(values.size());
  (*CreateCompressor(config))->Decode(bytes, absl::MakeSpan(decoded));
  return decoded;
}

// Of every magnitude between 2^low and 2^high, and both signs.
std::vector<float> Spread(int n, float low, float high, int seed = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> exponent(low, high);
  std::vector<float> values(n);
  for (int i = 0; i < n; ++i) {
    values[i] = std::exp2(exponent(random)) * (random() % 2 ? 1.0f : -1.0f);
  }
  return values;
}

class CompressorTest : public testing::TestWithParam<std::string> {};

TEST_P(CompressorTest, TakesTheBytesItSays) {
  const auto compressor = *CreateCompressor({GetParam(), {}});
  const std::map<std::string, size_t> bytes_of_37 = {
      {"fp32", 37 * 4}, {"fp16", 37 * 2}, {"fixed_r8", 37}, {"one_bit", 4 + 5}};
  EXPECT_EQ(compressor->EncodedBytes(37), bytes_of_37.at(GetParam()));
  for (int dim = 1; dim <= 67; ++dim) {
    // Guards on both ends show what is written beyond.
    const size_t size = compressor->EncodedBytes(dim);
    std::vector<uint8_t> bytes(size + 2, 0xa5);
    compressor->Encode(Spread(dim, -3, 0),
                       absl::MakeSpan(bytes).subspan(1, size));
    EXPECT_EQ(bytes.front(), 0xa5);
    EXPECT_EQ(bytes.back(), 0xa5);
    std::vector<float> values(dim + 2, 7);
    compressor->Decode(absl::MakeConstSpan(bytes).subspan(1, size),
                       absl::MakeSpan(values).subspan(1, dim));
    EXPECT_EQ(values.front(), 7);
    EXPECT_EQ(values.back(), 7);
  }
}

TEST_P(CompressorTest, EveryInstructionSetGivesTheSameBits) {
  for (int dim = 1; dim <= 67; ++dim) {
    const std::vector<float> values = Spread(dim, -40, 20, dim);
    ForceInstructionSet(InstructionSet::kPortable);
    const auto bytes = Encoded({GetParam(), {}}, values);
    const auto decoded = RoundTrip({GetParam(), {}}, values);
    for (InstructionSet set : SupportedInstructionSets()) {
      ForceInstructionSet(set);
      EXPECT_EQ(Encoded({GetParam(), {}}, values), bytes) << dim;
      EXPECT_EQ(RoundTrip({GetParam(), {}}, values), decoded) << dim;
    }
  }
}

TEST_P(CompressorTest, WhatWasDecodedComesBackAgain) {
  const std::vector<float> once =
      RoundTrip({GetParam(), {}}, Spread(67, -20, 3));
  EXPECT_EQ(RoundTrip({GetParam(), {}}, once), once);
}

TEST_P(CompressorTest, NumbersStayFinite) {
  for (float value :
       RoundTrip({GetParam(), {}},
                 {kLargest, -kLargest, kDenormal, -kDenormal, 0, -0.0f})) {
    EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_P(CompressorTest, RefusesUnknownParameters) {
  EXPECT_THAT(
      std::string(
          CreateCompressor({GetParam(), {{"range", 1}}}).status().message()),
      HasSubstr("compressor '" + GetParam() + "' has no parameter 'range'"));
}

INSTANTIATE_TEST_SUITE_P(All, CompressorTest,
                         testing::ValuesIn(CompressorTypes()));

TEST(CompressorFactoryTest, NamesTheKnownTypes) {
  EXPECT_THAT(std::string(CreateCompressor({"fp8", {}}).status().message()),
              HasSubstr("there is no compressor 'fp8'; there are fixed_r8, "
                        "fp16, fp32, one_bit"));
}

TEST(Fp32CompressorTest, KeepsEveryBit) {
  const std::vector<float> values = {0.1f,  -kLargest, kDenormal,
                                     -0.0f, kInfinity, kNan};
  const std::vector<float> decoded = RoundTrip({"fp32", {}}, values);
  EXPECT_EQ(std::memcmp(decoded.data(), values.data(), 6 * sizeof(float)), 0);
}

TEST(Fp16CompressorTest, KeepsToItsBound) {
  const std::vector<float> values = Spread(200000, -30, 15.99f);
  const std::vector<float> decoded = RoundTrip({"fp16", {}}, values);
  for (size_t i = 0; i < values.size(); ++i) {
    const double size = std::abs(double{values[i]});
    const double bound =
        size < std::ldexp(1, -14) ? std::ldexp(1, -25) : std::ldexp(size, -11);
    ASSERT_LE(std::abs(double{decoded[i]} - values[i]), bound) << values[i];
  }
}

TEST(Fp16CompressorTest, WritesIeeeNumbers) {
  const std::pair<float, uint16_t> cases[] = {
      {0.0f, 0x0000},          {-0.0f, 0x8000},      {1.0f, 0x3c00},
      {-2.0f, 0xc000},         {0.1f, 0x2e66},       {65504.0f, 0x7bff},
      {6.1035156e-5f, 0x0400},  // the smallest normal number
      {6.0975552e-5f, 0x03ff},  // the largest subnormal one
      {5.9604645e-8f, 0x0001},  // the smallest
      {2.9802322e-8f, 0x0000},  // half of it: ties go to even
      {2.9802326e-8f, 0x0001}, {2049.0f, 0x6800},    {2051.0f, 0x6802},
      {65519.0f, 0x7bff},      {1e10f, 0x7bff},      {-kLargest, 0xfbff},
      {kInfinity, 0x7bff},     {-kInfinity, 0xfbff}, {kNan, 0x0000},
      {kDenormal, 0x0000}};
  for (const auto& [value, half] : cases) {
    uint16_t bits;
    std::memcpy(&bits, Encoded({"fp16", {}}, {value}).data(), sizeof(bits));
    EXPECT_EQ(bits & (std::isnan(value) ? 0x7fff : 0xffff), half) << value;
  }
}

TEST(Fp16CompressorTest, ReadsAllItsNumbersAndWritesThemBack) {
  std::vector<uint8_t> bytes;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    if ((half & 0x7c00) == 0x7c00) continue;  // infinities and NaN
    bytes.push_back(half & 0xff);
    bytes.push_back(half >> 8);
  }
  std::vector<float> values(bytes.size() / 2);
  (*CreateCompressor({"fp16", {}}))->Decode(bytes, absl::MakeSpan(values));
  EXPECT_EQ(Encoded({"fp16", {}}, values), bytes);
}

TEST(FixedR8CompressorTest, KeepsToItsBound) {
  for (double range : {1.0, 0.05, 1e-30, 3e38, 7.3}) {
    std::mt19937 random(6);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> values = {0, 1, -1, 0.5f};
    for (int i = 0; i < 50000; ++i) values.push_back(uniform(random));
    const float scale = static_cast<float>(range);
    for (float& value : values) value *= scale;
    const CompressorConfig config = {"fixed_r8", {{"fixed_range", range}}};
    const std::vector<float> decoded = RoundTrip(config, values);
    const double bound = scale / 254.0 + std::ldexp(scale, -22);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_LE(std::abs(double{decoded[i]} - values[i]), bound) << values[i];
    }
  }
}

TEST(FixedR8CompressorTest, StopsAtItsRange) {
  const std::vector<float> decoded =
      RoundTrip({"fixed_r8", {{"fixed_range", 2}}},
                {2.1f, -100, kLargest, -kLargest, kInfinity, -kInfinity, kNan,
                 kDenormal});
  const float most = 127 * (2.0f / 127);
  EXPECT_FLOAT_EQ(most, 2);
  EXPECT_THAT(decoded,
              ElementsAre(most, -most, most, -most, most, -most, 0, 0));
}

TEST(FixedR8CompressorTest, RefusesARangeOfNothing) {
  for (double range : {0.0, -1.0, 1e-31, 1e39}) {
    EXPECT_THAT(
        std::string(CreateCompressor({"fixed_r8", {{"fixed_range", range}}})
                        .status()
                        .message()),
        HasSubstr("'fixed_range' must be a finite float of at least 1e-30"));
  }
}

TEST(OneBitCompressorTest, KeepsToItsBound) {
  for (int dim : {1, 7, 8, 9, 32, 67}) {
    for (int seed = 0; seed < 50; ++seed) {
      const std::vector<float> values = Spread(dim, -8, 4, seed);
      const std::vector<float> decoded = RoundTrip({"one_bit", {}}, values);
      double sum = 0, squares = 0, largest = 0, error = 0;
      for (float value : values) {
        sum += std::abs(value);
        squares += double{value} * value;
        largest = std::max(largest, std::abs(double{value}));
      }
      const double mean = sum / dim;
      for (int i = 0; i < dim; ++i) {
        const double off = std::abs(double{decoded[i]} - values[i]);
        EXPECT_EQ(std::signbit(decoded[i]), std::signbit(values[i]));
        EXPECT_NEAR(off, std::abs(std::abs(values[i]) - mean), 1e-6 * mean);
        EXPECT_LE(off, largest);
        error += off * off;
      }
      EXPECT_NEAR(error, squares - dim * mean * mean, 1e-5 * squares);
    }
  }
}

TEST(OneBitCompressorTest, TakesExtremeValues) {
  EXPECT_THAT(RoundTrip({"one_bit", {}}, {kLargest, -kLargest}),
              ElementsAre(kLargest, -kLargest));
  EXPECT_THAT(RoundTrip({"one_bit", {}}, {kInfinity, -kInfinity}),
              ElementsAre(kLargest, -kLargest));
  EXPECT_THAT(RoundTrip({"one_bit", {}}, {kNan, -2}), ElementsAre(1, -1));
  EXPECT_THAT(RoundTrip({"one_bit", {}}, {0, -0.0f, 0}), Each(0));
}

}  // namespace
}  // namespace monolith
