#include "core/training/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/json_config.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

std::string value_at(const nlohmann::json& config, const nlohmann::json::json_pointer& key) {
  return config.contains(key) ? config.at(key).dump() : "absent";
}

// "/trainer/lr" -> "trainer.lr"
std::string dotted(std::string pointer) {
  for (char& c : pointer)
    if (c == '/') c = '.';
  return pointer.substr(1);
}

bool holds_nothing_of_value(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory))
    if (!is_temporary_name(entry.path())) return false;
  return true;
}

}  // namespace

RunDirectory::RunDirectory(const fs::path& path, const nlohmann::json& config, bool force)
    : path_(path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!fs::is_directory(path))
    throw runtime_failure("cannot create the run directory " + path.string() + ": " +
                          (error ? error.message() : "a file has this name") + "; choose another");
  lock();
  try {
    const bool run = fs::exists(path / "config.json");
    if (!run && !holds_nothing_of_value(path))
      throw usage_error("the directory " + path.string() +
                        " holds other files and no run (no config.json): choose another one");
    // A run that ended before its first checkpoint (out of memory) binds nobody.
    if (run && !force && holds_checkpoint()) {
      require_agreement(config);
    } else {
      if (run) remove_run();
      write_file_atomically(path / "config.json", config.dump(2) + "\n");
    }
  } catch (...) {
    ::close(lock_);
    throw;
  }
}

bool RunDirectory::holds_checkpoint() const {
  const fs::path checkpoints = path_ / "checkpoints";
  return fs::is_directory(checkpoints) && !fs::is_empty(checkpoints);
}

RunDirectory::~RunDirectory() { ::close(lock_); }

void RunDirectory::lock() {
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0)
    throw runtime_failure("cannot open the run directory " + path_.string() + ": " +
                          std::strerror(errno));
  // File systems without locks are no reason to refuse work.
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(lock_);
  throw runtime_failure("another process trains in " + path_.string() +
                        ": wait for it, stop it, or choose another directory");
}

void RunDirectory::remove_run() const {
  const nlohmann::json config = read_json_file(path_ / "config.json");
  if (!config.is_object() || !config.contains("trainer"))
    throw usage_error("the directory " + path_.string() +
                      " holds a config.json that is not a run's: choose another one");
  // config.json last: until then a crash leaves what is recognised as a run.
  for (const fs::path& part :
       {path_ / "checkpoints", best(), log(), events(), path_ / "split.bed", path_ / "test.json",
        path_ / "predictions.tsv", path_ / "samples", path_ / "config.json"})
    fs::remove_all(part);
}

void RunDirectory::require_agreement(const nlohmann::json& config) const {
  const nlohmann::json former = read_json_file(path_ / "config.json");
  const nlohmann::json differences = nlohmann::json::diff(former, config);
  if (differences.empty()) return;
  const std::string pointer = differences[0].at("path");
  const nlohmann::json::json_pointer key(pointer);
  throw usage_error("the run in " + path_.string() + " was started with other settings: " +
                    (pointer.empty() ? "config.json" : dotted(pointer)) + " is " +
                    value_at(former, key) + " there and " + value_at(config, key) +
                    " now. Use the same settings to continue it, another directory for a new run, "
                    "or --force to replace it");
}

}  // namespace strandwave
