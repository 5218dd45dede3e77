#include "apps/options.h"

#include <malloc.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iostream>
#include <thread>

#include "apps/version.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/runtime/accelerator.h"
#include "kernels/common/parallel.h"
#include "kernels/common/simd_target.h"

namespace strandwave::apps {
namespace {

std::string& stored_command_line() {
  static std::string line;
  return line;
}

// What stderr shows, from little to much; errors always.
const std::vector<std::string> kLogLevels = {"error", "warning", "info", "debug"};

std::string& log_level() {
  static std::string level = "info";
  return level;
}

bool shows(const std::string& level) {
  const auto place = [](const std::string& name) {
    return std::find(kLogLevels.begin(), kLogLevels.end(), name);
  };
  return place(level) <= place(log_level());
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

// Whether the arguments hold the option by any of its names: "--threads 2", "--threads=2", "-@ 2",
// "-@2".
bool gives_option(const std::vector<std::string>& arguments, const CLI::Option& option) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
    for (const std::string& name : option.get_lnames())
      if (argument == "--" + name || argument.rfind("--" + name + "=", 0) == 0) return true;
    for (const std::string& name : option.get_snames())
      if (argument.rfind("-" + name, 0) == 0) return true;
    return false;
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
  const c10::Device chosen = parse_device(device);
  debug("strandwave " STRANDWAVE_VERSION " with LibTorch " STRANDWAVE_TORCH_VERSION " on " +
        device_description(chosen) + ", " + std::to_string(thread_count()) + " threads, kernels " +
        kernels::simd_target_name());
  return chosen;
}

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--device", options.device, "Where to compute: auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  command.add_option("-@,--threads", options.threads, "CPU threads in all; 0 takes every core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command.add_flag("--quiet", options.quiet, "No progress on stderr, as --log-level warning");
  command
      .add_option_function<std::string>(
          "--log-level",
          [&options](const std::string& level) {
            log_level() = level;
            options.quiet = options.quiet || !shows("info");
          },
          "What stderr shows: error, warning, info (warnings and progress) or debug")
      ->check(CLI::IsMember(kLogLevels))
      ->default_str("info");
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
  command.add_flag("--force", force,
                   "Delete the run that lies in the output folder and start anew");
}

void refuse_existing_file(const std::string& path, bool force) {
  namespace fs = std::filesystem;
  if (path.empty() || path == "-" || !fs::exists(path)) return;
  if (fs::is_directory(path)) throw usage_error("-o " + path + " is a folder: name a file");
  if (fs::is_regular_file(path) && !force)
    throw usage_error("-o " + path + " exists: choose another name or give --force");
}

std::ostream& FiguresOutput::tables() const { return path == "-" ? std::cerr : std::cout; }

void FiguresOutput::write(const nlohmann::json& figures) const {
  const std::string text = figures.dump(2) + "\n";
  if (path == "-")
    std::cout << text;
  else if (!path.empty())
    write_file_atomically(path, text);
}

void add_figures_options(CLI::App& command, FiguresOutput& output) {
  command.add_option("-o,--output", output.path,
                     "Also write the figures to this JSON file; - is stdout");
  command.add_flag("--force", output.force, "Overwrite the output file");
}

std::vector<std::string> expand_config(CLI::App& program,
                                       const std::vector<std::string>& arguments) {
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
  CLI::App* command = &program;
  for (; words < rest.size(); ++words) {
    const std::vector<CLI::App*> named = command->get_subcommands(
        [&](const CLI::App* subcommand) { return subcommand->check_name(rest[words]); });
    if (named.empty()) break;
    command = named.front();
  }
  std::vector<std::string> expanded(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(words));
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // section marks of the reader
    const std::string flag = "--" + item.name;
    const CLI::Option* option = command->get_option_no_throw(flag);
    if (option != nullptr && gives_option(rest, *option)) continue;
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

void warn(const std::string& message) {
  if (shows("warning")) std::cerr << "[W] " << message << '\n';
}

void debug(const std::string& message) {
  if (shows("debug")) std::cerr << "[D] " << message << '\n';
}

}  // namespace strandwave::apps
