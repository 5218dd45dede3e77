#include "audio/quality.h"

#include <algorithm>
#include <cmath>

#include "audio/metrics/class_scores.h"
#include "audio/metrics/feature_moments.h"
#include "audio/metrics/kernel_distance.h"
#include "audio/metrics/resampling.h"
#include "core/base/error.h"

namespace strandwave::audio {
namespace {

constexpr double kLeastAccuracy = 0.95;
constexpr int64_t kLeastForInfinity = 100;
constexpr int64_t kLeastForKernel = 40;
constexpr int64_t kLeastForNdb = 40;

nlohmann::json interval_json(const Interval95& interval) {
  return {{"value", interval.value}, {"low", interval.low}, {"high", interval.high}};
}

class Evaluation {
 public:
  Evaluation(const NamedClips& reference, const QualityOptions& options)
      : reference_(reference),
        options_(options),
        features_(reference.clips.features.to(torch::kFloat64)),
        moments_(features_) {}

  int64_t dimensions() const { return features_.size(1); }

  nlohmann::json of(const NamedClips& candidate) {
    const torch::Tensor rows = candidate.clips.features.to(torch::kFloat64);
    nlohmann::json result = {
        {"name", candidate.name}, {"clips", candidate.clips.clips()}, {"rows", rows.size(0)}};
    say(candidate.name + ": Frechet distance");
    result["frechet"] = frechet(candidate.name, rows);
    if (rows.size(0) >= kLeastForInfinity) {
      const FrechetExtrapolation line = frechet_infinity(rows, moments_, options_.seed);
      result["frechet_infinity"] = {{"value", line.value}, {"r2", line.r2}, {"sizes", line.sizes}};
    }
    if (std::min(rows.size(0), features_.size(0)) >= kLeastForKernel) {
      say(candidate.name + ": kernel distance");
      const KernelDistance distance =
          kernel_distance(rows, features_, options_.seed, options_.bandwidth);
      result["kad"] = interval_json(distance.interval);
      result["kad"]["bandwidth"] = distance.bandwidth;
    }
    if (candidate.clips.log_probabilities.defined() && reference_.clips.log_probabilities.defined())
      add_class_scores(candidate.clips, rows, result);
    return result;
  }

  // Of the two candidates' Frechet distances; null where their clips are no pairs.
  nlohmann::json p_value(const NamedClips& a, const NamedClips& b) {
    if (options_.permutations == 0) return nullptr;
    if (a.clips.features.sizes() != b.clips.features.sizes()) {
      note("no p-value: " + a.name + " and " + b.name + " have not equally many clips");
      return nullptr;
    }
    return paired_permutation(
        a.clips.features.to(torch::kFloat64), b.clips.features.to(torch::kFloat64),
        options_.permutations, options_.seed,
        [&](const torch::Tensor& rows) { return frechet_distance(FeatureMoments(rows), moments_); },
        [&](int done) {
          say("permutations: " + std::to_string(done) + " of " +
              std::to_string(options_.permutations));
        });
  }

  void note(const std::string& text) { notes_.push_back(text); }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  void say(const std::string& text) const {
    if (options_.progress) options_.progress(text);
  }

  nlohmann::json frechet(const std::string& name, const torch::Tensor& rows) {
    const int64_t least = std::min(rows.size(0), features_.size(0));
    if (options_.resamples == 0 || least < 4 * dimensions()) {
      if (options_.resamples > 0)
        note(name + ": no interval of the Frechet distance, which needs 4 d = " +
             std::to_string(4 * dimensions()) + " rows on both sides; there are " +
             std::to_string(rows.size(0)) + " and " + std::to_string(features_.size(0)));
      return {{"value", frechet_distance(FeatureMoments(rows), moments_)},
              {"low", nullptr},
              {"high", nullptr}};
    }
    return interval_json(basic_bootstrap(
        rows.size(0), features_.size(0), options_.resamples, options_.seed,
        [&](const torch::Tensor& a, const torch::Tensor& b) {
          return frechet_distance(rows.index_select(0, a), features_.index_select(0, b));
        },
        [&](int done) {
          say(name + ": bootstrap " + std::to_string(done) + " of " +
              std::to_string(options_.resamples));
        }));
  }

  void add_class_scores(const EmbeddedClips& clips, const torch::Tensor& rows,
                        nlohmann::json& result) {
    const torch::Tensor& log_p = clips.log_probabilities;
    result["is"] = options_.sashimi ? sashimi_inception_score(log_p) : inception_score(log_p);
    result["mis"] = options_.sashimi ? sashimi_modified_inception_score(log_p)
                                     : modified_inception_score(log_p);
    result["am"] = am_score(reference_.clips.log_probabilities, log_p);
    if (std::min(rows.size(0), features_.size(0)) < kLeastForNdb) return;
    say("NDB");
    const NdbResult bins = ndb(features_, rows, options_.seed, options_.sashimi ? 50 : 0);
    result["ndb"] = {
        {"share", bins.share}, {"expected_share", bins.expected_share}, {"bins", bins.bins}};
  }

  const NamedClips& reference_;
  const QualityOptions& options_;
  torch::Tensor features_;
  FeatureMoments moments_;
  std::vector<std::string> notes_;
};

// What would make figures mislead, as an error or, with force, as a note.
class Caution {
 public:
  Caution(bool force, Evaluation& evaluation) : force_(force), evaluation_(evaluation) {}
  void about(const std::string& text) {
    if (!force_) throw usage_error(text + "; --force goes on all the same");
    evaluation_.note(text);
  }

 private:
  bool force_;
  Evaluation& evaluation_;
};

void require_same_embedding(const NamedClips& a, const NamedClips& b, Caution& caution) {
  if (a.clips.features.size(1) != b.clips.features.size(1))
    throw usage_error("the features of " + a.name + " have " +
                      std::to_string(a.clips.features.size(1)) + " numbers, those of " + b.name +
                      " " + std::to_string(b.clips.features.size(1)) +
                      ": make both with one embedding");
  if (a.clips.embedding != b.clips.embedding)
    caution.about("the features of " + a.name + " and " + b.name + " come from different " +
                  (a.clips.embedding.value("name", "") == b.clips.embedding.value("name", "")
                       ? "weights or settings"
                       : "embeddings") +
                  ": distances between them mean nothing");
}

void require_enough(const NamedClips& set, int64_t d, Caution& caution) {
  const int64_t rows = set.clips.features.size(0);
  if (rows < 2)
    throw input_error(set.name + " has " + std::to_string(rows) + (rows == 1 ? " clip" : " clips") +
                      ": a set's spread needs two at least, an honest figure many more");
  if (rows < 2 * d)
    caution.about(set.name + " has " + std::to_string(rows) + " clips for features of " +
                  std::to_string(d) +
                  " numbers: below 2 d the covariance has no full rank and the Frechet distance is "
                  "mostly its bias. Give more clips, or an embedding of fewer numbers");
}

// The classifier brings clips to one length itself; the log-mel statistics and VGGish's windows
// hear the silence that pads a clip.
void require_same_length(const NamedClips& a, const NamedClips& b, Caution& caution) {
  constexpr double kTolerance = 0.05;
  const double first = a.clips.mean_seconds, second = b.clips.mean_seconds;
  if (a.clips.embedding.value("name", "") == "classifier" || first == 0 || second == 0) return;
  if (std::abs(first - second) <= kTolerance * std::max(first, second)) return;
  const auto text = [](double seconds) {
    return std::to_string(std::lround(1000 * seconds)) + " ms";
  };
  caution.about(
      "the clips of " + a.name + " last " + text(first) + " on average, those of " + b.name + " " +
      text(second) +
      ": the distance would be that of their silence. Bring both to one length with audio "
      "prepare --clip-length");
}

void require_good_classifier(const nlohmann::json& embedding, Caution& caution) {
  if (embedding.value("name", "") != "classifier") return;
  if (!embedding.contains("accuracy"))
    caution.about("the classifier's accuracy is not known: test it with audio finetune");
  else if (embedding.at("accuracy").get<double>() < kLeastAccuracy)
    caution.about("the classifier is right on " +
                  std::to_string(std::lround(1000 * embedding.at("accuracy").get<double>()) / 10) +
                  " % of its test clips, below 95 %: scores from it judge the classifier rather "
                  "than the clips");
}

nlohmann::json distances_json(const torch::Tensor& distance) {
  return {{"clips", distance.size(0)},
          {"median", torch::quantile(distance, 0.5).item<double>()},
          {"q05", torch::quantile(distance, 0.05).item<double>()},
          {"least", distance.min().item<double>()}};
}

}  // namespace

nlohmann::json quality_of(const NamedClips& reference, const std::vector<NamedClips>& candidates,
                          const QualityOptions& options) {
  if (reference.clips.features.size(0) < 2)
    throw input_error(reference.name + " has one clip: a reference needs many");
  Evaluation evaluation(reference, options);
  Caution caution(options.force, evaluation);
  const int64_t d = evaluation.dimensions();
  require_good_classifier(reference.clips.embedding, caution);
  require_enough(reference, d, caution);
  for (const NamedClips& candidate : candidates) {
    require_same_embedding(reference, candidate, caution);
    require_same_length(reference, candidate, caution);
    require_enough(candidate, d, caution);
  }
  nlohmann::json result = {{"embedding", reference.clips.embedding},
                           {"profile", options.sashimi ? "sashimi" : "exact"},
                           {"reference",
                            {{"name", reference.name},
                             {"clips", reference.clips.clips()},
                             {"rows", reference.clips.features.size(0)}}},
                           {"d", d},
                           {"seed", options.seed},
                           {"candidates", nlohmann::json::array()}};
  for (const NamedClips& candidate : candidates)
    result["candidates"].push_back(evaluation.of(candidate));
  if (candidates.size() == 2) result["p_value"] = evaluation.p_value(candidates[0], candidates[1]);
  result["notes"] = evaluation.notes();
  return result;
}

nlohmann::json memorisation_of(const NamedClips& training, const NamedClips& generated,
                               const NamedClips& held_out) {
  constexpr size_t kShown = 10;
  for (const NamedClips* set : {&training, &generated, &held_out}) {
    if (set->clips.embedding != training.clips.embedding)
      throw usage_error("the features of " + set->name + " and " + training.name +
                        " come from different embeddings: make both with one");
    if (set->clips.features.size(0) != set->clips.clips())
      throw input_error("memorisation needs one row of features for each clip, " + set->name +
                        " has several: take another embedding, or clips of one second");
  }
  const torch::Tensor spread = training.clips.features.to(torch::kFloat64).std(0).clamp_min(1e-12);
  const auto scaled = [&](const NamedClips& set) {
    return set.clips.features.to(torch::kFloat64) / spread;
  };
  const torch::Tensor rows = scaled(training);
  const NearestClips of_generated = nearest_clips(scaled(generated), rows);
  const NearestClips of_held_out = nearest_clips(scaled(held_out), rows);
  const torch::Tensor limit = torch::quantile(of_held_out.distance, 0.01);
  nlohmann::json result = {
      {"training", training.clips.clips()},
      {"generated", distances_json(of_generated.distance)},
      {"held_out", distances_json(of_held_out.distance)},
      {"nearer_than_held_out",
       (of_generated.distance < limit).to(torch::kFloat64).mean().item<double>()},
      {"nearest", nlohmann::json::array()}};
  const torch::Tensor order = of_generated.distance.argsort();
  for (int64_t i = 0; i < std::min<int64_t>(kShown, order.size(0)); ++i) {
    const auto clip = order[i].item<int64_t>();
    result["nearest"].push_back(
        {{"clip", generated.clips.names[static_cast<size_t>(clip)]},
         {"training_clip",
          training.clips.names[static_cast<size_t>(of_generated.index[clip].item<int64_t>())]},
         {"distance", of_generated.distance[clip].item<double>()}});
  }
  return result;
}

}  // namespace strandwave::audio
