// The directory of a training run: whose it is, and whether it may be continued.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace strandwave {

// Takes possession of a run directory for as long as it lives.
class RunDirectory {
 public:
  // Creates the directory and its config.json, or, where a run lies already, checks that `config`
  // agrees with that run's: Error(kUsage) names the first key that differs, with both values. A run
  // without a checkpoint begins anew whatever its settings were. force removes any run first. Throws Error(kUsage) for a directory with other content and
  // Error(kRuntime) when another process has it or it cannot be written.
  RunDirectory(const std::filesystem::path& path, const nlohmann::json& config, bool force);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path log() const { return path_ / "log.jsonl"; }
  std::filesystem::path events() const { return path_ / "events.out.tfevents.strandwave"; }
  std::filesystem::path best() const { return path_ / "best"; }

 private:
  void lock();
  bool holds_checkpoint() const;
  void remove_run() const;
  void require_agreement(const nlohmann::json& config) const;

  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace strandwave
