// Simple predictors of the next sample, which a model must beat. No LibTorch.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "audio/io/companding.h"

namespace strandwave::audio {

// Bits of a clip's codes under one predictor.
struct ClipBits {
  double real = 0;  // of the first `real` samples
  double all = 0;   // with the padding behind them
};

// Learns from codes, then gives the bits of others. All three see what came before in the clip, and
// before its first sample kSilence:
//
//   unigram  how often each code occurs
//   order 1  how often it follows the code before
//   LPC-16   x_t is normal around sum_k a_k x_{t-k}, k = 1 .. 16, with the decoded samples x and
//            the least-squares coefficients a of the clips learned from; its deviation is
//            sqrt(pi / 2) m_t, m being the running mean of the absolute errors before, m_{t+1} =
//            0.9 m_t + 0.1 |x_t - prediction|; the probability of a code is that of its interval,
//            half way to its neighbours', mixed with 0.2 % of all codes alike. (Linear prediction:
//            Makhoul, Proc. IEEE 63(4), 1975.)
//
// Counts begin at 1.
class SampleBaselines {
 public:
  static constexpr int kOrder = 16;

  explicit SampleBaselines(Companding companding);

  void learn(std::span<const uint8_t> codes);
  // After the last learn().
  void finish();

  static const std::vector<std::string>& names();  // in the order of bits()
  // Throws std::logic_error before finish().
  std::vector<ClipBits> bits(std::span<const uint8_t> codes, int64_t real) const;

  const std::array<double, kOrder>& coefficients() const { return coefficients_; }

 private:
  void add_products(std::span<const uint8_t> codes);
  void solve();
  std::vector<double> linear_prediction_bits(std::span<const uint8_t> codes) const;

  std::array<double, 256> value_ = {};    // decoded
  std::array<double, 257> edge_ = {};     // between neighbours
  std::vector<double> unigram_, order1_;  // counts, after finish() bits
  std::array<std::array<double, kOrder + 1>, kOrder + 1> products_ = {};  // of x_{t-i}, x_{t-j}
  double learned_ = 0;                                                    // samples
  double mean_error_ = 0;                                                 // m_0
  std::array<double, kOrder> coefficients_ = {};
  bool finished_ = false;
};

}  // namespace strandwave::audio
