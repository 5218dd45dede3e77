#include "core/layers/registry.h"

#include <map>

#include "core/base/error.h"
#include "core/base/spelling.h"
#include "core/layers/attention.h"
#include "core/layers/mamba.h"
#include "core/layers/mamba_lti.h"
#include "core/layers/mlp.h"
#include "core/layers/s4_block.h"

namespace strandwave {
namespace {

struct Kind {
  std::shared_ptr<Mixer> (*make)(const nlohmann::json& options, int64_t d_model,
                                 int64_t layer_index, uint64_t seed);
  void (*check)(const nlohmann::json& options);
};

template <typename Layer, typename Config>
constexpr Kind kind() {
  return {[](const nlohmann::json& options, int64_t d_model, int64_t layer_index,
             uint64_t seed) -> std::shared_ptr<Mixer> {
            return std::make_shared<Layer>(Config::from_json(options), d_model, layer_index, seed);
          },
          [](const nlohmann::json& options) { Config::from_json(options); }};
}

const std::map<std::string, Kind>& kinds() {
  static const std::map<std::string, Kind> kKinds = {
      {"attention", kind<Attention, AttentionConfig>()},
      {"mamba", kind<Mamba, MambaConfig>()},
      {"mamba_lti", kind<MambaLti, MambaLtiConfig>()},
      {"mlp", kind<Mlp, MlpConfig>()},
      {"s4", kind<S4Block, S4Config>()},
      {"s4d", kind<S4Block, S4DConfig>()},
  };
  return kKinds;
}

const Kind& find_kind(const std::string& name) {
  const auto found = kinds().find(name);
  if (found != kinds().end()) return found->second;
  const std::string near = nearest_word(name, mixer_kinds());
  std::string known;
  for (const std::string& other : mixer_kinds()) known += (known.empty() ? "" : ", ") + other;
  throw usage_error("unknown layer kind \"" + name + "\"" +
                    (near.empty() ? "" : "; did you mean \"" + near + "\"?") + " (known: " + known +
                    ")");
}

}  // namespace

std::shared_ptr<Mixer> make_mixer(const LayerConfig& config, int64_t d_model, int64_t layer_index,
                                  uint64_t seed) {
  return find_kind(config.kind).make(config.options, d_model, layer_index, seed);
}

void check_layer(const LayerConfig& config) { find_kind(config.kind).check(config.options); }

std::vector<std::string> mixer_kinds() {
  std::vector<std::string> names;
  for (const auto& [name, made] : kinds()) names.push_back(name);
  return names;
}

}  // namespace strandwave
