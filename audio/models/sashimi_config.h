// config.json of a multiscale audio model.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/layers/channel_norm.h"
#include "core/layers/layer_config.h"

namespace strandwave::audio {

// What one layer of a stage is made of: each block is a residual block of its own.
struct StageConfig {
  int64_t layers = 8;
  std::vector<LayerConfig> blocks;
};

// {
//   "format": "strandwave", "format_version": 1, "kind": "sashimi",
//   "d_model": 64,                  width at the sampling rate
//   "pool": [4, 4],                 samples that become one frame, from the outside in
//   "expand": 2,                    each pooling multiplies the width by this
//   "stages": [                     one per width, from the outside in: pools + 1
//     {"layers": 8, "blocks": [{"kind": "s4", "d_state": 64}, {"kind": "mlp", ...}]}, ...],
//   "skips": "layers",              or "pools": see Sashimi
//   "norm": "layer",                or "scalar" (mean and deviation over channels, two scalars)
//   "weight_norm": false,           of the poolings' matrices
//   "vocab_size": 256,
//   "classes": ["zero", ...],       empty: unconditional
//   "embedding_std": 1.0,           of initial values
//   "audio": {...}                  what made the ids: AudioFormat; the model does not read it
// }
struct SashimiConfig {
  enum class Skips { kPools, kLayers };

  int64_t d_model = 64;
  std::vector<int64_t> pool = {4, 4};
  int64_t expand = 2;
  std::vector<StageConfig> stages;
  Skips skips = Skips::kLayers;
  NormKind norm = NormKind::kLayer;
  bool weight_norm = false;
  int64_t vocab_size = 256;
  std::vector<std::string> classes;
  double embedding_std = 1.0;
  nlohmann::json audio = nlohmann::json::object();

  // Throws Error(kUsage) with the key and its value: unknown key (naming the nearest known one),
  // wrong type, impossible value.
  static SashimiConfig from_json(const nlohmann::json& value,
                                 const std::string& where = "config.json");
  nlohmann::json to_json() const;
  void validate(const std::string& where = "model configuration") const;

  // Kernels of S4 blocks are made for sequences of so many samples ("l_kernel" of each stage; see
  // core/layers/s4.h); sequences of other lengths stay possible.
  void set_clip_length(int64_t samples);

  // Samples per frame of the innermost stage.
  int64_t pooling() const;
  // Channels of stage i.
  int64_t width(int64_t stage) const;
};

// The blocks of one layer by name:
//   s4+ff, s4d+ff   state space, then a feed-forward layer of twice the width
//   mamba           one Mamba block;  mamba-complex: with complex states;  mamba-lti: one whose
//                   state space does not select
//   mha+mlp         causal attention, then a small feed-forward layer: together about 6 width^2
//                   parameters, as the others have
// Throws Error(kUsage) naming the known ones.
std::vector<LayerConfig> stage_blocks(const std::string& name);
std::vector<std::string> stage_block_names();

// The public models by name, with their 8 layers per stage and width 64:
//   sashimi         skips over the poolings, scalar norms, weight-normed poolings, s4+ff, one A and
//                   B for all channels (n_ssm 1): 4,751,072 parameters
//   unet            skips over layers, scalar norms, s4+ff, A and B per channel: 6,820,512
//   standalone      as sashimi with layer norms and plain poolings, A and B per channel
//   standalone-unet as unet with layer norms
//   mamba           skips over layers, layer norms, mamba: 6,260,224
// Throws Error(kUsage) naming the known ones.
SashimiConfig sashimi_preset(const std::string& name);
std::vector<std::string> sashimi_preset_names();

}  // namespace strandwave::audio
