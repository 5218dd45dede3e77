#include "apps/dna_model.h"

#include "apps/options.h"
#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave::apps {

void require_dna_tokens(const ModelConfig& config, const std::string& where) {
  if (config.valid_vocabulary() < dna::kVocabulary)
    throw usage_error(where + " has " + std::to_string(config.valid_vocabulary()) +
                      " tokens, DNA needs " + std::to_string(dna::kVocabulary) +
                      ": take a model made by strandwave dna pretrain or finetune");
  if (config.tokenizer.empty())
    warn(where + " does not say what its tokens are: they are taken for those of DNA");
  else if (config.tokenizer != dna::kTokenizerName)
    throw usage_error(where + " reads the tokens of \"" + config.tokenizer + "\", not those of \"" +
                      dna::kTokenizerName +
                      "\": take a model made by strandwave dna pretrain or finetune");
}

void require_language_model(const ModelConfig& config, const std::string& where) {
  if (config.head.kind == HeadConfig::Kind::kLanguageModel) return;
  throw usage_error(where + " is no language model (its head is: " + to_string(config.head.kind) +
                    "): a pretrained model is needed here");
}

LoadedModel load_dna_model(const std::string& path) {
  LoadedModel loaded = load_model_with_state(path);
  require_dna_tokens(loaded.model->config(), path);
  return loaded;
}

}  // namespace strandwave::apps
