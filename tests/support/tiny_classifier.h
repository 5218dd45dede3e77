// Small DNA classifiers and sequences for tests of genomics/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/models/sequence_model.h"
#include "genomics/io/tokenizer.h"

namespace strandwave::testing {

// Random bases; every `every_n`-th is N (0: none).
inline std::vector<uint8_t> random_bases(int64_t length, uint64_t seed, int64_t every_n = 0) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::vector<uint8_t> ids;
  for (int64_t i = 0; i < length; ++i)
    ids.push_back(every_n > 0 && i % every_n == every_n - 1
                      ? dna::kN
                      : static_cast<uint8_t>(dna::kA + stream.below(static_cast<uint64_t>(i), 4)));
  return ids;
}

// Three classes, two layers; a head and an embedding large enough that answers differ between
// sequences by far more than rounding.
inline std::shared_ptr<SequenceModel> tiny_classifier(HeadConfig head = {}) {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "MM";
  config.layers = {{'M', LayerConfig{"mamba", {{"d_state", 4}}}}};
  config.vocab_size = dna::kPaddedVocabulary;
  config.valid_vocab_size = dna::kVocabulary;
  if (head.kind == HeadConfig::Kind::kLanguageModel) head.kind = HeadConfig::Kind::kClassifier;
  head.classes = {"x", "y", "z"};
  config.head = head;
  config.initializer.embedding_std = 0.5;
  auto model = std::make_shared<SequenceModel>(config, 3);
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : model->named_tensors())
    if (name == "score.weight") tensor.mul_(10);
  return model;
}

inline HeadConfig head(HeadConfig::Kind kind, bool language_model,
                       HeadConfig::Pooling pooling = HeadConfig::Pooling::kMean) {
  HeadConfig config;
  config.kind = kind;
  config.language_model = language_model;
  config.pooling = pooling;
  return config;
}

}  // namespace strandwave::testing
