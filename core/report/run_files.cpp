#include "core/report/run_files.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_config.h"

namespace strandwave::report {
namespace {

namespace fs = std::filesystem;

nlohmann::json read_object(const fs::path& path, const std::string& advice) {
  nlohmann::json value;
  try {
    value = read_json_file(path);
  } catch (const Error& error) {
    throw input_error(std::string(error.what()) + ". " + advice);
  }
  if (!value.is_object()) throw input_error(path.string() + ": not a JSON object. " + advice);
  return value;
}

void read_log(const fs::path& path, RunFiles& run) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw input_error("cannot open " + path.string() + ": check its permissions");
  size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_object()) {
      run.log.push_back(std::move(object));
      continue;
    }
    const std::string where = path.string() + ", line " + std::to_string(number);
    // Whole lines end in a line feed.
    if (!file.eof())
      throw input_error(where + ": not a JSON object. Delete that line to report on the others");
    run.notes.push_back(where +
                        " is cut off and left out: the run is writing it or was killed. The "
                        "command that started the run continues it");
  }
}

RunFiles read_evaluation(const fs::path& path) {
  RunFiles run;
  run.path = path;
  run.test = read_object(path, "Name run folders, or JSON files written by dna evaluate -o");
  if (!run.test.contains("kind"))
    throw input_error(path.string() +
                      " holds no figures of a test (no key \"kind\"): name run folders, or JSON "
                      "files written by dna evaluate -o");
  return run;
}

RunFiles read_folder(const fs::path& path) {
  RunFiles run;
  run.path = path;
  const bool has_config = fs::exists(path / "config.json");
  const bool has_log = fs::exists(path / "log.jsonl");
  if (!has_log && fs::exists(path / "model.safetensors"))
    throw input_error(path.string() +
                      " is a model folder, which keeps no log: name the folder of its run, or a "
                      "file written by dna evaluate -o");
  if (!has_config && !has_log && fs::exists(path / "folds.json")) {
    run.test = read_evaluation(path / "folds.json").test;
    return run;
  }
  if (!has_config && !has_log)
    throw input_error(path.string() +
                      " holds no run (neither config.json nor log.jsonl): name the folder that was "
                      "given with -o to pretrain or finetune");
  const std::string advice = "Restore the file, or move it away to report on the rest";
  if (has_config)
    run.config = read_object(path / "config.json", advice);
  else
    run.notes.push_back("config.json is missing, so the settings are unknown");
  if (has_log)
    read_log(path / "log.jsonl", run);
  else
    run.notes.push_back("log.jsonl is missing: the run has not begun, or the file was removed");
  if (fs::exists(path / "test.json"))
    run.test = read_object(path / "test.json", advice);
  else
    run.notes.push_back(
        "test.json is missing: the run has not been tested, since it is unfinished or has no test "
        "split");
  return run;
}

// The last `parts` components of a path.
std::string tail(const fs::path& path, int parts) {
  fs::path tail;
  fs::path rest = path;
  for (int i = 0; i < parts && rest.has_filename(); ++i, rest = rest.parent_path())
    tail = tail.empty() ? rest.filename() : rest.filename() / tail;
  return tail.empty() ? path.string() : tail.string();
}

fs::path whole_path(const fs::path& path) {
  const fs::path whole = fs::weakly_canonical(path);
  return whole.has_filename() ? whole : whole.parent_path();  // without the slash at the end
}

// A run folder, or a JSON file without its extension.
fs::path named_path(const RunFiles& run) {
  fs::path path = whole_path(run.path);
  if (path.extension() == ".json" && !fs::is_directory(path)) path.replace_extension();
  return path;
}

// As few components of each path as tell the run from the others.
void name_runs(std::vector<RunFiles>& runs) {
  const auto unique = [&](const std::string& name, int parts) {
    return std::count_if(runs.begin(), runs.end(), [&](const RunFiles& run) {
             return tail(named_path(run), parts) == name;
           }) == 1;
  };
  for (RunFiles& run : runs) {
    constexpr int kMostParts = 16;
    run.name = run.path.string();  // for a folder "run" beside a file "run.json"
    for (int parts = 1; parts <= kMostParts; ++parts) {
      const std::string name = tail(named_path(run), parts);
      if (!unique(name, parts)) continue;
      run.name = name;
      break;
    }
  }
}

}  // namespace

std::vector<RunFiles> read_runs(const std::vector<std::string>& paths) {
  std::vector<RunFiles> runs;
  std::set<fs::path> seen;
  for (const std::string& path : paths) {
    if (!fs::exists(path))
      throw input_error("there is no run " + path +
                        ": name the folder that was given with -o to pretrain or finetune");
    if (!seen.insert(whole_path(path)).second)
      throw usage_error("the run " + path + " is given twice: name each run once");
    runs.push_back(fs::is_directory(path) ? read_folder(path) : read_evaluation(path));
  }
  name_runs(runs);
  return runs;
}

}  // namespace strandwave::report
