#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/audio_clip_options.h"
#include "apps/commands.h"
#include "apps/options.h"

namespace strandwave::apps {
namespace {

struct Options {
  ClipOptions clips;
  std::string output;
  int threads = 0;
  bool force = false, quiet = false;
};

void run(const Options& options) {
  refuse_existing_file(options.output, options.force);
  const audio::ClipDataset dataset = open_clips(options.clips, options.threads, options.quiet);
  dataset.save(options.output);
  for (const std::string& warning : clip_warnings(dataset.facts())) warn(warning);
  print_clip_facts(dataset.facts(), std::cout);
  std::cout << "clips: " << options.output << ", sha256 " << dataset.hash() << '\n';
}

}  // namespace

void add_audio_prepare(CLI::App& audio) {
  CLI::App* command = audio.add_subcommand(
      "prepare", "Decode, resample, scale, cut and divide audio files into one file of clips");
  auto options = std::make_shared<Options>();
  add_clip_options(*command, options->clips);
  command
      ->add_option("-o,--output", options->output,
                   "The prepared clips (.safetensors), from which training runs without libsndfile")
      ->required();
  command->add_flag("--force", options->force, "Overwrite the output file");
  command->add_option("-@,--threads", options->threads, "CPU threads; 0: all cores")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("-q,--quiet", options->quiet, "No progress line");
  command->add_option("--config", "TOML file with the same names as these options; flags win");
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
