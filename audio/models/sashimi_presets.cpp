#include <functional>
#include <map>

#include "audio/models/sashimi_config.h"
#include "core/base/error.h"
#include "core/base/spelling.h"

namespace strandwave::audio {
namespace {

constexpr int64_t kLayers = 8;

template <typename Value>
std::vector<std::string> names_of(const std::map<std::string, Value>& table) {
  std::vector<std::string> names;
  for (const auto& [name, value] : table) names.push_back(name);
  return names;
}

template <typename Value>
const Value& find(const std::map<std::string, Value>& table, const std::string& name,
                  const std::string& what) {
  const auto found = table.find(name);
  if (found != table.end()) return found->second;
  const std::string near = nearest_word(name, names_of(table));
  std::string known;
  for (const auto& [other, value] : table) known += (known.empty() ? "" : ", ") + other;
  throw usage_error("unknown " + what + " \"" + name + "\"" +
                    (near.empty() ? "" : "; did you mean \"" + near + "\"?") + " (known: " + known +
                    ")");
}

LayerConfig feed_forward(int64_t hidden_factor) {
  return {"mlp", {{"activation", "gelu"}, {"hidden_factor", hidden_factor}, {"bias", true}}};
}

const std::map<std::string, std::vector<LayerConfig>>& blocks_by_name() {
  static const std::map<std::string, std::vector<LayerConfig>> kBlocks = {
      {"s4+ff", {{"s4", {{"d_state", 64}}}, feed_forward(2)}},
      {"s4d+ff", {{"s4d", {{"d_state", 64}}}, feed_forward(2)}},
      {"mamba", {{"mamba", {{"d_state", 16}}}}},
      {"mamba-complex", {{"mamba", {{"d_state", 16}, {"complex", true}}}}},
      {"mamba-lti", {{"mamba_lti", {{"d_state", 16}}}}},
      {"mha+mlp", {{"attention", {{"heads", 4}}}, feed_forward(1)}},
  };
  return kBlocks;
}

SashimiConfig with_blocks(const std::string& name) {
  SashimiConfig config;
  config.stages.assign(config.pool.size() + 1, {kLayers, stage_blocks(name)});
  return config;
}

// One A and B for all channels (1), or one per channel (0).
SashimiConfig state_spaces(int64_t n_ssm) {
  SashimiConfig config = with_blocks("s4+ff");
  for (StageConfig& stage : config.stages) stage.blocks[0].options["n_ssm"] = n_ssm;
  return config;
}

const std::map<std::string, std::function<SashimiConfig()>>& presets() {
  static const std::map<std::string, std::function<SashimiConfig()>> kPresets = {
      {"sashimi",
       [] {
         SashimiConfig config = state_spaces(1);
         config.skips = SashimiConfig::Skips::kPools;
         config.norm = NormKind::kScalar;
         config.weight_norm = true;
         return config;
       }},
      {"unet",
       [] {
         SashimiConfig config = state_spaces(0);
         config.norm = NormKind::kScalar;
         return config;
       }},
      {"standalone",
       [] {
         SashimiConfig config = state_spaces(0);
         config.skips = SashimiConfig::Skips::kPools;
         return config;
       }},
      {"standalone-unet", [] { return state_spaces(0); }},
      {"mamba", [] { return with_blocks("mamba"); }},
  };
  return kPresets;
}

}  // namespace

std::vector<LayerConfig> stage_blocks(const std::string& name) {
  return find(blocks_by_name(), name, "kind of stage");
}

std::vector<std::string> stage_block_names() { return names_of(blocks_by_name()); }

SashimiConfig sashimi_preset(const std::string& name) {
  return find(presets(), name, "audio model")();
}

std::vector<std::string> sashimi_preset_names() { return names_of(presets()); }

}  // namespace strandwave::audio
