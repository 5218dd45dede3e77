// Initial state matrices of S4 and S4D.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace strandwave {

// The half with Im A <= 0 of a state of N = 2 n numbers in conjugate pairs: (n) complex128 on the
// CPU.
struct InitialStateMatrix {
  torch::Tensor A;  // diagonal part
  torch::Tensor B;
  torch::Tensor P;  // undefined unless the matrix is diagonal plus rank one: diag(A) - P P*
};

// With k = 0 .. n - 1 (arXiv 2206.11893, section 4):
//   legs   HiPPO-LegS, A_jk = -sqrt((2j + 1)(2k + 1)) below the diagonal, -(k + 1) on it, in the
//          basis in which A + p p^T, p_k = sqrt(k + 1/2), is diagonal; B_k = sqrt(2k + 1) in that
//          basis, its imaginary part clipped to [-2, 2]. Real parts are -1/2. The first component
//          of every eigenvector is real and positive.
//   lin    A = -1/2 - i pi k
//   inv    A = -1/2 - i (N / pi) (N / (2k + 1) - 1)
//   real   A = -(k + 1)
// B is 1 except for legs, which alone has P. d_state is even, from 2.
InitialStateMatrix initial_state_matrix(const std::string& init, int64_t d_state);

std::vector<std::string> state_matrix_names();

}  // namespace strandwave
