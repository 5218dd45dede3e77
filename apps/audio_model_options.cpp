#include "apps/audio_model_options.h"

#include <algorithm>

#include "apps/options.h"
#include "core/base/error.h"
#include "core/base/json_config.h"

namespace strandwave::apps {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// values[stage], one value standing for all stages.
template <class Value>
const Value& of_stage(const std::vector<Value>& values, size_t stage, size_t stages,
                      const char* option) {
  if (values.size() == 1) return values.front();
  if (values.size() == stages) return values[stage];
  throw usage_error(
      std::string(option) + " has " + std::to_string(values.size()) + " values; the model has " +
      std::to_string(stages) +
      " stages (one more than --pool has numbers): give one value for all or one each");
}

}  // namespace

void add_audio_model_options(CLI::App& command, AudioModelOptions& options) {
  std::vector<CLI::Option*> shape;
  CLI::Option* config =
      command.add_option("--model-config", options.config,
                         "A config.json that describes the model instead (docs/formats.md)");
  shape.push_back(config);
  shape.push_back(command
                      .add_option("--preset", options.preset,
                                  "Model to begin with: " + joined(audio::sashimi_preset_names()))
                      ->check(CLI::IsMember(audio::sashimi_preset_names()))
                      ->capture_default_str());
  shape.push_back(
      command
          .add_option("--d-model", options.d_model, "Width at the sampling rate; 0: the preset's")
          ->check(number_between(0, 65536))
          ->capture_default_str());
  shape.push_back(command
                      .add_option("--pool", options.pool,
                                  "Samples that become one frame, from the outside in, e.g. 4,4")
                      ->allow_extra_args(false)
                      ->delimiter(',')
                      ->check(number_between(2, 4096)));
  shape.push_back(command
                      .add_option("--layers", options.layers,
                                  "Layers of the stages from the outside in, e.g. 1,2,2, or one "
                                  "number for all")
                      ->allow_extra_args(false)
                      ->delimiter(',')
                      ->check(number_between(1, 1024)));
  shape.push_back(command
                      .add_option("--stages", options.stages,
                                  "What layers are made of, one for all or one per stage: " +
                                      joined(audio::stage_block_names()))
                      ->allow_extra_args(false)
                      ->delimiter(','));
  for (size_t i = 1; i < shape.size(); ++i) config->excludes(shape[i]);
  if (CLI::Option* start = command.get_option_no_throw("--model"))
    for (CLI::Option* option : shape) start->excludes(option);
}

audio::SashimiConfig audio_model_config(const AudioModelOptions& options) {
  if (!options.config.empty())
    return audio::SashimiConfig::from_json(read_json_file(options.config), options.config);
  audio::SashimiConfig config = audio::sashimi_preset(options.preset);
  if (options.d_model > 0) config.d_model = options.d_model;
  if (!options.pool.empty()) config.pool = options.pool;
  const audio::StageConfig preset = config.stages.front();
  const size_t stages = config.pool.size() + 1;
  config.stages.resize(stages, preset);
  for (size_t i = 0; i < stages; ++i) {
    if (!options.layers.empty())
      config.stages[i].layers = of_stage(options.layers, i, stages, "--layers");
    if (!options.stages.empty())
      config.stages[i].blocks =
          audio::stage_blocks(of_stage(options.stages, i, stages, "--stages"));
  }
  config.validate("the model options");
  return config;
}

int64_t class_number(const std::vector<std::string>& classes, const std::string& name) {
  if (classes.empty())
    throw usage_error("--class " + name + ": this model was trained without classes");
  if (name == "none") return -1;
  const auto found = std::find(classes.begin(), classes.end(), name);
  if (found == classes.end())
    throw usage_error("--class " + name + ": the model's classes are " + joined(classes) +
                      ", and none for the null class");
  return found - classes.begin();
}

}  // namespace strandwave::apps
