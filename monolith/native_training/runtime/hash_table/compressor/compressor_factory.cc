#include "monolith/native_training/runtime/hash_table/compressor/compressor_factory.h"

#include <map>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/compressor/fixed_r8_compressor.h"
#include "monolith/native_training/runtime/hash_table/compressor/fp16_compressor.h"
#include "monolith/native_training/runtime/hash_table/compressor/fp32_compressor.h"
#include "monolith/native_training/runtime/hash_table/compressor/one_bit_compressor.h"

namespace monolith {
namespace {

using Factory =
    absl::StatusOr<std::unique_ptr<Compressor>> (*)(const CompressorConfig&);

const std::map<std::string, Factory>& Factories() {
  static const auto* const factories = new std::map<std::string, Factory>{
      {"fixed_r8", FixedR8Compressor::Create},
      {"fp16", Fp16Compressor::Create},
      {"fp32", Fp32Compressor::Create},
      {"one_bit", OneBitCompressor::Create},
  };
  return *factories;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Compressor>> CreateCompressor(
    const CompressorConfig& config) {
  auto it = Factories().find(config.type);
  if (it == Factories().end()) {
    return UnknownTypeError("compressor", config.type, CompressorTypes());
  }
  return it->second(config);
}

std::vector<std::string> CompressorTypes() {
  std::vector<std::string> types;
  for (const auto& [type, factory] : Factories()) types.push_back(type);
  return types;
}

}  // namespace monolith
