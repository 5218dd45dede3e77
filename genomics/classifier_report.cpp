#include "genomics/classifier_report.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "genomics/finetune_task.h"

namespace strandwave {
namespace {

struct Figure {
  const char* key;
  const char* title;
};

std::vector<Figure> figures_of(const std::string& kind) {
  if (kind == "regression")
    return {{"r2", "R2"},
            {"pearson", "Pearson"},
            {"spearman", "Spearman"},
            {"mae", "MAE"},
            {"rmse", "RMSE"}};
  if (kind == "multi_label")
    return {{"auroc", "AUROC"},       {"auprc", "AUPRC"}, {"accuracy", "accuracy"},
            {"macro_f1", "macro F1"}, {"ece", "ECE"},     {"log_loss", "log loss"}};
  return {{"accuracy", "accuracy"}, {"balanced_accuracy", "balanced"},
          {"macro_f1", "macro F1"}, {"matthews", "MCC"},
          {"auroc", "AUROC"},       {"auprc", "AUPRC"},
          {"ece", "ECE"},           {"log_loss", "log loss"}};
}

std::string text_of(double value, const char* format = "%.4f") {
  if (!std::isfinite(value)) return "";
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string text_of(const nlohmann::json& object, const char* key, const char* format = "%.4f") {
  const auto found = object.find(key);
  return found == object.end() || !found->is_number() ? "" : text_of(found->get<double>(), format);
}

// Columns that tell the results apart; those that are the same everywhere are left out.
struct CellColumns {
  bool set = false, length = false, error_rate = false;

  explicit CellColumns(const nlohmann::json& results) {
    for (const nlohmann::json& result : results) {
      set |= result.at("set") != results[0].at("set");
      length |= result.at("length") != results[0].at("length");
      error_rate |= result.at("error_rate") != results[0].at("error_rate");
    }
  }
  std::vector<std::string> header() const {
    std::vector<std::string> row = {"predictor"};
    if (set) row.emplace_back("set");
    if (length) row.emplace_back("bases");
    if (error_rate) row.emplace_back("errors");
    return row;
  }
  std::vector<std::string> row(const nlohmann::json& result) const {
    std::vector<std::string> row = {result.at("name")};
    if (set) row.push_back(result.at("set"));
    if (length) row.push_back(std::to_string(result.at("length").get<int64_t>()));
    if (error_rate) row.push_back(text_of(result, "error_rate", "%g"));
    return row;
  }
};

std::string interval_text(const nlohmann::json& result, const char* key) {
  const auto found = result.find("intervals");
  if (found == result.end() || !found->contains(key)) return "";
  const nlohmann::json& interval = found->at(key);
  // An interval from a few groups would only look like one.
  constexpr int64_t kFewest = 5;
  if (found->at("blocks").get<int64_t>() < kFewest) return "few groups";
  if (!interval[1].is_number() || !interval[2].is_number()) return "";
  return text_of(interval[1].get<double>()) + " to " + text_of(interval[2].get<double>());
}

std::string tsv_field(std::string text) {
  for (char& c : text)
    if (c == '\t' || c == '\n' || c == '\r') c = ' ';
  return text;
}

std::string join(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

// Labels whose value is above one half, as the data write them; "." for none.
std::string present_labels(const std::vector<float>& values,
                           const std::vector<std::string>& labels) {
  std::vector<std::string> present;
  for (size_t c = 0; c < labels.size(); ++c)
    if (values[c] > 0.5F) present.push_back(labels[c]);
  return present.empty() ? "." : join(present, ";");
}

std::string numbers(const std::vector<float>& values) {
  std::vector<std::string> texts;
  for (const float value : values) texts.push_back(text_of(value, "%.6g"));
  return join(texts, ";");
}

std::string predictions_tsv(const TestSet& set, const std::vector<LabelledFragment>& fragments,
                            const PredictionTable& table) {
  std::string text = "name\tgroup\ttruth\tprediction";
  for (const std::string& label : set.labels)
    text += (set.kind == LabelKind::kRegression ? "\t" : "\tp_") + tsv_field(label);
  text += "\toverlaps_training\n";
  for (size_t i = 0; i < fragments.size(); ++i) {
    const LabelledFragment& fragment = fragments[i];
    const std::vector<float>& values = table.values[i];
    std::string truth, prediction;
    if (set.kind == LabelKind::kClass) {
      truth = set.labels[static_cast<size_t>(fragment.label)];
      prediction = set.labels[static_cast<size_t>(table.classes[i])];
    } else if (set.kind == LabelKind::kMultiLabel) {
      truth = present_labels(fragment.targets, set.labels);
      prediction = present_labels(values, set.labels);
    } else {
      truth = numbers(fragment.targets);
      prediction = numbers(values);
    }
    text +=
        tsv_field(fragment.name) + '\t' +
        (fragment.group < 0 ? "." : tsv_field(set.groups[static_cast<size_t>(fragment.group)])) +
        '\t' + tsv_field(truth) + '\t' + tsv_field(prediction);
    for (const float value : values) text += '\t' + text_of(value, "%.6g");
    text += fragment.overlaps_training ? "\tyes\n" : "\tno\n";
  }
  return text;
}

}  // namespace

LabelKind label_kind(HeadConfig::Kind head) {
  switch (head) {
    case HeadConfig::Kind::kClassifier:
      return LabelKind::kClass;
    case HeadConfig::Kind::kMultiLabel:
      return LabelKind::kMultiLabel;
    case HeadConfig::Kind::kRegression:
      return LabelKind::kRegression;
    case HeadConfig::Kind::kLanguageModel:
      break;
  }
  throw usage_error("a language model has no labels");
}

std::string kind_name(LabelKind kind) {
  if (kind == LabelKind::kMultiLabel) return "multi_label";
  return kind == LabelKind::kRegression ? "regression" : "classifier";
}

PredictionTable ModelPredictor::predict(const std::vector<LabelledFragment>& fragments,
                                        int64_t /*length*/) const {
  std::vector<std::vector<float>> values;
  for (Prediction& prediction : predict_fragments(classifier_, fragments, progress_))
    values.push_back(std::move(prediction.probabilities));
  return decided(std::move(values));
}

TestSet test_set(const LabelledFragments& data, Split split, int64_t per_class) {
  const auto fragments = [&data, split, per_class](const FixedOptions& how) {
    return data.fixed(split, per_class, how);
  };
  const FragmentOptions& options = data.options();
  return {data.task(), data.labels(), data.groups(), fragments,
          options.lengths.empty() ? options.length : 0};
}

TestReport test_predictors(const TestSet& set, const Predictors& predictors,
                           const TestOptions& options,
                           const std::function<void(const std::string&)>& progress) {
  TestReport report;
  report.json = {{"kind", kind_name(set.kind)},
                 {"labels", set.labels},
                 {"results", nlohmann::json::array()},
                 {"curves", nlohmann::json::object()}};
  for (const int64_t length : options.lengths)
    for (const double error_rate : options.error_rates) {
      const std::vector<LabelledFragment> fragments = set.fragments({length, error_rate});
      if (fragments.empty())
        throw input_error("there is nothing to test on at a length of " + std::to_string(length) +
                          " bases: give shorter --test-lengths or longer sequences");
      const Truths truths = truths_of(set.kind, set.labels, set.groups, fragments);
      std::vector<uint8_t> apart;
      for (const LabelledFragment& fragment : fragments)
        apart.push_back(!fragment.overlaps_training);
      const auto clean = std::count(apart.begin(), apart.end(), 1);
      for (const auto& predictor : predictors) {
        if (progress)
          progress(predictor->name() +
                   (length > 0 ? " at " + std::to_string(length) + " bases" : "") +
                   (error_rate > 0 ? ", errors " + text_of(error_rate, "%g") : ""));
        const PredictionTable table = predictor->predict(fragments, length);
        const auto add = [&](const char* which, nlohmann::json figures) {
          figures.update({{"name", predictor->name()},
                          {"set", which},
                          {"length", length > 0 ? length : set.length},
                          {"error_rate", error_rate}});
          report.json["results"].push_back(std::move(figures));
        };
        if (report.predictions.empty()) {
          report.predictions = predictions_tsv(set, fragments, table);
          report.json["curves"] = curves(truths, table);
        }
        add("all", measure(truths, table, options.measure));
        if (clean > 0 && clean < static_cast<int64_t>(fragments.size()))
          add("without overlap",
              measure(selected(truths, apart), selected(table, apart), options.measure));
      }
    }
  return report;
}

TextTable results_table(const nlohmann::json& report) {
  const nlohmann::json& results = report.at("results");
  const CellColumns cell(results);
  const std::vector<Figure> figures = figures_of(report.at("kind"));
  TextTable table = {cell.header()};
  table[0].emplace_back("n");
  for (const Figure& figure : figures) {
    table[0].emplace_back(figure.title);
    if (figure.key == figures[0].key) table[0].emplace_back("(95 %)");
  }
  for (const nlohmann::json& result : results) {
    table.push_back(cell.row(result));
    std::vector<std::string>& row = table.back();
    row.push_back(std::to_string(result.at("n").get<int64_t>()));
    for (const Figure& figure : figures) {
      row.push_back(text_of(result, figure.key));
      if (figure.key == figures[0].key) row.push_back(interval_text(result, figure.key));
    }
  }
  return table;
}

TextTable confusion_table(const nlohmann::json& report) {
  constexpr size_t kMostClasses = 12;
  const nlohmann::json& first = report.at("results").at(0);
  const auto& labels = report.at("labels");
  if (!first.contains("confusion") || labels.size() > kMostClasses) return {};
  TextTable table = {{"true \\ predicted"}};
  for (const nlohmann::json& label : labels) table[0].push_back(label);
  for (size_t truth = 0; truth < labels.size(); ++truth) {
    table.push_back({labels[truth]});
    for (const nlohmann::json& count : first.at("confusion")[truth])
      table.back().push_back(std::to_string(count.get<int64_t>()));
  }
  return table;
}

TextTable group_table(const nlohmann::json& report) {
  const nlohmann::json& groups = report.at("results").at(0).at("per_group");
  if (groups.empty()) return {};
  const char* key = report.at("kind") == "regression" ? "mae" : "accuracy";
  TextTable table = {{"group", "n", report.at("kind") == "regression" ? "MAE" : "accuracy"}};
  for (const nlohmann::json& group : groups)
    table.push_back(
        {group.at("group"), std::to_string(group.at("n").get<int64_t>()), text_of(group, key)});
  return table;
}

nlohmann::json fold_summary(const std::vector<nlohmann::json>& reports) {
  nlohmann::json summary = {{"kind", reports.at(0).at("kind")},
                            {"labels", reports[0].at("labels")},
                            {"folds", reports.size()},
                            {"results", nlohmann::json::array()}};
  const auto same = [](const nlohmann::json& a, const nlohmann::json& b) {
    for (const char* key : {"name", "set", "length", "error_rate"})
      if (a.at(key) != b.at(key)) return false;
    return true;
  };
  for (const nlohmann::json& first : reports[0].at("results")) {
    nlohmann::json result;
    for (const char* key : {"name", "set", "length", "error_rate"}) result[key] = first.at(key);
    for (const Figure& figure : figures_of(summary.at("kind"))) {
      std::vector<double> values;
      for (const nlohmann::json& report : reports)
        for (const nlohmann::json& other : report.at("results"))
          if (same(first, other) && other.contains(figure.key) && other[figure.key].is_number())
            values.push_back(other[figure.key]);
      if (values.empty()) continue;
      double mean = 0, squares = 0;
      for (const double value : values) mean += value / static_cast<double>(values.size());
      for (const double value : values) squares += (value - mean) * (value - mean);
      result[figure.key] = {{"mean", mean}, {"values", values}};
      if (values.size() > 1)
        result[figure.key]["deviation"] =
            std::sqrt(squares / static_cast<double>(values.size() - 1));
    }
    summary["results"].push_back(std::move(result));
  }
  return summary;
}

TextTable fold_table(const nlohmann::json& summary) {
  const CellColumns cell(summary.at("results"));
  const std::vector<Figure> figures = figures_of(summary.at("kind"));
  TextTable table = {cell.header()};
  for (const Figure& figure : figures) table[0].emplace_back(figure.title);
  for (const nlohmann::json& result : summary.at("results")) {
    table.push_back(cell.row(result));
    for (const Figure& figure : figures) {
      const auto found = result.find(figure.key);
      std::string text;
      if (found != result.end()) {
        text = text_of(*found, "mean");
        if (found->contains("deviation")) text += " +- " + text_of(*found, "deviation");
      }
      table.back().push_back(text);
    }
  }
  return table;
}

}  // namespace strandwave
