#include "core/checkpoint/hugging_face.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/json_config.h"
#include "core/checkpoint/tensor_file.h"
#include "core/layers/mamba.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxExtent = 65536;
constexpr int64_t kMaxLayers = 10'000;
constexpr int64_t kMaxVocabulary = int64_t{1} << 31;

// A key of another program's configuration whose other values we cannot compute.
void require_value(const nlohmann::json& config, const std::string& where, const char* key,
                   const nlohmann::json& only) {
  if (config.contains(key) && config[key] != only)
    throw input_error(where + ": \"" + key + "\" is " + config[key].dump().substr(0, 60) +
                      "; only " + only.dump() + " is supported");
}

// dt_rank is a number or "auto".
int64_t rank_of(JsonObject& object, const char* key, int64_t d_model) {
  const nlohmann::json& value = object.value(key);
  if (value.is_null() || value == "auto") return (d_model + 15) / 16;
  return object.integer(key, 0, 1, kMaxExtent);
}

void set_layers(ModelConfig& config, const MambaConfig& mamba, int64_t n_layers) {
  config.stack = "M{" + std::to_string(n_layers) + "}";
  config.layers = {{'M', LayerConfig{"mamba", mamba.to_json()}}};
}

ModelConfig config_from_hugging_face(const nlohmann::json& json, const std::string& where) {
  require_value(json, where, "model_type", "mamba");
  require_value(json, where, "hidden_act", "silu");
  JsonObject object(json, where);
  object.require({"hidden_size", "num_hidden_layers", "vocab_size"});
  ModelConfig config;
  config.d_model = object.integer("hidden_size", 0, 1, kMaxExtent);
  config.vocab_size = object.integer("vocab_size", 0, 1, kMaxVocabulary);
  config.valid_vocab_size = object.integer("valid_vocab_size", 0, 0, config.vocab_size);
  config.norm_eps = object.number("layer_norm_epsilon", 1e-5, 1e-30, 1.0);
  config.residual_in_fp32 = object.boolean("residual_in_fp32", true);
  config.tie_embeddings = object.boolean("tie_word_embeddings", true);
  MambaConfig mamba;
  mamba.d_state = object.integer("state_size", 16, 1, 256);
  mamba.d_conv = object.integer("conv_kernel", 4, 2, 4);
  mamba.expand = object.integer("expand", 2, 1, 64);
  mamba.dt_rank = rank_of(object, "time_step_rank", config.d_model);
  mamba.bias = object.boolean("use_bias", false);
  mamba.conv_bias = object.boolean("use_conv_bias", true);
  require_value(json, where, "intermediate_size", mamba.expand * config.d_model);
  set_layers(config, mamba, object.integer("num_hidden_layers", 0, 1, kMaxLayers));
  return config;
}

ModelConfig config_from_state_spaces(const nlohmann::json& json, const std::string& where) {
  JsonObject object(json, where);
  object.require({"d_model", "n_layer", "vocab_size"});
  require_value(json, where, "rms_norm", true);
  require_value(json, where, "d_intermediate", 0);
  require_value(json, where, "attn_layer_idx", nlohmann::json::array());
  ModelConfig config;
  config.d_model = object.integer("d_model", 0, 1, kMaxExtent);
  config.valid_vocab_size = object.integer("vocab_size", 0, 1, kMaxVocabulary);
  const int64_t multiple = object.integer("pad_vocab_size_multiple", 8, 1, 65536);
  config.vocab_size = (config.valid_vocab_size + multiple - 1) / multiple * multiple;
  config.residual_in_fp32 = object.boolean("residual_in_fp32", true);
  config.tie_embeddings = object.boolean("tie_embeddings", true);
  const nlohmann::json ssm = json.value("ssm_cfg", nlohmann::json::object());
  JsonObject layer(ssm, where + ": ssm_cfg");
  MambaConfig mamba;
  layer.choice("layer", "Mamba1", {"Mamba1"});
  mamba.d_state = layer.integer("d_state", 16, 1, 256);
  mamba.d_conv = layer.integer("d_conv", 4, 2, 4);
  mamba.expand = layer.integer("expand", 2, 1, 64);
  mamba.dt_rank = rank_of(layer, "dt_rank", config.d_model);
  mamba.bias = layer.boolean("bias", false);
  mamba.conv_bias = layer.boolean("conv_bias", true);
  // Of initialisation and implementation only.
  for (const char* key :
       {"dt_min", "dt_max", "dt_init", "dt_scale", "dt_init_floor", "use_fast_path"})
    layer.value(key);
  layer.finish();
  set_layers(config, mamba, object.integer("n_layer", 0, 1, kMaxLayers));
  return config;
}

ModelConfig read_config(const fs::path& directory) {
  const fs::path path = directory / "config.json";
  const std::string where = path.string();
  const nlohmann::json json = read_json_file(path);
  try {
    if (json.is_object() && json.contains("model_type"))
      return config_from_hugging_face(json, where);
    if (json.is_object() && json.contains("d_model") && json.contains("n_layer"))
      return config_from_state_spaces(json, where);
  } catch (const Error& error) {
    throw input_error(error.what());
  }
  throw input_error(where +
                    ": neither a Hugging Face configuration (\"model_type\") nor one of "
                    "state-spaces/mamba (\"d_model\", \"n_layer\")");
}

NamedTensors read_indexed(const fs::path& directory, const fs::path& index) {
  const std::string where = index.string();
  const nlohmann::json json = read_json_file(index);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    throw input_error(where + ": \"weight_map\" must be an object");
  std::map<std::string, std::set<std::string>> tensors_of_file;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name == ".." || name.find('/') != std::string::npos)
      throw input_error(where + ": \"" + tensor + "\" must name a file in this directory, got " +
                        file.dump().substr(0, 80));
    tensors_of_file[name].insert(tensor);
  }
  NamedTensors tensors;
  for (const auto& [name, wanted] : tensors_of_file) {
    const SafetensorsFile file(directory / name);
    for (const std::string& tensor : wanted)
      tensors.emplace_back(tensor, to_tensor(file.entry(tensor)));
  }
  return tensors;
}

NamedTensors read_weights(const fs::path& directory) {
  const fs::path whole = directory / "model.safetensors";
  if (fs::exists(whole)) return read_tensors(whole);
  const fs::path index = directory / "model.safetensors.index.json";
  if (fs::exists(index)) return read_indexed(directory, index);
  if (fs::exists(directory / "pytorch_model.bin"))
    throw input_error(
        directory.string() +
        " has its tensors only in pytorch_model.bin, which can run code when it is opened; convert "
        "it with Python (safetensors.torch.save_file of torch.load(..., weights_only=True)) or "
        "take the model's \"-hf\" edition");
  throw input_error(directory.string() + " has neither " + whole.filename().string() + " nor " +
                    index.filename().string());
}

std::string our_name(std::string name, bool bare) {
  if (bare && name != "lm_head.weight") name = "backbone." + name;
  const std::string theirs = "backbone.embeddings.";
  if (name.starts_with(theirs)) name = "backbone.embedding." + name.substr(theirs.size());
  return name;
}

// Names of ours, float32.
NamedTensors translated(NamedTensors tensors, const fs::path& directory) {
  const bool bare = std::none_of(tensors.begin(), tensors.end(), [](const auto& tensor) {
    return tensor.first.starts_with("backbone.");
  });
  for (auto& [name, tensor] : tensors) {
    if (!tensor.is_floating_point())
      throw input_error(directory.string() + ": tensor \"" + name + "\" has type " +
                        c10::toString(tensor.scalar_type()) + ", expected a float type");
    name = our_name(name, bare);
    tensor = tensor.to(torch::kFloat);
  }
  return tensors;
}

// Takes the head out when it is the embedding; returns whether it is.
bool drop_tied_head(NamedTensors& tensors, bool tied) {
  const auto find = [&](const char* name) {
    return std::find_if(tensors.begin(), tensors.end(),
                        [&](const auto& tensor) { return tensor.first == name; });
  };
  const auto head = find("lm_head.weight");
  if (head == tensors.end()) return true;
  const auto embedding = find("backbone.embedding.weight");
  const bool same = embedding != tensors.end() && torch::equal(head->second, embedding->second);
  if (!tied && !same) return false;
  tensors.erase(head);
  return true;
}

// Before anything of the configured size is allocated.
void check_embedding(const ModelConfig& config, const NamedTensors& tensors,
                     const fs::path& directory) {
  for (const auto& [name, tensor] : tensors)
    if (name == "backbone.embedding.weight" &&
        tensor.sizes() != at::IntArrayRef({config.vocab_size, config.d_model}))
      throw input_error(
          directory.string() + ": the embedding has shape (" + std::to_string(tensor.size(0)) +
          ", " + std::to_string(tensor.dim() > 1 ? tensor.size(1) : 0) + "), config.json needs (" +
          std::to_string(config.vocab_size) + ", " + std::to_string(config.d_model) + ")");
}

// The one configuration of all layers.
MambaConfig common_layer(const ModelConfig& config) {
  const std::vector<LayerConfig> layers = config.layer_list();
  std::optional<nlohmann::json> common;
  for (const LayerConfig& layer : layers) {
    if (layer.kind != "mamba")
      throw usage_error("MambaForCausalLM has only mamba layers; this model has \"" + layer.kind +
                        "\"");
    const MambaConfig mamba = MambaConfig::from_json(layer.options);
    if (mamba.complex)
      throw usage_error("MambaForCausalLM has real states only; this model has complex ones");
    const nlohmann::json json = mamba.to_json();
    if (common && *common != json)
      throw usage_error("MambaForCausalLM has equal layers; this model's layers differ");
    common = json;
  }
  return MambaConfig::from_json(*common);
}

nlohmann::json hugging_face_config(const ModelConfig& config) {
  const MambaConfig mamba = common_layer(config);
  nlohmann::json json = {
      {"architectures", {"MambaForCausalLM"}},
      {"model_type", "mamba"},
      {"hidden_act", "silu"},
      {"hidden_size", config.d_model},
      {"intermediate_size", mamba.expand * config.d_model},
      {"num_hidden_layers", config.layer_list().size()},
      {"vocab_size", config.vocab_size},
      {"state_size", mamba.d_state},
      {"conv_kernel", mamba.d_conv},
      {"expand", mamba.expand},
      {"time_step_rank", mamba.dt_rank > 0 ? mamba.dt_rank : (config.d_model + 15) / 16},
      {"time_step_min", mamba.dt_min},
      {"time_step_max", mamba.dt_max},
      {"time_step_floor", mamba.dt_init_floor},
      {"use_bias", mamba.bias},
      {"use_conv_bias", mamba.conv_bias},
      {"layer_norm_epsilon", config.norm_eps},
      {"residual_in_fp32", config.residual_in_fp32},
      {"tie_word_embeddings", config.tie_embeddings},
      {"dtype", "float32"}};
  // A key of ours, which transformers keeps and ignores: rows from here on only pad the vocabulary.
  if (config.valid_vocab_size > 0) json["valid_vocab_size"] = config.valid_vocab_size;
  return json;
}

}  // namespace

std::shared_ptr<SequenceModel> import_model(const fs::path& directory) {
  require_directory(directory);
  ModelConfig config = read_config(directory);
  NamedTensors tensors = translated(read_weights(directory), directory);
  config.tie_embeddings = drop_tied_head(tensors, config.tie_embeddings);
  check_embedding(config, tensors, directory);
  auto model = std::make_shared<SequenceModel>(std::move(config), /*seed=*/0);
  model->load_tensors(tensors, directory.string());
  return model;
}

void export_hugging_face(const fs::path& directory, const SequenceModel& model, bool replace) {
  if (model.config().head.kind != HeadConfig::Kind::kLanguageModel)
    throw usage_error("MambaForCausalLM is a language model; this model has a " +
                      to_string(model.config().head.kind) + " head");
  const nlohmann::json config = hugging_face_config(model.config());
  NamedTensors tensors;
  for (const auto& [name, tensor] : model.named_tensors())
    tensors.emplace_back(name == "backbone.embedding.weight" ? "backbone.embeddings.weight" : name,
                         tensor.detach().to(torch::kFloat));
  AtomicDirectory made(directory);
  write_file_atomically(made.path() / "config.json", config.dump(2) + "\n");
  write_tensors(made.path() / "model.safetensors", tensors, {{"format", "pt"}});
  made.commit(replace);
}

}  // namespace strandwave
