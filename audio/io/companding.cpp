#include "audio/io/companding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

#include "core/base/error.h"

namespace strandwave::audio {
namespace {

constexpr double kMu = 255;

uint8_t mu_law_code(float x) {
  static const double kScale = 1 / std::log1p(kMu);
  const double y = std::copysign(std::log1p(kMu * std::abs(double{x})) * kScale, double{x});
  return static_cast<uint8_t>((y + 1) / 2 * kMu + 0.5);
}

// In float, as the reference computes it: near the edges between codes the rounding decides.
uint8_t s4_code(float x) {
  constexpr float kFloatMu = 255;
  const float magnitude = std::log1p(kFloatMu * std::abs(x + 1e-8F)) / std::log1p(kFloatMu);
  const float y = x == 0 ? 0 : std::copysign(magnitude, x);
  return static_cast<uint8_t>(std::clamp((y + 1) / 2 * 255.99F + 0.005F, 0.0F, 255.0F));
}

uint8_t linear_code(float x) {
  return static_cast<uint8_t>(std::clamp(std::round((double{x} + 1) * 128), 0.0, 255.0));
}

uint8_t code_of(Companding companding, float x) {
  switch (companding) {
    case Companding::kMuLaw:
      return mu_law_code(x);
    case Companding::kS4:
      return s4_code(x);
    case Companding::kLinear:
      return linear_code(x);
  }
  throw std::logic_error("code_of()");
}

double value_of(Companding companding, int code) {
  if (companding == Companding::kLinear) return code / 128.0 - 1;
  const double y = companding == Companding::kMuLaw ? code / kMu * 2 - 1 : code / 128.0 - 1;
  return std::copysign(std::expm1(std::abs(y) * std::log1p(kMu)) / kMu, y);
}

void require_same_length(size_t samples, size_t codes) {
  if (samples != codes) throw std::logic_error("as many codes as samples are needed");
}

}  // namespace

const std::vector<std::string>& companding_names() {
  static const std::vector<std::string> kNames = {"mu-law", "s4", "linear"};
  return kNames;
}

std::string to_string(Companding companding) {
  return companding_names().at(static_cast<size_t>(companding));
}

Companding companding_of(const std::string& name) {
  const auto& names = companding_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw usage_error("there is no companding '" + name + "': choose mu-law, s4 or linear");
  return static_cast<Companding>(found - names.begin());
}

int64_t encode(Companding companding, std::span<const float> samples, std::span<uint8_t> codes) {
  require_same_length(samples.size(), codes.size());
  int64_t clipped = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const float x = std::clamp(samples[i], -1.0F, 1.0F);
    clipped += x != samples[i] ? 1 : 0;
    codes[i] = code_of(companding, x);
  }
  return clipped;
}

void decode(Companding companding, std::span<const uint8_t> codes, std::span<float> samples) {
  require_same_length(samples.size(), codes.size());
  std::array<float, 256> values;
  for (int code = 0; code < 256; ++code)
    values[static_cast<size_t>(code)] = static_cast<float>(value_of(companding, code));
  std::transform(codes.begin(), codes.end(), samples.begin(),
                 [&](uint8_t code) { return values[code]; });
}

}  // namespace strandwave::audio
