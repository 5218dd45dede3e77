#include "apps/arguments.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/spelling.h"

namespace strandwave::apps {
namespace {

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

// The command that the first words name, and how many they are.
struct Named {
  CLI::App* command;
  size_t words = 0;
};
Named named_command(CLI::App& program, const std::vector<std::string>& arguments) {
  Named result{&program};
  for (; result.words < arguments.size(); ++result.words) {
    const std::vector<CLI::App*> next = result.command->get_subcommands(
        [&](const CLI::App* command) { return command->check_name(arguments[result.words]); });
    if (next.empty()) break;
    result.command = next.front();
  }
  return result;
}

// Splits "--config FILE" or "--config=FILE" off; the path is empty when there is none.
std::string take_config(const std::vector<std::string>& arguments, std::vector<std::string>& rest) {
  std::string path;
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
  return path;
}

std::string nearest_option(const CLI::App& command, const std::string& name) {
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options())
    known.insert(known.end(), option->get_lnames().begin(), option->get_lnames().end());
  return nearest_word(name, known);
}

std::vector<CLI::ConfigItem> read_config(const std::string& path) {
  try {
    return CLI::ConfigTOML().from_file(path);
  } catch (const std::exception&) {
    throw input_error("--config " + path + ": the file cannot be read");
  }
}

// The flags of the file, checked against the command's options.
std::vector<std::string> config_flags(const std::string& path, const CLI::App& command,
                                      const std::vector<std::string>& given) {
  std::vector<std::string> flags;
  for (const CLI::ConfigItem& item : read_config(path)) {
    if (item.name == "++" || item.name == "--" || !item.parents.empty())
      throw usage_error("--config " + path + ": a section ([" + item.fullname() +
                        "]) has no meaning here: give name = value lines, the names being those "
                        "of the command's options");
    const std::string flag = "--" + item.name;
    const CLI::Option* option = command.get_option_no_throw(flag);
    if (option == nullptr || item.name == "config") {
      const std::string near = nearest_option(command, item.name);
      throw usage_error("--config " + path + ": '" + item.name + "' is no option of this command" +
                        (near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
    if (gives_option(given, *option)) continue;
    if (item.inputs.size() == 1 && (item.inputs[0] == "true" || item.inputs[0] == "false")) {
      if (item.inputs[0] == "true") flags.push_back(flag);
      continue;
    }
    for (const std::string& value : item.inputs) flags.push_back(flag + "=" + value);
  }
  return flags;
}

// What is said of the first word that should be a command and is none ("dna score"), or empty.
// CLI11 itself only says that a subcommand is required.
std::string unknown_command(CLI::App& program, const std::vector<std::string>& arguments) {
  const auto [command, words] = named_command(program, arguments);
  const std::vector<CLI::App*> choices = command->get_subcommands({});
  if (choices.empty() || words == arguments.size() || arguments[words].rfind('-', 0) == 0)
    return "";
  std::string named;
  for (size_t i = 0; i <= words; ++i) named += (i > 0 ? " " : "") + arguments[i];
  std::string known;
  for (const CLI::App* choice : choices) known += (known.empty() ? "" : ", ") + choice->get_name();
  return "there is no command '" + named + "': choose one of " + known;
}

}  // namespace

std::vector<std::string> expand_config(CLI::App& program,
                                       const std::vector<std::string>& arguments) {
  std::vector<std::string> rest;
  const std::string path = take_config(arguments, rest);
  if (path.empty()) return arguments;
  // The subcommand's words come first, then the file's values, then the flags.
  const auto [command, words] = named_command(program, rest);
  const std::vector<std::string> flags = config_flags(path, *command, rest);
  rest.insert(rest.begin() + static_cast<ptrdiff_t>(words), flags.begin(), flags.end());
  return rest;
}

std::string refusal(CLI::App& program, const std::vector<std::string>& given,
                    const std::string& message) {
  const std::string unknown = unknown_command(program, given);
  if (!unknown.empty()) return unknown;
  std::vector<std::string> rest;
  const std::string path = take_config(given, rest);
  const auto [command, words] = named_command(program, rest);
  std::string text = message;
  for (const std::string& argument : rest) {
    if (argument.rfind("--", 0) != 0 || argument.size() == 2) continue;
    const std::string flag = argument.substr(0, argument.find('='));
    if (command->get_option_no_throw(flag) != nullptr) continue;
    const std::string near = nearest_option(*command, flag.substr(2));
    if (!near.empty()) text += "\nDid you mean --" + near + "?";
    break;
  }
  if (!path.empty())
    for (const std::string& flag : config_flags(path, *command, rest))
      if (message.find(flag.substr(0, flag.find('='))) != std::string::npos) {
        text += "\n" + path + " gives " + flag.substr(2) + ".";
        break;
      }
  return text + "\nRun with --help for the options.";
}

}  // namespace strandwave::apps
