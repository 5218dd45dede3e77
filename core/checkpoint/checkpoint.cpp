#include "core/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/base/json_config.h"
#include "core/checkpoint/tensor_file.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "config.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kTraining = "training.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kCheckpoints = "checkpoints";
constexpr const char* kBest = "best";
constexpr const char* kStepPrefix = "step-";
constexpr int64_t kFormatVersion = 1;
constexpr uint64_t kMaxCompanion = uint64_t{64} << 20;

bool is_own_file(const std::string& name) {
  return name == kConfig || name == kModel || name == kTraining || name == kState;
}

// Names come from files: they must not lead elsewhere.
bool is_companion_name(const std::string& name) {
  const std::string letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  return !name.empty() && name.size() <= 100 && name[0] != '.' && name[0] != '-' &&
         name.find_first_not_of(letters) == std::string::npos && !is_own_file(name) &&
         !is_temporary_name(name);
}

void require_companion_name(const std::string& name) {
  if (!is_companion_name(name))
    throw usage_error("\"" + name + "\" cannot be the name of a file that goes with a model");
}

NamedTensors in_float32(const NamedTensors& tensors) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors)
    result.emplace_back(name, tensor.detach().to(torch::kFloat));
  return result;
}

// The file list of state.json, after checks of the form.
struct Manifest {
  std::map<std::string, std::string> hashes;
  nlohmann::json state;
};

Manifest read_manifest(const fs::path& directory) {
  require_directory(directory);
  const fs::path path = directory / kState;
  if (!fs::exists(path))
    throw input_error(directory.string() + " is no checkpoint: it has no " + kState);
  const nlohmann::json json = read_json_file(path);
  try {
    JsonObject object(json, path.string());
    object.require({"format_version", "files"});
    object.integer("format_version", 0, 1, kFormatVersion);
    Manifest manifest;
    const nlohmann::json& files = object.value("files");
    if (!files.is_object()) throw input_error(path.string() + ": \"files\" must be an object");
    for (const auto& [name, hash] : files.items()) {
      if (name != kConfig && name != kModel && name != kTraining && !is_companion_name(name))
        throw input_error(path.string() + ": unexpected file \"" + name + "\" in \"files\"");
      if (!hash.is_string())
        throw input_error(path.string() + ": the hash of " + name + " must be a text");
      manifest.hashes[name] = hash.get<std::string>();
    }
    for (const char* name : {kConfig, kModel})
      if (manifest.hashes.count(name) == 0)
        throw input_error(path.string() + ": \"files\" lacks " + name);
    manifest.state = object.value("state");
    object.finish();
    return manifest;
  } catch (const Error& error) {
    throw input_error(error.what());  // a damaged file, not a wrong command
  }
}

void write_manifest(const fs::path& directory, const Manifest& manifest) {
  const nlohmann::json state = {
      {"format_version", kFormatVersion}, {"files", manifest.hashes}, {"state", manifest.state}};
  write_file_atomically(directory / kState, state.dump(2) + "\n");
}

void verify_hash(const fs::path& directory, const std::string& name, const std::string& expected) {
  const fs::path path = directory / name;
  if (!fs::exists(path))
    throw input_error("checkpoint " + directory.string() + " is incomplete: " + name +
                      " is missing; take another checkpoint of the run, or copy this one again");
  const std::string actual = sha256_of_file(path);
  if (actual != expected)
    throw input_error("checkpoint " + directory.string() + " is damaged: " + name +
                      " is truncated or changed (sha256 " + actual + ", " + kState + " says " +
                      expected + "); take another checkpoint of the run, or copy this one again");
}

void verify_hashes(const fs::path& directory, const Manifest& manifest) {
  for (const auto& [name, expected] : manifest.hashes) verify_hash(directory, name, expected);
}

std::map<std::string, std::string> read_companions(const fs::path& directory,
                                                   const Manifest& manifest) {
  std::map<std::string, std::string> companions;
  for (const auto& [name, hash] : manifest.hashes)
    if (!is_own_file(name)) companions[name] = read_file(directory / name, kMaxCompanion);
  return companions;
}

// Of verified files; without what training needs.
Checkpoint read_content(const fs::path& directory, const Manifest& manifest) {
  Checkpoint checkpoint;
  checkpoint.config = read_json_file(directory / kConfig);
  if (!checkpoint.config.is_object())
    throw input_error((directory / kConfig).string() + ": expected an object");
  checkpoint.model = read_tensors(directory / kModel);
  checkpoint.state = manifest.state;
  checkpoint.companions = read_companions(directory, manifest);
  return checkpoint;
}

std::optional<int64_t> step_of(const fs::path& directory) {
  const std::string name = directory.filename().string();
  const std::string prefix = kStepPrefix;
  if (!name.starts_with(prefix)) return std::nullopt;
  const std::string digits = name.substr(prefix.size());
  if (digits.empty() || digits.size() > 18 ||
      digits.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoll(digits);
}

std::string join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

// Where the model's files lie: `path` itself, its best/, or its newest valid checkpoint.
fs::path resolve_model(const fs::path& path) {
  require_directory(path);
  if (fs::exists(path / kState) && fs::exists(path / kModel)) return path;
  if (fs::exists(path / kBest / kState)) return path / kBest;
  if (const auto latest = latest_valid(path)) return latest->directory;
  if (!fs::exists(path / kConfig))
    throw input_error(path.string() + " holds no model: it has neither " + kConfig + " with " +
                      kModel + " nor " + kBest + "/ nor " + kCheckpoints + "/");
  const nlohmann::json config = read_json_file(path / kConfig);
  if (config.is_object() && (config.contains("model_type") || config.contains("ssm_cfg")))
    throw input_error(
        path.string() +
        " holds a model of another program; convert it first: strandwave model import " +
        path.string() + " -o DIRECTORY");
  throw input_error(path.string() + " holds no complete model: " +
                    (fs::exists(path / kModel) ? kState : kModel) + " is missing");
}

}  // namespace

void save_checkpoint(const fs::path& directory, const Checkpoint& checkpoint) {
  AtomicDirectory made(directory);
  write_file_atomically(made.path() / kConfig, checkpoint.config.dump(2) + "\n");
  write_tensors(made.path() / kModel, checkpoint.model, {{"format", "pt"}});
  std::vector<std::string> files = {kConfig, kModel};
  if (!checkpoint.training.empty()) {
    write_tensors(made.path() / kTraining, checkpoint.training, {{"format", "pt"}});
    files.emplace_back(kTraining);
  }
  for (const auto& [name, bytes] : checkpoint.companions) {
    require_companion_name(name);
    write_file_atomically(made.path() / name, bytes);
    files.push_back(name);
  }
  Manifest manifest{{}, checkpoint.state};
  for (const std::string& file : files) manifest.hashes[file] = sha256_of_file(made.path() / file);
  write_manifest(made.path(), manifest);
  made.commit(/*replace=*/true);
}

void add_companion(const fs::path& model_directory, const std::string& name,
                   const std::string& bytes) {
  require_companion_name(name);
  Manifest manifest = read_manifest(model_directory);
  // While the file changes, state.json does not name it.
  if (manifest.hashes.erase(name) != 0) write_manifest(model_directory, manifest);
  write_file_atomically(model_directory / name, bytes);
  manifest.hashes[name] = sha256_hex(bytes);
  write_manifest(model_directory, manifest);
}

std::optional<std::string> read_companion(const fs::path& run_or_model, const std::string& name) {
  require_companion_name(name);
  const fs::path directory = resolve_model(run_or_model);
  const Manifest manifest = read_manifest(directory);
  const auto entry = manifest.hashes.find(name);
  if (entry == manifest.hashes.end()) return std::nullopt;
  verify_hash(directory, name, entry->second);
  return read_file(directory / name, kMaxCompanion);
}

void verify_checkpoint(const fs::path& directory) {
  verify_hashes(directory, read_manifest(directory));
}

Checkpoint load_checkpoint(const fs::path& directory) {
  const Manifest manifest = read_manifest(directory);
  verify_hashes(directory, manifest);
  Checkpoint checkpoint = read_content(directory, manifest);
  if (manifest.hashes.count(kTraining) != 0)
    checkpoint.training = read_tensors(directory / kTraining);
  return checkpoint;
}

std::string model_kind(const nlohmann::json& config) {
  const auto kind = config.find("kind");
  return kind != config.end() && kind->is_string() ? kind->get<std::string>() : "sequence";
}

fs::path checkpoint_path(const fs::path& run_directory, int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%09lld", kStepPrefix, static_cast<long long>(step));
  return run_directory / kCheckpoints / name;
}

std::vector<int64_t> checkpoint_steps(const fs::path& run_directory) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_directory / kCheckpoints, error))
    if (const auto step = step_of(entry.path()); step && entry.is_directory())
      steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

void prune_checkpoints(const fs::path& run_directory, int64_t keep) {
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(run_directory / kCheckpoints, error))
    if (is_temporary_name(entry.path())) leftovers.push_back(entry.path());
  for (const fs::path& path : leftovers) fs::remove_all(path, error);
  const std::vector<int64_t> steps = checkpoint_steps(run_directory);
  const auto count = static_cast<int64_t>(steps.size());
  for (int64_t i = 0; i + keep < count; ++i)
    fs::remove_all(checkpoint_path(run_directory, steps[static_cast<size_t>(i)]), error);
}

std::optional<ValidCheckpoint> latest_valid(const fs::path& run_directory) {
  std::vector<int64_t> steps = checkpoint_steps(run_directory);
  ValidCheckpoint found;
  for (; !steps.empty(); steps.pop_back()) {
    found.step = steps.back();
    found.directory = checkpoint_path(run_directory, found.step);
    try {
      verify_checkpoint(found.directory);
      return found;
    } catch (const Error& error) {
      found.skipped.emplace_back(error.what());
    }
  }
  if (found.skipped.empty()) return std::nullopt;
  throw input_error("no checkpoint of " + run_directory.string() +
                    " is whole:" + join(found.skipped));
}

void save_model(const fs::path& directory, const SequenceModel& model, const nlohmann::json& state,
                torch::ScalarType lowered, const std::map<std::string, std::string>& companions) {
  NamedTensors tensors = in_float32(model.named_tensors());
  for (auto& [name, tensor] : tensors)
    if (SequenceModel::lowered(name, tensor)) tensor = tensor.to(lowered);
  save_checkpoint(directory, {model.config().to_json(), tensors, {}, state, companions});
}

ModelFiles read_model(const fs::path& path) {
  ModelFiles files;
  files.directory = resolve_model(path);
  const Manifest manifest = read_manifest(files.directory);
  verify_hashes(files.directory, manifest);
  files.hash = manifest.hashes.at(kModel);
  files.content = read_content(files.directory, manifest);
  return files;
}

void require_kind(const ModelFiles& files, const std::string& kind) {
  const std::string actual = model_kind(files.content.config);
  if (actual != kind)
    throw input_error(files.directory.string() + " holds a model of kind \"" + actual +
                      "\", this command needs one of kind \"" + kind +
                      "\" (strandwave model info shows what a folder holds)");
}

LoadedModel load_model_with_state(const fs::path& path) {
  ModelFiles files = read_model(path);
  require_kind(files, "sequence");
  LoadedModel loaded;
  loaded.model = std::make_shared<SequenceModel>(
      ModelConfig::from_json(files.content.config, (files.directory / kConfig).string()),
      /*seed=*/0);
  loaded.model->load_tensors(files.content.model, (files.directory / kModel).string());
  loaded.state = std::move(files.content.state);
  loaded.directory = files.directory;
  loaded.hash = files.hash;
  loaded.companions = std::move(files.content.companions);
  return loaded;
}

std::shared_ptr<SequenceModel> load_model(const fs::path& path) {
  return load_model_with_state(path).model;
}

}  // namespace strandwave
