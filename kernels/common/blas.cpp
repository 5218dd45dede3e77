// MKL chooses its kernels by the alignment of the operands and may return other bits for the same
// product from one call to the next (seen on Intel processors). This asks it for strict
// reproducibility on the best instruction set there is; it costs nothing measurable. MKL reads the
// setting at its first call, which in our programs comes after this library is loaded; from Python
// set it before importing torch.
#include <cstdlib>

namespace strandwave {
namespace {

[[maybe_unused]] const int kStrictMkl = setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);

}  // namespace
}  // namespace strandwave
