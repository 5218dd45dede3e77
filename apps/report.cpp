#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/audio.h"
#include "apps/commands.h"
#include "apps/options.h"
#include "core/base/files.h"
#include "genomics/report_sections.h"

namespace strandwave::apps {
namespace {

struct Options {
  std::vector<std::string> runs;
  std::string output = "report.html";
  bool force = false;
};

void run(const Options& options) {
  refuse_existing_file(options.output, options.force);
  std::vector<report::RunFiles> runs = report::read_runs(options.runs);
  for (const report::RunFiles& one : runs)
    for (const std::string& note : one.notes) warn(one.name + ": " + note);
  const std::optional<std::string> audio = audio_report_page(runs);
  const std::string page = audio ? *audio : dna_report(std::move(runs));
  if (options.output == "-") {
    std::cout << page << std::flush;
    return;
  }
  write_file_atomically(options.output, page);
  std::cout << "report: " << options.output << ", " << (page.size() + 999) / 1000
            << " kB; open it in a browser\n";
}

}  // namespace

void add_report(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "report", "One HTML page on a run or several: results, training, data, commands");
  auto options = std::make_shared<Options>();
  command
      ->add_option("RUN", options->runs,
                   "Run folders of pretrain, finetune or train, or JSON files of dna evaluate -o")
      ->required();
  command->add_option("-o,--output", options->output, "HTML file to write; - is stdout")
      ->capture_default_str();
  command->add_flag("--force", options->force, "Overwrite the output file");
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
