// Options that mean the same in every subcommand.
#pragma once

#include <c10/core/Device.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace strandwave::apps {

// Checks of numbers; the messages say what was expected. nan is never accepted.
CLI::Validator number_between(double low, double high);
CLI::Validator positive_number();
CLI::Validator non_negative_number();
CLI::Validator finite_number();

struct CommonOptions {
  std::string device = "auto";
  int threads = 0;  // 0: all cores
  bool quiet = false;

  // Sets the thread count, makes LibTorch deterministic and returns the device.
  c10::Device prepare() const;
};

// --device, -@/--threads, --quiet, --log-level, --config.
void add_common_options(CLI::App& command, CommonOptions& options);
void add_seed_option(CLI::App& command, uint64_t& seed);
void add_output_folder_options(CLI::App& command, std::string& output, bool& force);

// Throws Error(kUsage) when `path` is a file that lies there already and `force` is not given; "-"
// and what is no file (a device, a pipe) may always be written to.
void refuse_existing_file(const std::string& path, bool force);

// -o FILE and --force of the commands that print figures: the same as JSON. - is stdout.
struct FiguresOutput {
  std::string path;
  bool force = false;

  void check() const { refuse_existing_file(path, force); }
  // Where tables for people go: stdout unless the figures go there.
  std::ostream& tables() const;
  void write(const nlohmann::json& figures) const;
};
void add_figures_options(CLI::App& command, FiguresOutput& output);

// The command line as one shell-quoted string, for provenance.
void set_command_line(const std::vector<std::string>& arguments);
const std::string& command_line();

// Print "[W] message" and "[D] message" to stderr, where --log-level is warning or debug or more.
void warn(const std::string& message);
void debug(const std::string& message);

}  // namespace strandwave::apps
