#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>

#include "apps/bench.h"
#include "apps/dna_model.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/training_options.h"
#include "apps/version.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/runtime/accelerator.h"
#include "core/runtime/out_of_memory.h"
#include "core/training/flat_parameters.h"
#include "core/training/optimizer.h"
#include "genomics/bits_per_base.h"
#include "genomics/io/tokenizer.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  ModelOptions model;
  std::string precision = "auto";
  FiguresOutput output;
  int64_t vocabulary = dna::kPaddedVocabulary;
  int64_t batch = 1;
  int64_t length = 131072;
  int64_t warmup = 3;
  int64_t repeats = 10;
  bool recompute = false;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

torch::Tensor random_ids(const Options& options) {
  torch::Tensor ids = torch::empty({options.batch, options.length}, torch::kLong);
  const RandomStream stream(0, RandomPurpose::kSynthetic);
  const bool dna_tokens = options.vocabulary == dna::kPaddedVocabulary;
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data_ptr<int64_t>()[i] =
        dna_tokens ? dna::kA + static_cast<int64_t>(stream.below(static_cast<uint64_t>(i), 4))
                   : static_cast<int64_t>(stream.below(static_cast<uint64_t>(i),
                                                       static_cast<uint64_t>(options.vocabulary)));
  return ids;
}

// Seconds of each step: forward, backward, clipping and AdamW on `ids`.
std::vector<double> time_steps(const std::shared_ptr<SequenceModel>& model, const Options& options,
                               bool lower, c10::Device device) {
  FlatParameters parameters(model, &SequenceModel::decays, &SequenceModel::lowered, lower, device);
  AdamW optimizer(parameters, {});
  const torch::Tensor ids = random_ids(options).to(device);
  const torch::Tensor inputs = shifted_inputs(ids);
  std::vector<double> seconds;
  for (int64_t i = 0; i < options.warmup + options.repeats; ++i) {
    synchronize(device);
    if (i == options.warmup) reset_peak_memory(device);
    const double start = seconds_now();
    const torch::Tensor loss =
        model->language_model_loss(inputs, ids).loss.sum() / static_cast<double>(ids.numel());
    loss.backward();
    parameters.collect_gradients();
    optimizer.step(1e-3, loss.detach());
    synchronize(device);
    if (i >= options.warmup) seconds.push_back(seconds_now() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

void measure(const Options& options, c10::Device device) {
  ModelConfig config = shaped_config(options.model);
  require_language_model(config, options.model.config);
  config.vocab_size = options.vocabulary;
  if (options.vocabulary != dna::kPaddedVocabulary) config.valid_vocab_size = 0;
  const auto model = std::make_shared<SequenceModel>(config, 0);
  if (options.recompute) model->set_recomputation(Recomputation::kLayer);
  const bool bf16 =
      options.precision == "bf16" || (options.precision == "auto" && device.is_cuda());
  const std::vector<double> seconds = time_steps(model, options, bf16, device);

  const double median = seconds[seconds.size() / 2];
  const auto tokens = static_cast<double>(options.batch * options.length);
  const DeviceMemory memory = device_memory(device);
  const nlohmann::json result = {{"benchmark", "train"},
                                 {"version", STRANDWAVE_VERSION},
                                 {"command", command_line()},
                                 {"device", device_description(device)},
                                 {"d_model", config.d_model},
                                 {"layers", config.stack},
                                 {"vocabulary", config.vocab_size},
                                 {"parameters", model->parameter_count()},
                                 {"batch", options.batch},
                                 {"length", options.length},
                                 {"precision", bf16 ? "bf16" : "fp32"},
                                 {"recompute", options.recompute},
                                 {"seconds_median", median},
                                 {"seconds_p10", seconds[seconds.size() / 10]},
                                 {"seconds_p90", seconds[seconds.size() * 9 / 10]},
                                 {"tokens_per_second", tokens / median},
                                 {"peak_bytes", memory.peak_bytes}};
  options.output.tables() << device_description(device) << ", d_model " << config.d_model << ", "
                          << config.stack << ", " << options.batch << " x " << options.length
                          << ", " << (bf16 ? "bf16" : "fp32") << ": "
                          << format_number("%.3f", tokens / median / 1e6) << " Mtok/s, step "
                          << format_number("%.2f", median * 1e3) << " ms (p10 "
                          << format_number("%.2f", seconds[seconds.size() / 10] * 1e3) << ", p90 "
                          << format_number("%.2f", seconds[seconds.size() * 9 / 10] * 1e3)
                          << "), peak " << format_bytes(memory.peak_bytes) << '\n';
  options.output.write(result);
}

void run(const Options& options) {
  const c10::Device device = options.common.prepare();
  options.output.check();
  explain_out_of_memory(device, "lower --batch or --length, or give --recompute",
                        [&] { measure(options, device); });
}

}  // namespace

void add_bench_train(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("train", "Tokens per second and memory of a whole training step");
  auto options = std::make_shared<Options>();
  add_model_options(*command, options->model);
  command->add_option("--vocabulary", options->vocabulary, "Rows of the embedding")
      ->check(positive_number())
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Sequences per step")
      ->check(positive_number())
      ->capture_default_str();
  command->add_option("--length", options->length, "Tokens per sequence")
      ->check(positive_number())
      ->capture_default_str();
  command->add_option("--precision", options->precision, "auto (bf16 on a GPU), fp32 or bf16")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--warmup", options->warmup, "Steps before the timing")
      ->check(non_negative_number())
      ->capture_default_str();
  command->add_option("--repeats", options->repeats, "Timed steps")
      ->check(positive_number())
      ->capture_default_str();
  command->add_flag("--recompute", options->recompute,
                    "Recompute activations in the backward pass");
  add_figures_options(*command, options->output);
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
