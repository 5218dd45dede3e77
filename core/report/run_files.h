// What a run left behind, as a report reads it. No LibTorch.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace strandwave::report {

struct RunFiles {
  std::string name;  // short, different from that of the other runs
  std::filesystem::path path;
  nlohmann::json config, test;      // null where there is none
  std::vector<nlohmann::json> log;  // the lines of log.jsonl (core/training/trainer.h)
  std::vector<std::string> notes;   // what is missing, for the reader of the report
};

// Reads run folders (config.json, log.jsonl, test.json; what an unfinished run lacks is noted) and
// JSON files with the figures of an evaluation; a folder of cross-validation (folds.json) counts as
// such a file. A last log line that is cut off is left out with a
// note: its run is writing it or was killed. Throws Error: a path that is missing or holds no run
// (kInput), a file that is no JSON (naming file and line), the same run given twice (kUsage).
std::vector<RunFiles> read_runs(const std::vector<std::string>& paths);

}  // namespace strandwave::report
