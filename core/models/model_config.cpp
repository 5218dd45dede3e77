#include "core/models/model_config.h"

#include <set>

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "core/layers/registry.h"
#include "core/models/layer_string.h"

namespace strandwave {
namespace {

constexpr int64_t kMaxVocabulary = int64_t{1} << 31;
constexpr int64_t kFormatVersion = 1;

std::map<char, LayerConfig> layers_from_json(const nlohmann::json& value,
                                             const std::string& where) {
  std::map<char, LayerConfig> layers;
  if (!value.is_object())
    throw usage_error(where + ": expected an object {\"M\": {\"kind\": ...}}");
  for (const auto& [key, layer] : value.items()) {
    if (key.size() != 1)
      throw usage_error(where + ": a layer's key is one character of the stack, got \"" + key +
                        "\"");
    layers[key[0]] = layer_from_json(layer, where + "." + key);
  }
  return layers;
}

std::vector<double> numbers_from_json(const nlohmann::json& value, const std::string& where) {
  std::vector<double> numbers;
  if (value.is_null()) return numbers;
  if (!value.is_array())
    throw usage_error(where + ": expected a list of numbers, got " + value.dump());
  for (const nlohmann::json& item : value) {
    if (!item.is_number())
      throw usage_error(where + ": expected a list of numbers, got " + item.dump() + " in it");
    numbers.push_back(item.get<double>());
  }
  return numbers;
}

HeadConfig head_from_json(const nlohmann::json& value, const std::string& where) {
  HeadConfig head;
  JsonObject object(value, where);
  const std::string kind = object.choice(
      "kind", "language_model", {"language_model", "classifier", "multi_label", "regression"});
  if (kind == "classifier") head.kind = HeadConfig::Kind::kClassifier;
  if (kind == "multi_label") head.kind = HeadConfig::Kind::kMultiLabel;
  if (kind == "regression") head.kind = HeadConfig::Kind::kRegression;
  if (head.kind != HeadConfig::Kind::kLanguageModel) {
    head.classes = object.strings("classes");
    head.pooling = object.choice("pooling", "mean", {"mean", "last"}) == "mean"
                       ? HeadConfig::Pooling::kMean
                       : HeadConfig::Pooling::kLast;
    head.language_model = object.boolean("language_model", false);
    head.offsets = numbers_from_json(object.value("offsets"), where + ": offsets");
    head.scales = numbers_from_json(object.value("scales"), where + ": scales");
  }
  object.finish();
  return head;
}

nlohmann::json head_to_json(const HeadConfig& head) {
  nlohmann::json json = {{"kind", to_string(head.kind)}};
  if (head.kind == HeadConfig::Kind::kLanguageModel) return json;
  json["classes"] = head.classes;
  json["pooling"] = to_string(head.pooling);
  if (head.language_model) json["language_model"] = true;
  if (!head.offsets.empty()) json["offsets"] = head.offsets;
  if (!head.scales.empty()) json["scales"] = head.scales;
  return json;
}

InitializerConfig initializer_from_json(const nlohmann::json& value, const std::string& where) {
  InitializerConfig initializer;
  JsonObject object(value, where);
  initializer.embedding_std = object.number("embedding_std", initializer.embedding_std, 0, 100);
  initializer.rescale_residual = object.boolean("rescale_residual", initializer.rescale_residual);
  object.finish();
  return initializer;
}

void check_head(const HeadConfig& head, bool tied, const std::string& where) {
  if (head.kind == HeadConfig::Kind::kLanguageModel) return;
  if (head.language_model && !tied)
    throw usage_error(where + ": \"language_model\" beside a " + to_string(head.kind) +
                      " head needs \"tie_embeddings\": true");
  if (head.classes.empty())
    throw usage_error(where + ": a " + to_string(head.kind) +
                      " head needs \"classes\", the list of its labels");
  if (head.kind == HeadConfig::Kind::kClassifier && head.classes.size() < 2)
    throw usage_error(where + ": a classifier needs at least two classes, got only \"" +
                      head.classes[0] + "\"");
  for (const auto& [key, values] :
       {std::pair("offsets", &head.offsets), {"scales", &head.scales}}) {
    if (values->empty()) continue;
    if (head.kind != HeadConfig::Kind::kRegression || values->size() != head.classes.size())
      throw usage_error(
          where + ": \"" + key + "\" belongs to a regression head and has one number per output (" +
          std::to_string(head.classes.size()) + "), got " + std::to_string(values->size()));
  }
  std::set<std::string> seen;
  for (const std::string& label : head.classes)
    if (!seen.insert(label).second)
      throw usage_error(where + ": class \"" + label + "\" is listed twice");
}

void check_range(const std::string& where, const char* key, int64_t value, int64_t minimum,
                 int64_t maximum) {
  if (value < minimum || value > maximum)
    throw usage_error(where + ": \"" + key + "\" must be from " + std::to_string(minimum) + " to " +
                      std::to_string(maximum) + ", got " + std::to_string(value));
}

}  // namespace

std::string to_string(HeadConfig::Kind kind) {
  switch (kind) {
    case HeadConfig::Kind::kClassifier:
      return "classifier";
    case HeadConfig::Kind::kMultiLabel:
      return "multi_label";
    case HeadConfig::Kind::kRegression:
      return "regression";
    case HeadConfig::Kind::kLanguageModel:
      break;
  }
  return "language_model";
}

std::string to_string(HeadConfig::Pooling pooling) {
  return pooling == HeadConfig::Pooling::kMean ? "mean" : "last";
}

LayerConfig layer_from_json(const nlohmann::json& value, const std::string& where) {
  JsonObject object(value, where);
  object.require({"kind"});
  LayerConfig layer;
  layer.kind = object.string("kind", "");
  layer.options = value;
  layer.options.erase("kind");
  return layer;
}

nlohmann::json layer_to_json(const LayerConfig& layer) {
  nlohmann::json json = layer.options;
  json["kind"] = layer.kind;
  return json;
}

ModelConfig ModelConfig::from_json(const nlohmann::json& value, const std::string& where) {
  JsonObject object(value, where);
  ModelConfig c;
  object.choice("format", "strandwave", {"strandwave"});
  object.integer("format_version", kFormatVersion, 1, kFormatVersion);
  object.require({"d_model", "stack", "layers", "vocab_size"});
  c.d_model = object.integer("d_model", c.d_model, 1, 65536);
  c.stack = object.string("stack", c.stack);
  c.layers = layers_from_json(object.value("layers"), where + ": layers");
  c.vocab_size = object.integer("vocab_size", c.vocab_size, 1, kMaxVocabulary);
  c.valid_vocab_size = object.integer("valid_vocab_size", 0, 0, c.vocab_size);
  c.norm_eps = object.number("norm_eps", c.norm_eps, 1e-30, 1.0);
  c.tie_embeddings = object.boolean("tie_embeddings", c.tie_embeddings);
  c.residual_in_fp32 = object.boolean("residual_in_fp32", c.residual_in_fp32);
  if (object.has("head")) c.head = head_from_json(object.value("head"), where + ": head");
  if (object.has("initializer"))
    c.initializer = initializer_from_json(object.value("initializer"), where + ": initializer");
  c.tokenizer = object.string("tokenizer", "");
  object.finish();
  c.validate(where);
  return c;
}

nlohmann::json ModelConfig::to_json() const {
  nlohmann::json layer_map = nlohmann::json::object();
  for (const auto& [character, layer] : layers)
    layer_map[std::string(1, character)] = layer_to_json(layer);
  return {{"format", "strandwave"},
          {"format_version", kFormatVersion},
          {"d_model", d_model},
          {"stack", stack},
          {"layers", layer_map},
          {"vocab_size", vocab_size},
          {"valid_vocab_size", valid_vocab_size},
          {"norm_eps", norm_eps},
          {"tie_embeddings", tie_embeddings},
          {"residual_in_fp32", residual_in_fp32},
          {"head", head_to_json(head)},
          {"initializer",
           {{"embedding_std", initializer.embedding_std},
            {"rescale_residual", initializer.rescale_residual}}},
          {"tokenizer", tokenizer}};
}

std::vector<LayerConfig> ModelConfig::layer_list() const {
  std::vector<LayerConfig> list;
  for (const char character : expand_layer_string(stack)) {
    const auto found = layers.find(character);
    if (found == layers.end())
      throw usage_error("layer string \"" + stack + "\": no layer is defined for \"" +
                        std::string(1, character) + "\"; add it to \"layers\"");
    list.push_back(found->second);
  }
  return list;
}

void ModelConfig::validate(const std::string& where) const {
  check_range(where, "d_model", d_model, 1, 65536);
  check_range(where, "vocab_size", vocab_size, 1, kMaxVocabulary);
  check_range(where, "valid_vocab_size", valid_vocab_size, 0, vocab_size);
  if (!(norm_eps > 0))
    throw usage_error(where + ": \"norm_eps\" must be positive, got " + std::to_string(norm_eps));
  check_head(head, tie_embeddings, where + ": head");
  if (layer_list().empty())
    throw usage_error(where + ": \"stack\" has no layers, got \"" + stack + "\"");
  for (const auto& [character, layer] : layers) check_layer(layer);
}

}  // namespace strandwave
