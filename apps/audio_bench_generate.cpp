#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <vector>

#include "apps/audio_model_options.h"
#include "apps/bench.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "audio/clip_streams.h"
#include "core/base/progress.h"
#include "core/runtime/accelerator.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  AudioModelOptions shape;
  std::string model;  // a trained one instead
  FiguresOutput output;
  int64_t batch = 1;
  int64_t samples = 1024;  // of a stream, in each repeat
  int64_t warmup = 1;
  int64_t repeats = 5;
  bool single = false;
};

std::shared_ptr<audio::Sashimi> model_of(const Options& options) {
  if (!options.model.empty()) return audio::load_audio_model(options.model).model;
  return std::make_shared<audio::Sashimi>(audio_model_config(options.shape), /*seed=*/0);
}

// Seconds of each repeat, sorted.
std::vector<double> time_repeats(audio::ClipStreams& streams, const Options& options,
                                 c10::Device device) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < options.warmup + options.repeats; ++i) {
    synchronize(device);
    if (i == options.warmup) reset_peak_memory(device);
    const auto start = std::chrono::steady_clock::now();
    streams.advance(options.samples);
    synchronize(device);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= options.warmup) seconds.push_back(taken.count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

void measure(const Options& options, c10::Device device) {
  const std::shared_ptr<audio::Sashimi> model = model_of(options);
  model->to(device);
  const std::unique_ptr<Generator> generator = audio::make_generator(model);
  audio::ClipStreamOptions clips;
  // One more than is drawn: every sample is read by a step.
  clips.length = (options.warmup + options.repeats) * options.samples + 1;
  clips.recorded = !options.single;
  std::vector<int64_t> classes;
  if (!model->config().classes.empty()) classes.assign(static_cast<size_t>(options.batch), 0);
  audio::ClipStreams streams(*generator, 0, options.batch, classes, clips);
  const std::vector<double> seconds = time_repeats(streams, options, device);

  const double median = seconds[seconds.size() / 2];
  const auto drawn = static_cast<double>(options.batch * options.samples);
  const DeviceMemory memory = device_memory(device);
  options.output.tables() << device_description(device) << ", "
                          << format_number("%.2f",
                                           static_cast<double>(model->parameter_count()) / 1e6)
                          << "M parameters, batch " << options.batch << ": "
                          << format_number("%.0f", drawn / median) << " samples/s, step "
                          << format_number("%.3f",
                                           median * 1e3 / static_cast<double>(options.samples))
                          << " ms, peak " << format_bytes(memory.peak_bytes) << '\n';
  options.output.write({{"benchmark", "generate"},
                        {"version", STRANDWAVE_VERSION},
                        {"command", command_line()},
                        {"device", device_description(device)},
                        {"model", model->config().to_json()},
                        {"parameters", model->parameter_count()},
                        {"batch", options.batch},
                        {"samples", options.samples},
                        {"recorded", !options.single && device.is_cuda()},
                        {"seconds_median", median},
                        {"seconds_p10", seconds[seconds.size() / 10]},
                        {"seconds_p90", seconds[seconds.size() * 9 / 10]},
                        {"samples_per_second", drawn / median},
                        {"peak_bytes", memory.peak_bytes}});
}

void run(const Options& options) {
  const c10::Device device = options.common.prepare();
  options.output.check();
  explain_out_of_memory(device, "lower --batch", [&] { measure(options, device); });
}

}  // namespace

void add_bench_generate(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("generate", "Samples per second of an audio model that draws clips");
  auto options = std::make_shared<Options>();
  command->add_option("--model", options->model,
                      "Run, checkpoint or model folder of audio train, instead of a new model");
  add_audio_model_options(*command, options->shape);
  command->add_option("--batch", options->batch, "Clips that are drawn at once")
      ->check(positive_number())
      ->capture_default_str();
  command->add_option("--samples", options->samples, "Samples of each clip in a repeat")
      ->check(positive_number())
      ->capture_default_str();
  command->add_option("--warmup", options->warmup, "Repeats before the timing")
      ->check(non_negative_number())
      ->capture_default_str();
  command->add_option("--repeats", options->repeats, "Timed repeats")
      ->check(positive_number())
      ->capture_default_str();
  command->add_flag("--single", options->single,
                    "On a GPU launch every step anew instead of repeating recorded ones");
  add_figures_options(*command, options->output);
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
