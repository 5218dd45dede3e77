// Checkpoints and model directories.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"

namespace strandwave {

// A checkpoint is a directory:
//   config.json            the model: "kind" says what else it holds (none: ModelConfig)
//   model.safetensors      its parameters, float32
//   training.safetensors   what else training needs ("<name>.exp_avg", ...); not in models
//   state.json             {"format_version": 1, "files": {name: sha256}, "state": the caller's}
//   companions             small files that belong to the model (where its data came from, its
//                          calibration): listed in state.json like the others, copied with it
// It is written under a temporary name, synced and renamed: what has the final name is whole.
//
// A run directory holds
//   checkpoints/step-000012000/   checkpoints, one per saved step
//   best/                         a model directory, the best by the run's measure (optional)
struct Checkpoint {
  nlohmann::json config = nlohmann::json::object();
  NamedTensors model;
  NamedTensors training;  // empty: no training.safetensors
  nlohmann::json state = nlohmann::json::object();
  std::map<std::string, std::string> companions;  // name -> bytes
};

// Replaces an existing checkpoint of that name. Throws Error(kRuntime) when writing fails (disk
// full ...); nothing is then left under the final name, and an existing one stays.
void save_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint);

// Verifies all hashes, then reads (tensors on the CPU). Throws Error(kInput) naming what is
// missing, truncated or changed.
Checkpoint load_checkpoint(const std::filesystem::path& directory);
// Its kind of model: "kind" of config.json, "sequence" where there is none.
std::string model_kind(const nlohmann::json& config);
// Only the verification.
void verify_checkpoint(const std::filesystem::path& directory);

// <run>/checkpoints/step-000012000
std::filesystem::path checkpoint_path(const std::filesystem::path& run_directory, int64_t step);
// Steps with a checkpoint, ascending (not verified).
std::vector<int64_t> checkpoint_steps(const std::filesystem::path& run_directory);
// Removes all but the newest `keep` and what crashes left behind.
void prune_checkpoints(const std::filesystem::path& run_directory, int64_t keep);

struct ValidCheckpoint {
  std::filesystem::path directory;
  int64_t step = 0;
  std::vector<std::string> skipped;  // why newer ones were passed over, one message each
};
// The newest checkpoint whose files verify; nothing when the run has none. Throws Error(kInput)
// with all reasons when there are some and none is whole.
std::optional<ValidCheckpoint> latest_valid(const std::filesystem::path& run_directory);

// A model directory: config.json, model.safetensors, state.json. `state` is free (origin, metrics).
// `lowered` is the type of the tensors that may be kept in low precision (SequenceModel::lowered):
// bfloat16 halves the file; they are rounded once and read back as float32.
void save_model(const std::filesystem::path& directory, const SequenceModel& model,
                const nlohmann::json& state = nlohmann::json::object(),
                torch::ScalarType lowered = torch::kFloat,
                const std::map<std::string, std::string>& companions = {});

// Companions are read by name: a file name of letters, digits, '_', '-' and '.', not one of the
// names above (Error(kUsage) otherwise). They hold at most 64 MiB.
//
// Adds one to a model directory or checkpoint, or replaces it. At any moment, a crash included, the
// directory verifies: with the old bytes, without the companion, or with the new ones.
void add_companion(const std::filesystem::path& model_directory, const std::string& name,
                   const std::string& bytes);
// Of a model directory, a checkpoint, or a run directory (resolved as load_model does). Nothing
// when the model has no such companion; Error(kInput) when it is damaged.
std::optional<std::string> read_companion(const std::filesystem::path& run_or_model,
                                          const std::string& name);

// The files of a model of any kind.
struct ModelFiles {
  std::filesystem::path directory;  // where they are
  std::string hash;                 // sha256 of model.safetensors
  Checkpoint content;               // without what training needs
};
// From a model directory, a checkpoint, or a run directory (best/, else the newest valid
// checkpoint). A Hugging Face directory is refused with the import command to use.
ModelFiles read_model(const std::filesystem::path& path);
// Throws Error(kInput) unless the model is of this kind: "sequence", "sashimi", ...
void require_kind(const ModelFiles& files, const std::string& kind);

struct LoadedModel {
  std::shared_ptr<SequenceModel> model;  // float32 on the CPU
  nlohmann::json state;
  std::filesystem::path directory;  // where the files are
  std::string hash;                 // sha256 of model.safetensors
  std::map<std::string, std::string> companions;
};
// A sequence model, found as read_model does.
LoadedModel load_model_with_state(const std::filesystem::path& path);
std::shared_ptr<SequenceModel> load_model(const std::filesystem::path& path);

}  // namespace strandwave
