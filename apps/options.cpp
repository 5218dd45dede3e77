#include "apps/options.h"

#include <malloc.h>

#include <algorithm>
#include <cctype>
#include <iostream>
#include <thread>

#include "core/base/error.h"
#include "core/runtime/accelerator.h"
#include "kernels/common/parallel.h"

namespace strandwave::apps {
namespace {

std::string& stored_command_line() {
  static std::string line;
  return line;
}

std::string shell_quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("_-./:,=@%+").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

bool names_flag(const std::vector<std::string>& arguments, const std::string& flag) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
    return argument == flag || argument.rfind(flag + "=", 0) == 0;
  });
}

}  // namespace

c10::Device CommonOptions::prepare() const {
  // LibTorch's CPU allocator asks the C library for every tensor. By default that maps and unmaps
  // large ones each time, and a training step spends a seventh of its time on fresh pages.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  set_thread_count(
      threads > 0 ? threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  make_deterministic();
  return parse_device(device);
}

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--device", options.device, "Where to compute: auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  command.add_option("-@,--threads", options.threads, "CPU threads in all; 0 takes every core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command.add_flag("--quiet", options.quiet, "No progress on stderr");
  // Read by expand_config before CLI11 sees the arguments; declared here for --help.
  command.add_option("--config", "TOML file with the same names as these options; flags win");
}

void add_seed_option(CLI::App& command, uint64_t& seed) {
  command.add_option("--seed", seed, "Seed of every random choice")->capture_default_str();
}

void add_output_folder_options(CLI::App& command, std::string& output, bool& force) {
  command
      .add_option("-o,--output", output, "Folder of the run; an unfinished run in it is resumed")
      ->required();
  command.add_flag("--force", force, "Delete what the output folder holds and start anew");
}

std::vector<std::string> expand_config(const std::vector<std::string>& arguments) {
  std::string path;
  std::vector<std::string> rest;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--config") {
      if (i + 1 == arguments.size()) throw usage_error("--config: a file name must follow");
      path = arguments[++i];
    } else if (arguments[i].rfind("--config=", 0) == 0) {
      path = arguments[i].substr(9);
    } else {
      rest.push_back(arguments[i]);
    }
  }
  if (path.empty()) return arguments;

  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_file(path);
  } catch (const std::exception&) {
    throw input_error("--config " + path + ": the file cannot be read");
  }
  // The subcommand's words come first, then the file's values, then the flags.
  size_t words = 0;
  while (words < rest.size() && words < 2 && rest[words].rfind('-', 0) != 0) ++words;
  std::vector<std::string> expanded(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(words));
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // section marks of the reader
    const std::string flag = "--" + item.name;
    if (names_flag(rest, flag)) continue;
    if (item.inputs.size() == 1 && (item.inputs[0] == "true" || item.inputs[0] == "false")) {
      if (item.inputs[0] == "true") expanded.push_back(flag);
      continue;
    }
    for (const std::string& value : item.inputs) expanded.push_back(flag + "=" + value);
  }
  expanded.insert(expanded.end(), rest.begin() + static_cast<ptrdiff_t>(words), rest.end());
  return expanded;
}

void set_command_line(const std::vector<std::string>& arguments) {
  std::string& line = stored_command_line();
  line = "strandwave";
  for (const std::string& argument : arguments) line += " " + shell_quoted(argument);
}

const std::string& command_line() { return stored_command_line(); }

void warn(const std::string& message) { std::cerr << "[W] " << message << '\n'; }

}  // namespace strandwave::apps
