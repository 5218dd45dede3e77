#include "genomics/calibration.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "core/base/spelling.h"

namespace strandwave {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// value(point) at `length`, linear in log2(length), constant beyond the ends. `points` not empty.
template <class Value>
double interpolated(const std::vector<CalibrationPoint>& points, int64_t length, Value value) {
  const auto above = std::find_if(points.begin(), points.end(), [&](const CalibrationPoint& point) {
    return point.length >= length;
  });
  if (above == points.begin()) return value(points.front());
  if (above == points.end()) return value(points.back());
  const CalibrationPoint& low = above[-1];
  const double x = std::log2(static_cast<double>(length));
  const double from = std::log2(static_cast<double>(low.length));
  const double to = std::log2(static_cast<double>(above->length));
  const double share = (x - from) / (to - from);
  return (1 - share) * value(low) + share * value(*above);
}

double threshold_of(const CalibrationPoint& point, double rate) {
  const auto& rates = Calibration::kFalsePositiveRates;
  for (size_t i = 0; i < point.thresholds.size(); ++i) {
    if (rates[i] > rate * (1 + 1e-9)) continue;
    if (i == 0) return point.thresholds[0];
    const double share = std::log(rates[i - 1] / rate) / std::log(rates[i - 1] / rates[i]);
    return (1 - share) * point.thresholds[i - 1] + share * point.thresholds[i];
  }
  return kNan;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

nlohmann::json points_to_json(const std::vector<CalibrationPoint>& points) {
  nlohmann::json list = nlohmann::json::array();
  for (const CalibrationPoint& point : points) {
    nlohmann::json thresholds = nlohmann::json::array();
    for (size_t i = 0; i < point.thresholds.size(); ++i)
      thresholds.push_back({Calibration::kFalsePositiveRates[i], point.thresholds[i]});
    list.push_back({{"length", point.length},
                    {"reads", point.reads},
                    {"temperature", point.temperature},
                    {"log_loss", point.log_loss},
                    {"raw_log_loss", point.raw_log_loss},
                    {"thresholds", thresholds}});
  }
  return list;
}

std::vector<double> thresholds_from_json(const nlohmann::json& value, const std::string& where) {
  std::vector<double> thresholds;
  const auto& rates = Calibration::kFalsePositiveRates;
  if (value.is_null()) return thresholds;
  if (!value.is_array() || value.size() > std::size(rates))
    throw input_error(where + ": \"thresholds\" must be a list of at most " +
                      std::to_string(std::size(rates)) + " pairs [rate, score]");
  for (const nlohmann::json& pair : value) {
    const double rate = rates[thresholds.size()];
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number() ||
        std::abs(pair[0].get<double>() - rate) > 1e-9)
      throw input_error(where + ": \"thresholds\": entry " + std::to_string(thresholds.size() + 1) +
                        " must be [" + number_text(rate) + ", score], got " + pair.dump());
    thresholds.push_back(pair[1].get<double>());
  }
  return thresholds;
}

std::vector<CalibrationPoint> points_from_json(const nlohmann::json& value,
                                               const std::string& where) {
  std::vector<CalibrationPoint> points;
  if (value.is_null()) return points;
  if (!value.is_array()) throw input_error(where + " must be a list, got " + value.dump());
  for (const nlohmann::json& entry : value) {
    const std::string here = where + " entry " + std::to_string(points.size() + 1);
    JsonObject object(entry, here);
    object.require({"length", "reads", "temperature"});
    CalibrationPoint point;
    point.length = object.integer("length", 0, 1, int64_t{1} << 40);
    point.reads = object.integer("reads", 0, 0, int64_t{1} << 40);
    point.temperature = object.number("temperature", 1, 1e-6, 1e6);
    point.log_loss = object.number("log_loss", 0, 0, 1e9);
    point.raw_log_loss = object.number("raw_log_loss", 0, 0, 1e9);
    point.thresholds = thresholds_from_json(object.value("thresholds"), here);
    object.finish();
    if (!points.empty() && point.length <= points.back().length)
      throw input_error(here + ": \"length\" must ascend, got " + std::to_string(point.length) +
                        " after " + std::to_string(points.back().length));
    points.push_back(std::move(point));
  }
  return points;
}

Calibration read_calibration(const nlohmann::json& value, const std::string& where) {
  JsonObject object(value, where);
  object.require({"format", "format_version", "labels"});
  if (object.string("format", "") != "strandwave calibration")
    throw input_error(where + ": \"format\" must be \"strandwave calibration\", got " +
                      object.value("format").dump());
  object.integer("format_version", 1, 1, 1);
  Calibration calibration;
  calibration.labels = object.strings("labels");
  const nlohmann::json& frequencies = object.value("class_frequencies");
  if (!frequencies.is_null()) {
    if (!frequencies.is_array() || frequencies.size() != calibration.labels.size())
      throw input_error(where + ": \"class_frequencies\" must be a list of " +
                        std::to_string(calibration.labels.size()) + " numbers, one per label");
    for (const nlohmann::json& frequency : frequencies) {
      if (!frequency.is_number() || !(frequency.get<double>() >= 0))
        throw input_error(where + ": \"class_frequencies\" must be numbers of 0 or more, got " +
                          frequency.dump());
      calibration.class_frequencies.push_back(frequency.get<double>());
    }
  }
  calibration.both_strands =
      points_from_json(object.value("both_strands"), where + ": \"both_strands\"");
  calibration.one_strand = points_from_json(object.value("one_strand"), where + ": \"one_strand\"");
  object.finish();
  return calibration;
}

}  // namespace

bool Calibration::has_thresholds() const {
  const auto measured = [](const CalibrationPoint& point) { return !point.thresholds.empty(); };
  return std::any_of(both_strands.begin(), both_strands.end(), measured) ||
         std::any_of(one_strand.begin(), one_strand.end(), measured);
}

double Calibration::temperature(int64_t length, bool both) const {
  const auto& points = both ? both_strands : one_strand;
  if (points.empty()) return 1;
  return interpolated(points, length,
                      [](const CalibrationPoint& point) { return point.temperature; });
}

double Calibration::threshold(int64_t length, double false_positive_rate, bool both) const {
  if (!(false_positive_rate > 0 && false_positive_rate <= kFalsePositiveRates[0]))
    throw usage_error("a false-positive rate must be above 0 and at most " +
                      number_text(kFalsePositiveRates[0]) + ", got " +
                      number_text(false_positive_rate));
  std::vector<CalibrationPoint> points;
  double least = 1;  // rate that the points know
  for (const CalibrationPoint& point : both ? both_strands : one_strand)
    if (!point.thresholds.empty()) {
      least = std::min(least, kFalsePositiveRates[point.thresholds.size() - 1]);
      if (!std::isnan(threshold_of(point, false_positive_rate))) points.push_back(point);
    }
  if (least == 1)
    throw usage_error(
        "the model has no thresholds of its out-of-distribution score: fine-tune it with a "
        "language-model weight (--lm-weight) and at least one validation read");
  if (points.empty())
    throw usage_error("a false-positive rate of " + number_text(false_positive_rate) +
                      " was not measurable: the validation reads of fine-tuning reach down to " +
                      number_text(least) + "; ask for more, or fine-tune with more of them");
  return interpolated(points, length, [&](const CalibrationPoint& point) {
    return threshold_of(point, false_positive_rate);
  });
}

nlohmann::json Calibration::to_json() const {
  nlohmann::json json = {{"format", "strandwave calibration"},
                         {"format_version", 1},
                         {"labels", labels},
                         {"both_strands", points_to_json(both_strands)},
                         {"one_strand", points_to_json(one_strand)}};
  if (!class_frequencies.empty()) json["class_frequencies"] = class_frequencies;
  return json;
}

Calibration Calibration::from_json(const nlohmann::json& value, const std::string& where) {
  try {
    return read_calibration(value, where);
  } catch (const Error& error) {  // a file is wrong, not a command
    throw input_error(error.what());
  }
}

std::string calibration_text(const Calibration& calibration) {
  return calibration.to_json().dump(1) + "\n";
}

Calibration parse_calibration(const std::string& text, const std::string& where) {
  return Calibration::from_json(parse_json(text, where), where);
}

double rejection_auroc(std::span<const float> inside, std::span<const float> outside) {
  std::vector<std::pair<float, bool>> scores;
  double counts[2] = {0, 0};
  const auto take = [&](std::span<const float> values, bool positive) {
    for (const float value : values)
      if (!std::isnan(value)) {
        scores.emplace_back(value, positive);
        ++counts[positive];
      }
  };
  take(inside, false);
  take(outside, true);
  if (counts[0] == 0 || counts[1] == 0) return kNan;
  std::sort(scores.begin(), scores.end());
  double below = 0, wins = 0;  // inside reads with a lower score; pairs won
  for (size_t i = 0; i < scores.size();) {
    double tied[2] = {0, 0};
    size_t j = i;
    for (; j < scores.size() && scores[j].first == scores[i].first; ++j) ++tied[scores[j].second];
    wins += tied[1] * (below + tied[0] / 2);
    below += tied[0];
    i = j;
  }
  return wins / (counts[0] * counts[1]);
}

std::vector<double> read_prior(const std::string& choice, const std::vector<std::string>& labels,
                               const Calibration& calibration) {
  if (choice.empty() || choice == "uniform") return {};
  if (choice == "train") {
    if (calibration.class_frequencies.empty())
      throw usage_error(std::string("--prior train: the model's ") + kCalibrationFile +
                        " does not hold the frequencies of its training data; give a file of lines "
                        "\"label<TAB>weight\"");
    return calibration.class_frequencies;
  }
  std::ifstream file(choice);
  if (!file)
    throw usage_error(
        "--prior is \"uniform\", \"train\" or a file of lines \"label<TAB>weight\"; "
        "there is no file \"" +
        choice + "\"");
  std::vector<double> prior(labels.size(), kNan);
  std::string line;
  double sum = 0;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    const std::string where = choice + " line " + std::to_string(number) + ": ";
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    const size_t tab = line.rfind('\t');
    if (tab == std::string::npos)
      throw input_error(where + "expected label<TAB>weight, got \"" + line + "\"");
    const std::string label = line.substr(0, tab), text = line.substr(tab + 1);
    const auto found = std::find(labels.begin(), labels.end(), label);
    if (found == labels.end()) {
      const std::string near = nearest_word(label, labels);
      throw input_error(where + "the model has no class \"" + label + "\"" +
                        (near.empty() ? "" : "; the nearest is \"" + near + "\""));
    }
    double& weight = prior[static_cast<size_t>(found - labels.begin())];
    if (!std::isnan(weight)) throw input_error(where + "class \"" + label + "\" is given twice");
    char* end = nullptr;
    weight = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(weight) || weight < 0)
      throw input_error(where + "the weight must be a number of 0 or more, got \"" + text + "\"");
    sum += weight;
  }
  for (size_t c = 0; c < labels.size(); ++c)
    if (std::isnan(prior[c]))
      throw input_error(choice + ": no weight for class \"" + labels[c] + "\"");
  if (!(sum > 0)) throw input_error(choice + ": at least one weight must be above 0");
  for (double& weight : prior) weight /= sum;
  return prior;
}

}  // namespace strandwave
