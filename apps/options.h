// Options that mean the same in every subcommand.
#pragma once

#include <c10/core/Device.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace strandwave::apps {

struct CommonOptions {
  std::string device = "auto";
  int threads = 0;  // 0: all cores
  bool quiet = false;

  // Sets the thread count, makes LibTorch deterministic and returns the device.
  c10::Device prepare() const;
};

// --device, -@/--threads, --quiet, --config.
void add_common_options(CLI::App& command, CommonOptions& options);
void add_seed_option(CLI::App& command, uint64_t& seed);
void add_output_folder_options(CLI::App& command, std::string& output, bool& force);

// `--config FILE`: TOML whose keys are the long names of the subcommand's options. Returns argv
// with the file's values put in front of the flags; a flag given on the command line wins over the
// file.
std::vector<std::string> expand_config(const std::vector<std::string>& arguments);

// The command line as one shell-quoted string, for provenance.
void set_command_line(const std::vector<std::string>& arguments);
const std::string& command_line();

// Prints "[W] message" to stderr.
void warn(const std::string& message);

}  // namespace strandwave::apps
