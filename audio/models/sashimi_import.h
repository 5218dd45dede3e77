// Released checkpoints of SaShiMi (state-spaces/s4).
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "audio/io/audio_format.h"
#include "audio/models/sashimi.h"

namespace strandwave::audio {

struct ReleasedModel {
  // How dt follows from the file's number: files do not say. "exp": versions up to 3, and what was
  // converted from them, as all released *_v4.pt; "softplus": trained by version 4.
  std::string dt_transform = "exp";
  // What the samples are; the public code's audio is mu-law of its own, min-max scaled per clip.
  // clip_length 0: the length of the outermost kernels.
  AudioFormat format = {.sample_rate = 16000,
                        .companding = Companding::kS4,
                        .scale = Scale::kMinMax,
                        .length = LengthPolicy::kPad,
                        .clip_length = 0};
};

// Reads a file of torch.save with the state dict of a language model over audio: the backbones
// `sashimi` (skips over poolings, weight-normed poolings) and `unet` (skips over layers), as well
// as both forms of models/sashimi; keys of version 4 and of version 3 (layer.kernel.kernel.log_dt,
// w_imag, ...). Sizes, topology, state sizes and kernel lengths follow from the tensors. Throws
// Error(kInput) naming the file and the tensor that is missing, of another shape or unknown; what
// came before version 3 (A = Lambda - P Q*) is refused.
std::shared_ptr<Sashimi> import_sashimi(const std::filesystem::path& path,
                                        const ReleasedModel& options = {});

}  // namespace strandwave::audio
