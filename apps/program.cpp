#include "apps/program.h"

#include <c10/util/Exception.h>

#include <iostream>
#include <string>
#include <vector>

#include "apps/arguments.h"
#include "apps/commands.h"
#include "apps/options.h"
#include "apps/version.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/runtime/accelerator.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return 2;
    case ErrorKind::kInterrupted:
      return 75;
    case ErrorKind::kInput:
    case ErrorKind::kRuntime:
      return 1;
  }
  return 1;
}

int fail(const std::string& message, int code) {
  std::cerr << "[E] strandwave: " << message << '\n';
  return code;
}

void add_commands(CLI::App& program) {
  program.require_subcommand(1);
  program.set_version_flag("--version", std::string("strandwave " STRANDWAVE_VERSION
                                                    " (LibTorch " STRANDWAVE_TORCH_VERSION ")"));
  CLI::App* dna = program.add_subcommand(
      "dna", "Genomes and reads: pretrain, split, finetune, classify, evaluate");
  dna->require_subcommand(1);
  add_dna_pretrain(*dna);
  add_dna_split(*dna);
  add_dna_finetune(*dna);
  add_dna_classify(*dna);
  add_dna_evaluate(*dna);
  add_audio(program);
  add_model(program);
  add_report(program);
  add_bench(program);
  add_doctor(program);
}

int parse_and_run(CLI::App& program, std::vector<std::string> arguments) {
  set_command_line(arguments);
  if (arguments.empty()) {
    std::cerr << program.help();
    return 2;
  }
  const std::vector<std::string> given = arguments;
  arguments = expand_config(program, arguments);
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    program.parse(reversed);
  } catch (const CLI::CallForHelp& e) {
    return program.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return program.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return program.exit(e);
  } catch (const CLI::ParseError& e) {
    return fail(refusal(program, given, e.what()), 2);
  }
  debug("done; most memory in use at once: " +
        format_bytes(device_memory(c10::Device(c10::kCPU)).peak_bytes));
  return 0;
}

}  // namespace

int run_program(int argc, char** argv) {
  CLI::App program(
      "strandwave: selective state-space models for very long sequences: DNA and raw audio",
      "strandwave");
  add_commands(program);
  try {
    return parse_and_run(program, std::vector<std::string>(argv + 1, argv + argc));
  } catch (const Error& e) {
    return fail(e.what(), exit_code(e.kind()));
  } catch (const std::exception& e) {
    if (is_out_of_memory(e)) return fail("out of memory: free some, or take a larger machine", 1);
    const auto* of_torch = dynamic_cast<const c10::Error*>(&e);
    if (of_torch != nullptr)
      return fail(std::string("internal error: ") + of_torch->what_without_backtrace(), 1);
    return fail(std::string("internal error: ") + e.what(), 1);
  }
}

}  // namespace strandwave::apps
