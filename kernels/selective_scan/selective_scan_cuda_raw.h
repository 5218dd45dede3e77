// Raw CUDA kernels of the selective scan; no LibTorch. float32, bfloat16 and float16 I/O.
//
// Everything counts positions in processing order tau = 0..length-1: position tau, or length-1-tau
// with `reverse`. A warp owns 32 channels and a tile of 16 states and walks a segment of the length
// in chunks of 8 positions. Few long sequences are cut into several segments, which run side by
// side: first each segment's end state from a zero state, then a prefix over segments, then the
// scan proper; backward the same for the adjoint state. The division is a function of the shape
// alone.
#pragma once

#include <cstdint>

#include "kernels/selective_scan/selective_scan_params.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

// Floats that the states before every chunk take: they are the checkpoints.
int64_t selective_scan_cuda_checkpoints(const SelectiveScanParams& params);

// Floats of scratch memory, at a multiple of 16 bytes. Without params.checkpoints the backward pass
// recomputes them inside its own workspace, one tile of states at a time.
int64_t selective_scan_cuda_forward_workspace(const SelectiveScanForwardParams& params);
int64_t selective_scan_cuda_backward_workspace(const SelectiveScanBackwardParams& params);

// Asynchronous on `stream`; errors of launches are left to the caller's check. Checkpoints, where
// saved, lie at a multiple of 16 bytes; dB and dC are contiguous.
void selective_scan_cuda_forward(const SelectiveScanForwardParams& params, float* workspace,
                                 CUstream_st* stream);
void selective_scan_cuda_backward(const SelectiveScanBackwardParams& params, float* workspace,
                                  CUstream_st* stream);

}  // namespace strandwave::kernels
