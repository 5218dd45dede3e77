#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "apps/options.h"
#include "audio/classifier/audio_classifier.h"
#include "audio/models/audio_checkpoint.h"
#include "audio/models/sashimi_import.h"
#include "core/base/error.h"

namespace strandwave::apps {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string input, output;
  std::string profile = "librosa-0.8";
  std::string companding = "s4", scale = "minmax";
  audio::ReleasedModel released;
  bool force = false;
};

void check_output(const Options& options) {
  if (!fs::exists(options.output)) return;
  if (!options.force)
    throw usage_error("-o " + options.output + " exists: choose another name or give --force");
  if (!fs::exists(fs::path(options.output) / "model.safetensors"))
    throw usage_error("-o " + options.output +
                      " holds no model, so --force does not replace it: choose another name");
}

void run(Options options) {
  check_output(options);
  const nlohmann::json state = {{"imported_from", fs::path(options.input).filename().string()}};
  int64_t parameters = 0;
  if (audio::is_resnext(options.input)) {
    const auto imported = audio::import_resnext(options.input, options.profile);
    audio::save_audio_classifier(options.output, imported.config, *imported.network, state);
    parameters = imported.network->parameter_count();
  } else {
    options.released.format.companding = audio::companding_of(options.companding);
    options.released.format.scale = audio::scale_of(options.scale);
    const auto imported = audio::import_sashimi(options.input, options.released);
    audio::save_audio_model(options.output, *imported, state);
    for (const torch::Tensor& parameter : imported->parameters()) parameters += parameter.numel();
  }
  std::cout << options.output << ": " << parameters << " parameters\n";
}

}  // namespace

void add_audio_import(CLI::App& audio) {
  CLI::App* command = audio.add_subcommand(
      "import", "Make a model folder of a released SaShiMi or of the SC09 metrics' classifier");
  auto options = std::make_shared<Options>();
  command
      ->add_option("FILE", options->input,
                   "State dict that torch.save wrote, of SaShiMi or of CifarResNeXt (the latter "
                   "also as .safetensors); names with or without \"module.\"")
      ->required();
  command->add_option("-o,--output", options->output, "Folder to write")->required();
  command->add_flag("--force", options->force, "Replace the model in the output folder");
  command
      ->add_option("--profile", options->profile,
                   "Of a classifier: mel spectrogram of librosa or librosa-0.8 (ends mirrored)")
      ->check(CLI::IsMember({"librosa", "librosa-0.8"}))
      ->capture_default_str();
  command
      ->add_option("--dt-transform", options->released.dt_transform,
                   "Of SaShiMi: how step sizes are stored, exp (all that is released) or softplus "
                   "(trained by version 4 of the public code)")
      ->check(CLI::IsMember({"exp", "softplus"}))
      ->capture_default_str();
  command
      ->add_option("--rate", options->released.format.sample_rate,
                   "Of SaShiMi: samples per second of its clips")
      ->check(CLI::Range(audio::kLowestRate, audio::kHighestRate))
      ->capture_default_str();
  command
      ->add_option("--companding", options->companding,
                   "Of SaShiMi: how samples became 8 bits (linear for the Beethoven models)")
      ->check(CLI::IsMember(audio::companding_names()))
      ->capture_default_str();
  command->add_option("--scale", options->scale, "Of SaShiMi: how clips were scaled")
      ->check(CLI::IsMember(audio::scale_names()))
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
