#include "audio/models/sashimi_config.h"

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "core/layers/registry.h"
#include "core/models/model_config.h"

namespace strandwave::audio {
namespace {

constexpr int64_t kFormatVersion = 1;
constexpr int64_t kMaxPool = 1024, kMaxLayers = 1024, kMaxWidth = 65536;
constexpr int64_t kMaxVocabulary = 65536;

std::string to_string(SashimiConfig::Skips skips) {
  return skips == SashimiConfig::Skips::kPools ? "pools" : "layers";
}

std::string to_string(NormKind norm) { return norm == NormKind::kScalar ? "scalar" : "layer"; }

void check_range(const std::string& where, const std::string& key, int64_t value, int64_t minimum,
                 int64_t maximum) {
  if (value < minimum || value > maximum)
    throw usage_error(where + ": \"" + key + "\" must be from " + std::to_string(minimum) + " to " +
                      std::to_string(maximum) + ", got " + std::to_string(value));
}

std::vector<int64_t> pool_from_json(const nlohmann::json& value, const std::string& where) {
  if (!value.is_array())
    throw usage_error(where + ": \"pool\" must be a list of numbers such as [4, 4], got " +
                      value.dump());
  std::vector<int64_t> pool;
  for (const nlohmann::json& item : value) {
    if (!item.is_number_integer())
      throw usage_error(where + ": \"pool\" must hold whole numbers, got " + item.dump());
    pool.push_back(item.get<int64_t>());
  }
  return pool;
}

StageConfig stage_from_json(const nlohmann::json& value, const std::string& where) {
  JsonObject object(value, where);
  object.require({"layers", "blocks"});
  StageConfig stage;
  stage.layers = object.integer("layers", stage.layers, 0, kMaxLayers);
  const nlohmann::json& blocks = object.value("blocks");
  if (!blocks.is_array())
    throw usage_error(where + ": \"blocks\" must be a list [{\"kind\": ...}, ...], got " +
                      blocks.dump());
  for (const nlohmann::json& block : blocks)
    stage.blocks.push_back(
        layer_from_json(block, where + ": blocks[" + std::to_string(stage.blocks.size()) + "]"));
  object.finish();
  return stage;
}

std::vector<StageConfig> stages_from_json(const nlohmann::json& value, const std::string& where) {
  if (!value.is_array())
    throw usage_error(where + ": \"stages\" must be a list, got " + value.dump());
  std::vector<StageConfig> stages;
  for (const nlohmann::json& stage : value)
    stages.push_back(
        stage_from_json(stage, where + ": stages[" + std::to_string(stages.size()) + "]"));
  return stages;
}

nlohmann::json to_json(const StageConfig& stage) {
  nlohmann::json blocks = nlohmann::json::array();
  for (const LayerConfig& block : stage.blocks) blocks.push_back(layer_to_json(block));
  return {{"layers", stage.layers}, {"blocks", blocks}};
}

}  // namespace

SashimiConfig SashimiConfig::from_json(const nlohmann::json& value, const std::string& where) {
  JsonObject object(value, where);
  object.require({"kind", "d_model", "pool", "stages"});
  object.choice("format", "strandwave", {"strandwave"});
  object.integer("format_version", kFormatVersion, 1, kFormatVersion);
  object.choice("kind", "sashimi", {"sashimi"});
  SashimiConfig c;
  c.d_model = object.integer("d_model", c.d_model, 1, kMaxWidth);
  c.pool = pool_from_json(object.value("pool"), where);
  c.expand = object.integer("expand", c.expand, 1, 64);
  c.stages = stages_from_json(object.value("stages"), where);
  if (object.choice("skips", "layers", {"layers", "pools"}) == "pools") c.skips = Skips::kPools;
  if (object.choice("norm", "layer", {"layer", "scalar"}) == "scalar") c.norm = NormKind::kScalar;
  c.weight_norm = object.boolean("weight_norm", c.weight_norm);
  c.vocab_size = object.integer("vocab_size", c.vocab_size, 2, kMaxVocabulary);
  c.classes = object.strings("classes");
  c.embedding_std = object.number("embedding_std", c.embedding_std, 1e-6, 1e3);
  if (object.has("audio")) c.audio = object.value("audio");
  object.finish();
  c.validate(where);
  return c;
}

nlohmann::json SashimiConfig::to_json() const {
  nlohmann::json all = nlohmann::json::array();
  for (const StageConfig& stage : stages) all.push_back(audio::to_json(stage));
  return {{"format", "strandwave"},
          {"format_version", kFormatVersion},
          {"kind", "sashimi"},
          {"d_model", d_model},
          {"pool", pool},
          {"expand", expand},
          {"stages", all},
          {"skips", to_string(skips)},
          {"norm", to_string(norm)},
          {"weight_norm", weight_norm},
          {"vocab_size", vocab_size},
          {"classes", classes},
          {"embedding_std", embedding_std},
          {"audio", audio}};
}

void SashimiConfig::validate(const std::string& where) const {
  check_range(where, "d_model", d_model, 1, kMaxWidth);
  check_range(where, "expand", expand, 1, 64);
  check_range(where, "vocab_size", vocab_size, 2, kMaxVocabulary);
  if (pool.size() > 8)
    throw usage_error(where + ": \"pool\" must have at most 8 levels, got " +
                      std::to_string(pool.size()));
  for (const int64_t factor : pool) check_range(where, "pool", factor, 1, kMaxPool);
  if (stages.size() != pool.size() + 1)
    throw usage_error(where + ": \"stages\" must have one entry more than \"pool\": " +
                      std::to_string(pool.size() + 1) + ", got " + std::to_string(stages.size()));
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string name = where + ": stages[" + std::to_string(i) + "]";
    check_range(name, "width", width(static_cast<int64_t>(i)), 1, kMaxWidth);
    check_range(name, "layers", stages[i].layers, 0, kMaxLayers);
    if (stages[i].layers > 0 && stages[i].blocks.empty())
      throw usage_error(name + ": \"blocks\" is empty, so a layer would do nothing");
    for (const LayerConfig& block : stages[i].blocks) check_layer(block);
  }
  if (!audio.is_object())
    throw usage_error(where + ": \"audio\" must be an object, got " + audio.dump());
}

void SashimiConfig::set_clip_length(int64_t samples) {
  int64_t frames = samples;
  for (size_t i = 0; i < stages.size(); ++i) {
    for (LayerConfig& block : stages[i].blocks)
      if (block.kind == "s4") block.options["l_kernel"] = frames;
    if (i < pool.size()) frames = (frames + pool[i] - 1) / pool[i];
  }
}

int64_t SashimiConfig::pooling() const {
  int64_t product = 1;
  for (const int64_t factor : pool) product *= factor;
  return product;
}

int64_t SashimiConfig::width(int64_t stage) const {
  int64_t width = d_model;
  for (int64_t i = 0; i < stage && width <= kMaxWidth; ++i) width *= expand;
  return width;
}

}  // namespace strandwave::audio
