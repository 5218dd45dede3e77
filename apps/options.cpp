#include "apps/options.h"

#include <malloc.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <sstream>
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

CLI::Validator check_number(const std::string& wanted, const std::function<bool(double)>& fits) {
  return CLI::Validator(
      [=](std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && fits(value)) return std::string();
        return "must be " + wanted + ", got " + text;
      },
      "");
}

std::string plain(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

}  // namespace

CLI::Validator number_between(double low, double high) {
  return check_number("a number from " + plain(low) + " to " + plain(high),
                      [=](double value) { return value >= low && value <= high; });
}

CLI::Validator positive_number() {
  return check_number("a number greater than 0",
                      [](double value) { return value > 0 && std::isfinite(value); });
}

CLI::Validator non_negative_number() {
  return check_number("a number, 0 or greater",
                      [](double value) { return value >= 0 && std::isfinite(value); });
}

CLI::Validator finite_number() {
  return check_number("a number", [](double value) { return std::isfinite(value); });
}

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
