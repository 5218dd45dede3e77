// Raw CPU kernels of the selective scan: SIMD, one task per call, no threads, no LibTorch.
//
// Everything here counts positions in processing order tau = 0..length-1: position tau, or
// length-1-tau with `reverse`. Channels are cut into blocks, the length into chunks of kChunk, and,
// where batch x blocks gives too few tasks, runs of chunks form segments that are scanned in
// parallel: first each segment's end state from a zero state, then a prefix over segments, then the
// scan proper. The division is a function of the shape, never of threads, so that results are too.
#pragma once

#include <cstdint>

#include "kernels/selective_scan/selective_scan_params.h"

namespace strandwave::kernels {

struct SelectiveScanDivision {
  static constexpr int64_t kChunk = 64;  // positions; the state before each chunk is a checkpoint

  int64_t chunks = 0;
  int64_t channel_block = 0;  // channels of a block; the last block may have fewer
  int64_t channel_blocks = 0;
  int64_t segment_chunks = 0;  // chunks of a segment; the last segment may have fewer
  int64_t segments = 0;        // at least 1
};

SelectiveScanDivision divide_selective_scan(const SelectiveScanParams& params);

struct SelectiveScanTask {
  int64_t batch = 0;
  int64_t channel_block = 0;
  int64_t segment = 0;
};

// What passes from segment to segment, of the parameter type.
struct SelectiveScanCarries {
  void* states = nullptr;      // (batch, segments, d_state, channels)
  void* delta_sums = nullptr;  // (batch, segments, rows, channels): rows is 2 with complex states,
                               // the second for rounding errors of the first, else 1
};

// Checkpoints: (batch, chunks, d_state, channels), of the parameter type.

// Forward. With more than one segment: end_states for every task, then enter_states for every
// (batch, channel_block), then forward for every task with the carries; else forward with null.
// params.out.data may be null: only states (checkpoints, final_state) are computed.
void selective_scan_end_states(const SelectiveScanParams& params,
                               const SelectiveScanDivision& division, const SelectiveScanTask& task,
                               const SelectiveScanCarries& carries);
void selective_scan_enter_states(const SelectiveScanParams& params,
                                 const SelectiveScanDivision& division,
                                 const SelectiveScanTask& task,
                                 const SelectiveScanCarries& carries);
void selective_scan_forward_task(const SelectiveScanForwardParams& params,
                                 const SelectiveScanDivision& division,
                                 const SelectiveScanTask& task,
                                 const SelectiveScanCarries* carries);

// Sums over channels and over batch and length that a backward task leaves unfinished.
struct SelectiveScanPartials {
  void* dA = nullptr;           // (batch x segments, d_state, channels)
  void* dD = nullptr;           // (batch x segments, channels)
  void* ddelta_bias = nullptr;  // (batch x segments, channels)
  void* dB = nullptr;           // (channel_blocks, batch, length, d_state)
  void* dC = nullptr;
};

// Backward, the same three steps for the adjoint state, which runs the other way. Needs
// params.checkpoints. Then the partial sums are added in fixed order: reduce_channels for every
// channel block, reduce_rows for every (batch, chunk).
void selective_scan_end_adjoints(const SelectiveScanBackwardParams& params,
                                 const SelectiveScanDivision& division,
                                 const SelectiveScanTask& task,
                                 const SelectiveScanCarries& carries);
void selective_scan_enter_adjoints(const SelectiveScanBackwardParams& params,
                                   const SelectiveScanDivision& division,
                                   const SelectiveScanTask& task,
                                   const SelectiveScanCarries& carries);
void selective_scan_backward_task(const SelectiveScanBackwardParams& params,
                                  const SelectiveScanDivision& division,
                                  const SelectiveScanTask& task,
                                  const SelectiveScanCarries* carries,
                                  const SelectiveScanPartials& partials);
void selective_scan_reduce_channels(const SelectiveScanBackwardParams& params,
                                    const SelectiveScanDivision& division, int64_t channel_block,
                                    const SelectiveScanPartials& partials);
void selective_scan_reduce_rows(const SelectiveScanBackwardParams& params,
                                const SelectiveScanDivision& division, int64_t batch, int64_t chunk,
                                const SelectiveScanPartials& partials);

}  // namespace strandwave::kernels
