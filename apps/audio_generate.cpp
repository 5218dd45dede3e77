#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <numeric>

#include "apps/audio_model_options.h"
#include "apps/commands.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "audio/generate.h"
#include "audio/io/encode_file.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  audio::GenerationRequest request;
  std::string model, output, encoding = "pcm16", prefix;
  std::vector<std::string> classes;
  double seconds = 0;         // of a clip; 0: as in training
  double prefix_seconds = 0;  // of the prefix that are used; 0: all
  bool no_origin = false;
};

int64_t clip_length(const Options& options, const audio::AudioFormat& format) {
  if (options.seconds > 0)
    return std::max<int64_t>(1, std::llround(options.seconds * format.sample_rate));
  if (format.clip_length > 0) return format.clip_length;
  throw usage_error("the model in " + options.model +
                    " does not say how long its clips were: give --duration");
}

// Clip i has the i-th of them, in turn; all classes of the model where none is given.
std::vector<int64_t> classes_of(const Options& options, const std::vector<std::string>& known) {
  std::vector<int64_t> classes;
  for (const std::string& name : options.classes) classes.push_back(class_number(known, name));
  if (!classes.empty()) return classes;
  classes.resize(known.size());
  std::iota(classes.begin(), classes.end(), int64_t{0});
  return classes;
}

std::vector<uint8_t> prefix_of(const Options& options, const audio::AudioFormat& format) {
  if (options.prefix.empty()) return {};
  std::vector<uint8_t> codes = audio::encode_file(options.prefix, format);
  if (options.prefix_seconds > 0) {
    const auto length =
        static_cast<size_t>(std::llround(options.prefix_seconds * format.sample_rate));
    if (length > codes.size())
      throw usage_error(
          "--prefix-duration " + format_number("%g", options.prefix_seconds) + ": " +
          options.prefix + " has only " +
          format_number("%g", static_cast<double>(codes.size()) / format.sample_rate) + " seconds");
    codes.resize(length);
  }
  return codes;
}

void run(Options options) {
  const c10::Device device = options.common.prepare();
  const audio::LoadedAudioModel loaded = audio::load_audio_model(options.model);
  audio::require_samples_of_8_bits(loaded, options.model);
  audio::GenerationRequest& request = options.request;
  request.folder = options.output;
  request.class_names = loaded.classes();
  request.classes = classes_of(options, loaded.classes());
  request.streams.length = clip_length(options, loaded.format);
  request.streams.prefix = prefix_of(options, loaded.format);
  request.encoding = audio::encoding_of(options.encoding);
  request.model_hash = loaded.hash;
  if (!options.no_origin) {
    request.version = STRANDWAVE_VERSION;
    request.command = command_line();
  }
  Progress progress(stderr, options.common.quiet);
  request.progress = [&](const std::string& text) { progress.update(text); };
  const SignalGuard signals;
  audio::GenerationResult result;
  explain_out_of_memory(device, "lower --batch", [&] {
    loaded.model->to(device);
    const std::unique_ptr<Generator> generator = audio::make_generator(loaded.model);
    result = audio::generate_clips(*generator, loaded.format, request);
  });
  progress.finish();
  std::cout << "clips: " << options.output << ", " << result.made << " made";
  if (result.kept > 0) std::cout << ", " << result.kept << " were there";
  if (result.seconds > 0)
    std::cout << "; " << format_number("%.1f", result.sound_seconds) << " s of sound in "
              << format_number("%.1f", result.seconds) << " s, real-time factor "
              << format_number("%.3g", result.sound_seconds / result.seconds);
  std::cout << "; listen to them in " << options.output << "/index.html\n";
}

void add_clip_options(CLI::App& command, Options& options) {
  audio::GenerationRequest& request = options.request;
  command.add_option("-n,--clips", request.clips, "How many clips")
      ->check(positive_number())
      ->capture_default_str();
  command
      .add_option("--batch", request.batch,
                  "Clips that are drawn at once; equal bits need equal batches")
      ->check(positive_number())
      ->capture_default_str();
  command
      .add_option("--duration", options.seconds,
                  "Seconds of a clip, with its prefix; 0: as in training")
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option("--class", options.classes,
                  "Classes that the clips get in turn, e.g. three,four; none is the null class; "
                  "default all classes of the model")
      ->allow_extra_args(false)
      ->delimiter(',');
  command.add_option("--prefix", options.prefix,
                     "Audio file with which every clip begins; the model goes on from there");
  command
      .add_option("--prefix-duration", options.prefix_seconds,
                  "Seconds of the prefix that are used; 0: all")
      ->check(non_negative_number())
      ->capture_default_str();
}

void add_sampling_options(CLI::App& command, Options& options) {
  audio::ClipStreamOptions& streams = options.request.streams;
  command
      .add_option("--temperature", streams.sampling.temperature,
                  "Logits are divided by it; 0: always the most probable sample")
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option("--top-p", streams.sampling.top_p,
                  "Draw from the smallest set of values that holds so much probability")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command
      .add_option("--guidance", streams.guidance,
                  "How strongly the class counts: logits = without + g (with - without)")
      ->check(non_negative_number())
      ->capture_default_str();
  add_seed_option(command, streams.seed);
}

}  // namespace

void add_audio_generate(CLI::App& audio) {
  CLI::App* command = audio.add_subcommand("generate", "Draw new clips from a trained model");
  auto options = std::make_shared<Options>();
  command->add_option("MODEL", options->model, "Run, checkpoint or model folder of audio train")
      ->required();
  command
      ->add_option(
          "-o,--output", options->output,
          "Folder of the clips; of clips that are there already, only missing ones are made")
      ->required();
  command->add_flag("--force", options->request.force,
                    "Replace clips in the folder that were made with other settings");
  add_clip_options(*command, *options);
  add_sampling_options(*command, *options);
  command->add_option("--format", options->request.container, "Files: wav or flac")
      ->check(CLI::IsMember({"wav", "flac"}))
      ->capture_default_str();
  command->add_option("--encoding", options->encoding, "Samples in files: pcm16, pcm24 or float")
      ->check(CLI::IsMember(audio::encoding_names()))
      ->capture_default_str();
  command->add_flag("--no-PG", options->no_origin,
                    "Leave version, command and model hash out of "
                    "manifest.tsv");
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
