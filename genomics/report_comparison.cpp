#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "core/statistics/metrics.h"
#include "genomics/report_classifier.h"

namespace strandwave {
namespace {

using report::list_at;
using report::Markup;
using report::number_at;
using report::text_at;
using report::value_at;

// What a bootstrap draws: a group of test sequences, or one of them where there are no groups.
struct TestBlock {
  std::string name;
  double n = 0, right = 0;
};

// From predictions.tsv of the run; empty without one.
std::vector<TestBlock> predicted_blocks(const ReportRun& run) {
  std::vector<TestBlock> blocks;
  std::map<std::string, size_t> places;
  std::ifstream file(run.files.path / "predictions.tsv");
  std::string line;
  std::getline(file, line);  // the header
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string name, group, truth, prediction;
    for (std::string* field : {&name, &group, &truth, &prediction})
      std::getline(fields, *field, '\t');
    if (group == ".") group = name + "\t" + truth;
    const auto [place, fresh] = places.try_emplace(group, blocks.size());
    if (fresh) blocks.push_back({group});
    blocks[place->second].n += 1;
    blocks[place->second].right += prediction == truth ? 1 : 0;
  }
  return blocks;
}

std::vector<TestBlock> blocks_of(const ReportRun& run, const nlohmann::json& result) {
  std::vector<TestBlock> blocks = predicted_blocks(run);
  if (!blocks.empty()) return blocks;
  for (const nlohmann::json& group : list_at(result, "per_group")) {
    const double n = number_at(group, "n");
    blocks.push_back({text_at(group, "group"), n, n * number_at(group, "accuracy")});
  }
  return blocks;
}

// The interval where both were tested on the same blocks, and enough of them.
std::string paired_accuracy(const std::vector<TestBlock>& a, const std::vector<TestBlock>& b,
                            double plain) {
  std::vector<double> difference;
  std::vector<double> sizes;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (a[i].name != b[i].name || a[i].n != b[i].n) return report::with_sign(plain, 4);
    difference.push_back(a[i].right - b[i].right);
    sizes.push_back(a[i].n);
  }
  if (a.size() != b.size() || a.size() < kFewestGroups) return report::with_sign(plain, 4);
  const BootstrapInterval interval = block_bootstrap(difference, sizes, 1000, 0);
  return interval_text({interval.value, interval.low, interval.high}, 4, true);
}

}  // namespace

std::vector<Markup> compare_classifiers(const std::vector<const ReportRun*>& runs) {
  std::vector<const nlohmann::json*> results;
  std::vector<std::string> names;
  report::Table table;
  std::vector<const ReportRun*> tested;
  for (const ReportRun* run : runs)
    if (const nlohmann::json* result = main_result(run->test())) {
      tested.push_back(run);
      results.push_back(result);
      names.push_back(run->name());
    }
  if (results.size() < 2) return {};
  const MetricName* metric = main_metric(*results.front());
  if (metric == nullptr) return {};
  table = metric_table(results, names, "run");
  table.caption = "Each run on its own test; in brackets: 95 % interval";
  table.strong.clear();
  for (const ReportRun* run : tested) table.colours.push_back(run->colour);
  report::Table differences;
  differences.caption = std::string(metric->name) + ": row minus column";
  differences.header = {"run"};
  std::vector<std::vector<TestBlock>> blocks;
  for (size_t i = 0; i < results.size(); ++i) blocks.push_back(blocks_of(*tested[i], *results[i]));
  const auto difference = [&](size_t a, size_t b) {
    const double plain = figure_at(*results[a], metric->key) - figure_at(*results[b], metric->key);
    return std::string(metric->key) == "accuracy" ? paired_accuracy(blocks[a], blocks[b], plain)
                                                  : report::with_sign(plain, 4);
  };
  for (size_t row = 0; row < results.size(); ++row) {
    differences.header.push_back(names[row]);
    differences.rows.push_back({names[row]});
    differences.colours.push_back(tested[row]->colour);
    for (size_t column = 0; column < results.size(); ++column) {
      const bool alike =
          Setting(*results[row]) == Setting(*results[column]) &&
          value_at(*results[row], "n") == value_at(*results[column], "n") &&
          value_at(tested[row]->test(), "labels") == value_at(tested[column]->test(), "labels");
      differences.rows.back().push_back(row == column ? ""
                                        : alike       ? difference(row, column)
                                                      : "not on the same test");
    }
  }
  return {report::heading("Runs compared"), report::table(table), report::table(differences),
          report::paragraph("With a 95 % interval (paired bootstrap over groups, without groups "
                            "over sequences) where both runs were tested on the same ten or more.",
                            report::Tone::kNote)};
}

}  // namespace strandwave
