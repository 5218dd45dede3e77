#include "audio/classifier/classifier_measures.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/spelling.h"
#include "core/statistics/metrics.h"
#include "core/statistics/score_metrics.h"
#include "core/statistics/temperature.h"

namespace strandwave::audio {
namespace {

nlohmann::json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

}  // namespace

int64_t best_class(const std::vector<float>& log_probabilities) {
  return std::max_element(log_probabilities.begin(), log_probabilities.end()) -
         log_probabilities.begin();
}

nlohmann::json classifier_measures(const std::vector<std::string>& labels,
                                   std::span<const int64_t> truth,
                                   const std::vector<std::vector<float>>& log_probabilities) {
  if (truth.empty()) throw input_error("there are no labelled clips to measure a classifier on");
  ConfusionMatrix confusion(static_cast<int>(labels.size()));
  std::vector<double> confidence;
  std::vector<uint8_t> right;
  double log_loss = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const std::vector<float>& row = log_probabilities.at(i);
    const int64_t found = best_class(row);
    confusion.add(static_cast<int>(truth[i]), static_cast<int>(found));
    confidence.push_back(std::exp(static_cast<double>(row[static_cast<size_t>(found)])));
    right.push_back(found == truth[i]);
    log_loss -= row[static_cast<size_t>(truth[i])];
  }
  nlohmann::json recall = nlohmann::json::object();
  for (size_t c = 0; c < labels.size(); ++c)
    recall[labels[c]] = number_or_null(confusion.recall(static_cast<int>(c)));
  return {{"n", truth.size()},
          {"accuracy", confusion.accuracy()},
          {"macro_f1", confusion.macro_f1()},
          {"log_loss", log_loss / static_cast<double>(truth.size())},
          {"ece", reliability(confidence, right).expected_error},
          {"recall", recall},
          {"confusion", confusion.counts}};
}

double fit_clip_temperature(std::span<const int64_t> truth,
                            const std::vector<std::vector<float>>& log_probabilities) {
  // Log probabilities are logits up to one number per clip, which softmax does not see.
  std::vector<double> logits;
  for (const std::vector<float>& row : log_probabilities)
    logits.insert(logits.end(), row.begin(), row.end());
  return fit_temperature(logits, std::vector<int32_t>(truth.begin(), truth.end()));
}

std::vector<std::vector<float>> at_temperature(std::vector<std::vector<float>> log_probabilities,
                                               double temperature) {
  for (std::vector<float>& row : log_probabilities) {
    const double top = *std::max_element(row.begin(), row.end());
    double mass = 0;
    for (const float value : row) mass += std::exp((value - top) / temperature);
    for (float& value : row)
      value = static_cast<float>((value - top) / temperature - std::log(mass));
  }
  return log_probabilities;
}

std::vector<int64_t> classes_of_labels(const std::vector<std::string>& labels,
                                       const std::vector<std::string>& classes,
                                       const std::map<std::string, std::string>& translation) {
  std::vector<int64_t> positions;
  std::string missing;
  for (const std::string& label : labels) {
    const auto translated = translation.find(label);
    const std::string& name = translated == translation.end() ? label : translated->second;
    const auto found = std::find(classes.begin(), classes.end(), name);
    positions.push_back(found - classes.begin());
    if (found != classes.end()) continue;
    const std::string near = nearest_word(name, classes);
    missing += (missing.empty() ? "" : ", ") + ("\"" + name + "\"") +
               (near.empty() ? "" : " (nearest: \"" + near + "\")");
  }
  if (missing.empty()) return positions;
  std::string known;
  for (const std::string& name : classes) known += (known.empty() ? "" : ", ") + name;
  throw input_error("the classifier has no class " + missing + "; it knows " + known +
                    ". Leave such clips out, or translate the labels with --map FILE, lines of "
                    "label<TAB>class");
}

std::map<std::string, std::string> read_translation(const std::filesystem::path& path) {
  std::istringstream in(read_file(path));
  std::map<std::string, std::string> translation;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    const std::string where = path.string() + ", line " + std::to_string(number) + ": ";
    const size_t tab = line.find('\t');
    if (tab == 0 || tab == std::string::npos || tab + 1 == line.size() ||
        line.find('\t', tab + 1) != std::string::npos)
      throw input_error(where + "expected label<TAB>class, got \"" + line + "\"");
    if (!translation.emplace(line.substr(0, tab), line.substr(tab + 1)).second)
      throw input_error(where + "label \"" + line.substr(0, tab) + "\" is given twice");
  }
  return translation;
}

}  // namespace strandwave::audio
