// Models that the DNA commands read.
#pragma once

#include <string>

#include "core/checkpoint/checkpoint.h"

namespace strandwave::apps {

// Throws Error(kUsage) unless the model's tokens can be those of genomics/io/tokenizer.h; warns
// where its configuration does not say what they are. `where` begins the message.
void require_dna_tokens(const ModelConfig& config, const std::string& where);

// Throws Error(kUsage) for a classifier or a regressor.
void require_language_model(const ModelConfig& config, const std::string& where);

// A run, checkpoint or model folder whose tokens are DNA.
LoadedModel load_dna_model(const std::string& path);

}  // namespace strandwave::apps
