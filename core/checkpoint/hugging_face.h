// Mamba models of Hugging Face transformers and of state-spaces/mamba.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "core/models/sequence_model.h"

namespace strandwave {

// Reads a directory with config.json and model.safetensors (or model.safetensors.index.json and its
// parts) in one of two dialects:
//   Hugging Face   "model_type": "mamba" (MambaForCausalLM, MambaModel); backbone.embeddings.*
//   state-spaces   "d_model", "n_layer", "ssm_cfg"; rows padded to pad_vocab_size_multiple
// Tensors of any float type become float32. The head is the embedding when the configuration ties
// them or there is no lm_head.weight. Keys that change the mathematics in a way that we do not have
// (attention layers, Mamba-2, activations other than silu, LayerNorm) are errors; what belongs to
// other software (architectures, transformers_version, ...) is ignored.
// Throws Error(kInput) with file, key or tensor. pytorch_model.bin is refused with what to do.
std::shared_ptr<SequenceModel> import_model(const std::filesystem::path& directory);

// Writes config.json and model.safetensors as MambaForCausalLM reads them; an existing directory is
// replaced only with `replace`. The number of valid tokens has no place there and is lost. Throws
// Error(kUsage) when the model has no such form (other mixers, a classifier head, layers that
// differ).
void export_hugging_face(const std::filesystem::path& directory, const SequenceModel& model,
                         bool replace = false);

}  // namespace strandwave
