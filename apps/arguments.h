// The words of the command line before CLI11 reads them, and what to say when it refuses them.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace strandwave::apps {

// `--config FILE`: TOML whose keys are the long names of the subcommand's options. Returns the
// arguments with the file's values put in front of the flags; a flag given on the command line, by
// any of its names, wins over the file. Throws Error(kInput, kUsage) naming the file: it cannot be
// read, or it holds a section or a key that is no option of the subcommand.
std::vector<std::string> expand_config(CLI::App& program,
                                       const std::vector<std::string>& arguments);

// Ends CLI11's message: a command that does not exist replaces it, an unknown option brings the
// nearest known one, a value out of a --config file names the file. `given`: the arguments before
// expand_config.
std::string refusal(CLI::App& program, const std::vector<std::string>& given,
                    const std::string& message);

}  // namespace strandwave::apps
