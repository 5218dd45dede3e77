// How the CUDA kernels of the selective scan cut their work, and what they pass to each other.
#pragma once

#include <cstdint>

#include "kernels/selective_scan/selective_scan_params.h"

struct CUstream_st;

namespace strandwave::kernels {

constexpr int kScanSteps = 8;      // positions of a chunk
constexpr int kScanChannels = 32;  // of a warp
constexpr int kScanStates = 16;    // of a warp: real numbers, so half as many complex states
constexpr int kScanWarps = 4;      // of a block
constexpr int kScanThreads = 32 * kScanWarps;
constexpr int kScanTile = kScanChannels * kScanStates;  // floats of a warp's state

struct ScanSegments {
  int64_t count = 1;
  int64_t length = 0;  // positions, a multiple of kScanSteps; the last segment may be shorter
};

struct ScanDivision {
  int64_t chunks = 0;
  int64_t channel_warps = 0;
  int64_t channel_blocks = 0;
  int state_tiles = 0;
  ScanSegments forward;
  ScanSegments backward;

  int64_t padded_channels() const { return channel_warps * kScanChannels; }
};

ScanDivision scan_division(const SelectiveScanParams& params);

// What passes from segment to segment; null where there is one segment.
struct ScanCarries {
  float* states =
      nullptr;  // (batch, segments, channel_warps, kScanTile), a warp's state in thread order
  float* delta_sums = nullptr;   // (batch, segments, channel_warps x 32)
  float* delta_rests = nullptr;  // complex: what rounding took from the sums
  int32_t* cuts = nullptr;       // (batch, segments): nothing passes through this segment
};

// Hands out pieces of a workspace; with a null base it only counts.
class ScanWorkspace {
 public:
  explicit ScanWorkspace(float* base) : base_(base) {}

  float* take(int64_t floats) {
    float* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (floats + 31) / 32 * 32;
    return piece;
  }
  ScanCarries take_carries(const SelectiveScanParams& params, const ScanDivision& division,
                           const ScanSegments& segments) {
    if (segments.count == 1) return {};
    const int64_t parts = params.batch * segments.count;
    ScanCarries carries;
    carries.states = take(parts * division.channel_warps * kScanTile);
    carries.delta_sums = take(parts * division.padded_channels());
    if (params.complex) carries.delta_rests = take(parts * division.padded_channels());
    carries.cuts = reinterpret_cast<int32_t*>(take(parts));
    return carries;
  }
  int64_t used() const { return used_; }

 private:
  float* base_;
  int64_t used_ = 0;
};

// Turns what leaves each segment when nothing enters it into what enters each segment: states and
// delta_sums of the segments, in the order in which the recurrence meets them (`adjoint`: from the
// last to the first).
void scan_compose_segments(const SelectiveScanParams& params, const ScanDivision& division,
                           const ScanSegments& segments, int state_tile, bool adjoint,
                           const ScanCarries& carries, CUstream_st* stream);

// to = from (or zero) for the states of empty sequences, which no position visits.
void scan_pass_empty_sequences(const SelectiveScanParams& params, const void* from, void* to,
                               CUstream_st* stream);

// One tile of states, forward. `checkpoints` (batch, chunks, channel_warps, kScanTile) or null;
// `sums` (batch, length, channel_warps x 32), only where there are several tiles: y so far.
void scan_forward_tile(const SelectiveScanForwardParams& params, const ScanDivision& division,
                       int state_tile, const ScanCarries& carries, float* checkpoints, float* sums,
                       CUstream_st* stream);

}  // namespace strandwave::kernels
