#include "core/layers/hippo.h"

#include <numbers>

#include "core/base/error.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr double kLargestImaginaryB = 2.0;

// LegS plus p p^T is -1/2 plus a skew-symmetric matrix K: its eigenvectors are those of the
// Hermitian -i K, which eigh finds to full precision where a general solver would not.
InitialStateMatrix legs(int64_t d_state) {
  const Tensor k = torch::arange(d_state, torch::kDouble);
  const Tensor p = (k + 0.5).sqrt();
  // For j > k: -sqrt((2j + 1)(2k + 1)) + p_j p_k = -p_j p_k; antisymmetric above the diagonal.
  const Tensor product = torch::outer(p, p);
  const Tensor skew = product.triu(1) - product.tril(-1);
  const Tensor hermitian = torch::complex(torch::zeros_like(skew), -skew);
  const auto [frequencies, vectors] = torch::linalg_eigh(hermitian);
  // Ascending: the first half are the negative frequencies.
  const int64_t n = d_state / 2;
  const Tensor imaginary = frequencies.narrow(0, 0, n);
  Tensor v = vectors.narrow(1, 0, n);
  v = v * (v[0].conj() / v[0].abs());
  const Tensor to_basis = v.conj().transpose(0, 1);
  const Tensor p_basis = to_basis.mv(torch::complex(p, torch::zeros_like(p)));
  const Tensor b = p_basis * std::numbers::sqrt2;  // sqrt(2k + 1) = sqrt(2) p_k
  return {torch::complex(torch::full_like(imaginary, -0.5), imaginary),
          torch::complex(torch::real(b).contiguous(),
                         torch::imag(b).clamp(-kLargestImaginaryB, kLargestImaginaryB)),
          p_basis.contiguous()};
}

}  // namespace

InitialStateMatrix initial_state_matrix(const std::string& init, int64_t d_state) {
  if (init == "legs") return legs(d_state);
  const int64_t n = d_state / 2;
  const double N = static_cast<double>(d_state);
  const Tensor k = torch::arange(n, torch::kDouble);
  Tensor real = torch::full_like(k, -0.5), imaginary = torch::zeros_like(k);
  if (init == "lin")
    imaginary = -std::numbers::pi * k;
  else if (init == "inv")
    imaginary = -(N / std::numbers::pi) * (N / (2 * k + 1) - 1);
  else if (init == "real")
    real = -(k + 1);
  else
    throw usage_error("unknown initial state matrix \"" + init + "\"");
  return {torch::complex(real, imaginary),
          torch::complex(torch::ones_like(k), torch::zeros_like(k)),
          {}};
}

std::vector<std::string> state_matrix_names() { return {"legs", "lin", "inv", "real"}; }

}  // namespace strandwave
