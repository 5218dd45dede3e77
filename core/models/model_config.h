// config.json of a sequence model.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/layers/layer_config.h"

namespace strandwave {

struct HeadConfig {
  // kClassifier: one class per sequence (softmax); kMultiLabel: any number of them (a sigmoid per
  // class); kRegression: numbers.
  enum class Kind { kLanguageModel, kClassifier, kMultiLabel, kRegression };
  enum class Pooling { kMean, kLast };
  Kind kind = Kind::kLanguageModel;
  std::vector<std::string> classes;  // in the order of the logits; regression: names of outputs
  Pooling pooling = Pooling::kMean;  // over a sequence's own positions; not of language models
  // The weights also predict the next token, through the tied embedding: beside its classes the
  // model then gives a sequence's likelihood. Needs tie_embeddings; not of language models.
  bool language_model = false;
  // Regression: output_i = offsets[i] + scales[i] * (score head)_i, so that the head works in units
  // of the training data's spread. Empty: 0 and 1.
  std::vector<double> offsets, scales;
};

struct InitializerConfig {
  double embedding_std = 0.02;   // of the embedding; heads are uniform, 1/sqrt(d_model)
  bool rescale_residual = true;  // out_proj.weight and fc2.weight divided by sqrt(number of layers)
};

// {
//   "format": "strandwave", "format_version": 1,
//   "d_model": 256,
//   "stack": "M{8}",                        layer string, see layer_string.h
//   "layers": {"M": {"kind": "mamba", "d_state": 16}},  what each character stands for
//   "vocab_size": 16,                       rows of the embedding
//   "valid_vocab_size": 12,                 rows that are tokens; 0 or absent: all
//   "norm_eps": 1e-5, "tie_embeddings": true, "residual_in_fp32": true,
//   "head": {"kind": "language_model"},     or "classifier", "multi_label", "regression" with
//                                           "classes": [...], "pooling": "mean" or "last" and
//                                           "language_model": true or false (absent); of a
//                                           regression "offsets" and "scales", one per output
//   "initializer": {"embedding_std": 0.02, "rescale_residual": true},
//   "tokenizer": "dna-nucleotide"           free text: what made the ids
// }
struct ModelConfig {
  int64_t d_model = 256;
  std::string stack = "M{8}";
  std::map<char, LayerConfig> layers = {{'M', LayerConfig{}}};
  int64_t vocab_size = 16;
  int64_t valid_vocab_size = 0;
  double norm_eps = 1e-5;
  bool tie_embeddings = true;  // language models, and heads with language_model
  bool residual_in_fp32 = true;
  HeadConfig head;
  InitializerConfig initializer;
  std::string tokenizer;

  // Throws Error(kUsage) with the key and its value: unknown key (naming the nearest known one),
  // wrong type, impossible value. `where` names the source in messages.
  static ModelConfig from_json(const nlohmann::json& value,
                               const std::string& where = "config.json");
  nlohmann::json to_json() const;

  // One entry per layer, in order.
  std::vector<LayerConfig> layer_list() const;
  // Whether the model predicts the next token: a language model, or a head beside which one is
  // kept.
  bool predicts_tokens() const {
    return head.kind == HeadConfig::Kind::kLanguageModel || head.language_model;
  }
  int64_t valid_vocabulary() const { return valid_vocab_size > 0 ? valid_vocab_size : vocab_size; }
  // Throws Error(kUsage) when the values do not make a model; SequenceModel and from_json call it.
  void validate(const std::string& where = "model configuration") const;
};

// {"kind": "mamba", "d_state": 16, ...}; which options a kind has is checked by check_layer.
LayerConfig layer_from_json(const nlohmann::json& value, const std::string& where);
nlohmann::json layer_to_json(const LayerConfig& layer);

std::string to_string(HeadConfig::Kind kind);
std::string to_string(HeadConfig::Pooling pooling);

}  // namespace strandwave
