#include "genomics/language_model_report.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/json_lines.h"
#include "core/base/progress.h"
#include "genomics/base_predictor.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

nlohmann::json to_json(const std::vector<RegionBits>& regions) {
  nlohmann::json list = nlohmann::json::array();
  for (const RegionBits& region : regions)
    list.push_back({{"name", region.name},
                    {"positions", region.positions},
                    {"bits_per_base", region.bits_per_base}});
  return list;
}

int64_t known_bases(const Genome& genome, const Intervals& intervals) {
  int64_t bases = 0;
  for (const Interval& i : intervals)
    bases += i.length() - genome.count_unknown(i.contig, i.start, i.end);
  return bases;
}

// What the model has read of the training intervals, if that is known and not all of it.
std::optional<Intervals> part_seen(const Genome& genome, const Splits& splits,
                                   const LanguageModelTest& test) {
  if (!test.training) return std::nullopt;
  std::optional<Intervals> seen = test.training->seen_on(genome);
  if (!seen || known_bases(genome, intersect_intervals(splits.train, *seen)) ==
                   known_bases(genome, splits.train))
    return std::nullopt;
  return seen;
}

class Baselines {
 public:
  Baselines(const Genome& genome, const Splits& splits, const LanguageModelTest& test,
            const ScoredWindows& scored)
      : genome_(genome), splits_(splits), test_(test), scored_(scored) {}

  void add_markov(const Intervals& training, const char* name) {
    show("counting for the Markov models");
    MarkovModel model(*std::max_element(test_.orders.begin(), test_.orders.end()));
    model.count(genome_, training);
    add(MarkovPredictor(model, test_.orders), {{"training", name}});
  }

  void add_cnn() {
    CausalCnnTraining training = *test_.cnn;
    training.progress = [&](double way) {
      show("training the causal CNN: " + std::to_string(static_cast<int>(100 * way)) + " %");
    };
    const CausalCnnPredictor cnn = CausalCnnPredictor::train({}, training);
    add(cnn, {{"training", "all"},
              {"seconds", cnn.seconds()},
              {"steps", cnn.steps()},
              {"parameters", cnn.parameter_count()}});
  }

  nlohmann::json take() { return std::move(list_); }

 private:
  void show(const std::string& text) const {
    if (test_.progress) test_.progress(text);
  }

  void add(const BasePredictor& predictor, const nlohmann::json& facts) {
    const auto done = [&](int64_t bases) {
      show("testing " + predictor.names()[0] +
           " and the like: " + format_count(static_cast<double>(bases)) + " bases");
    };
    for (const PredictorComparison& c :
         compare_with(predictor, scored_, genome_, splits_.test, done)) {
      nlohmann::json entry = {
          {"name", c.name},
          {"bits_per_base", c.bits_per_base},
          {"difference", {c.difference.value, c.difference.low, c.difference.high}},
          {"blocks", c.difference.blocks},
          {"regions", to_json(c.regions)}};
      entry.update(facts);
      list_.push_back(std::move(entry));
    }
  }

  const Genome& genome_;
  const Splits& splits_;
  const LanguageModelTest& test_;
  const ScoredWindows& scored_;
  nlohmann::json list_ = nlohmann::json::array();
};

nlohmann::json context_json(const ScoredWindows& scored) {
  nlohmann::json list = nlohmann::json::array();
  for (const ContextBits& bucket : bits_by_context(scored))
    list.push_back({{"first", bucket.first},
                    {"last", bucket.last},
                    {"positions", bucket.positions},
                    {"bits_per_base", bucket.bits_per_base}});
  return list;
}

}  // namespace

nlohmann::json test_language_model(SequenceModel& model, const Genome& genome, const Splits& splits,
                                   const LanguageModelTest& test) {
  if (splits.test.empty())
    throw usage_error(
        "there is nothing to test on: name a region with --test or a BED with --split");
  RateMeter meter;
  meter.start(0);
  const ScoredWindows scored = score_windows(
      model, genome, evaluation_windows(genome, splits.test, test.window, test.max_bases),
      test.batch_tokens, [&](int64_t done) {
        if (test.progress)
          test.progress("testing: " + format_count(static_cast<double>(done)) + " bases, " +
                        format_count(meter.rate(static_cast<double>(done))) + " bases/s");
      });
  const ModelBits summary = summarise(scored, genome);
  Baselines baselines(genome, splits, test, scored);
  if (!test.orders.empty()) {
    baselines.add_markov(splits.train, "all");
    if (const std::optional<Intervals> seen = part_seen(genome, splits, test))
      baselines.add_markov(*seen, "seen");
  }
  if (test.cnn) baselines.add_cnn();
  nlohmann::json result = {{"kind", "language_model"},
                           {"window", test.window},
                           {"positions", scored.positions()},
                           {"bits_per_base", scored.bits_per_base()},
                           {"regions", to_json(summary.regions)},
                           {"baselines", baselines.take()},
                           {"context", context_json(scored)},
                           {"block_sums",
                            {{"size", BlockBits::kSize},
                             {"positions", summary.blocks.positions},
                             {"bits", summary.blocks.bits}}}};
  if (test.training) {
    Intervals targets;
    for (const Window& w : scored.windows) targets.push_back({w.contig, w.start, w.end, {}, '.'});
    if (const auto seen = test.training->seen_fraction(genome, targets))
      result["seen_in_training"] = seen->to_json();
  }
  return result;
}

std::optional<double> training_seconds(const fs::path& run_or_model) {
  fs::path log = fs::weakly_canonical(run_or_model);
  // A run itself; its best/; one of its checkpoints/.
  for (int up = 0; up < 2 && !fs::exists(log / "log.jsonl"); ++up) log = log.parent_path();
  if (!fs::exists(log / "log.jsonl")) return std::nullopt;
  double seconds = 0, before = 0;
  for (const nlohmann::json& record : read_json_lines(log / "log.jsonl")) {
    if (record.value("type", "") != "train") continue;
    const nlohmann::json tokens = record.value("tokens", nlohmann::json());
    const nlohmann::json rate = record.value("tokens_per_second", nlohmann::json());
    if (!tokens.is_number() || !rate.is_number() || rate.get<double>() <= 0) continue;
    seconds += (tokens.get<double>() - before) / rate.get<double>();
    before = tokens.get<double>();
  }
  if (seconds <= 0) return std::nullopt;
  return seconds;
}

std::function<torch::Tensor(int64_t step)> random_training_windows(const Genome& genome,
                                                                   const Intervals& training,
                                                                   int64_t window, int64_t tokens,
                                                                   uint64_t seed) {
  int64_t longest = 0;
  for (const Interval& interval : training) longest = std::max(longest, interval.length());
  const int64_t length = std::min(window, longest);
  const int64_t rows = std::max<int64_t>(1, tokens / std::max<int64_t>(1, length));
  const auto sampler = std::make_shared<WindowSampler>(genome, training, length);
  return [genome, sampler, length, rows, seed](int64_t step) {
    torch::Tensor windows = torch::empty({rows, length + 1}, torch::kUInt8);
    uint8_t* ids = windows.data_ptr<uint8_t>();
    for (int64_t row = 0; row < rows; ++row, ids += length + 1) {
      const Window w = sampler->window(seed, static_cast<uint64_t>(step * rows + row));
      ids[0] = dna::kBos;
      genome.fetch(w.contig, w.start, w.end, ids + 1, w.reverse);
    }
    return windows;
  };
}

}  // namespace strandwave
