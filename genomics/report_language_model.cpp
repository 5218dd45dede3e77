#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/base/progress.h"
#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "core/report/svg_chart.h"
#include "core/statistics/metrics.h"
#include "genomics/report_run.h"

namespace strandwave {
namespace {

using report::as_number;
using report::fixed;
using report::grouped;
using report::list_at;
using report::Markup;
using report::number_at;
using report::text_at;
using report::value_at;
using report::with_sign;

// An interval from fewer blocks would only look like one.
constexpr double kFewestBlocks = 10;

// "all" or none: as good as the model's chances were; "seen": counted on what the model read.
std::string baseline_name(const nlohmann::json& baseline) {
  const std::string training = text_at(baseline, "training");
  const std::string name = text_at(baseline, "name");
  return training.empty() || training == "all" ? name : name + " (" + training + ")";
}

// The limits of a difference as good as unknown when few blocks were drawn.
nlohmann::json trusted_difference(const nlohmann::json& baseline) {
  nlohmann::json difference = value_at(baseline, "difference");
  const double blocks = number_at(baseline, "blocks");
  if (blocks < kFewestBlocks && difference.is_array() && !difference.empty())
    return nlohmann::json::array({difference[0]});
  return difference;
}

double limit(const nlohmann::json& interval, size_t index) {
  return interval.is_array() && interval.size() == 3 ? as_number(interval[index]) : NAN;
}

const nlohmann::json* best_baseline(const nlohmann::json& test) {
  const nlohmann::json* best = nullptr;
  for (const nlohmann::json& baseline : list_at(test, "baselines")) {
    const double bits = number_at(baseline, "bits_per_base");
    if (std::isfinite(bits) && (best == nullptr || bits < number_at(*best, "bits_per_base")))
      best = &baseline;
  }
  return best;
}

// The baselines that a chart has room for: the best five, the best of each kind of training data,
// and what is no Markov model, of which there is one per order. In the order of the file.
std::vector<const nlohmann::json*> charted_baselines(const nlohmann::json& test) {
  std::vector<const nlohmann::json*> best;
  for (const nlohmann::json& baseline : list_at(test, "baselines"))
    if (std::isfinite(number_at(baseline, "bits_per_base"))) best.push_back(&baseline);
  std::sort(best.begin(), best.end(), [](const nlohmann::json* a, const nlohmann::json* b) {
    return std::pair(number_at(*a, "bits_per_base"), a) <
           std::pair(number_at(*b, "bits_per_base"), b);
  });
  std::set<std::string> trainings;
  std::vector<const nlohmann::json*> chosen;
  for (const nlohmann::json* baseline : best) {
    const bool first = trainings.insert(text_at(*baseline, "training")).second;
    const bool markov = text_at(*baseline, "name").rfind("Markov", 0) == 0;
    if (chosen.size() < 5 || first || !markov) chosen.push_back(baseline);
  }
  std::sort(chosen.begin(), chosen.end());  // they lie in one array
  return chosen;
}

double region_bits(const nlohmann::json& of, const std::string& region) {
  for (const nlohmann::json& entry : list_at(of, "regions"))
    if (text_at(entry, "name") == region) return number_at(entry, "bits_per_base");
  return NAN;
}

std::vector<std::string> region_names(const std::vector<const ReportRun*>& runs) {
  std::vector<std::string> names;
  for (const ReportRun* run : runs)
    for (const nlohmann::json& entry : list_at(run->test(), "regions"))
      if (const std::string name = text_at(entry, "name");
          !name.empty() && std::find(names.begin(), names.end(), name) == names.end())
        names.push_back(name);
  return names;
}

// Whether both were scored on the same positions: then their baselines are the same too.
bool same_positions(const ReportRun& a, const ReportRun& b) {
  const auto key = [](const ReportRun& run) {
    const nlohmann::json& splits = value_at(value_at(run.files.config, "task"), "splits");
    return std::pair(value_at(value_at(run.test(), "block_sums"), "positions"),
                     text_at(value_at(splits, "test"), "sha256"));
  };
  const auto [blocks_a, hash_a] = key(a);
  const auto [blocks_b, hash_b] = key(b);
  const bool same_hash = hash_a.empty() || hash_b.empty() || hash_a == hash_b;
  return blocks_a.is_array() && !blocks_a.empty() && blocks_a == blocks_b && same_hash;
}

// Every predictor once: the runs, then the baselines of each run unless it shares them with one
// before.
struct Predictor {
  std::string name;
  const nlohmann::json* figures;
  int colour;
};

std::vector<Predictor> predictors(const std::vector<const ReportRun*>& runs) {
  std::vector<Predictor> list;
  for (const ReportRun* run : runs)
    list.push_back({runs.size() > 1 ? run->name() : "this model", &run->test(), run->colour});
  std::map<std::string, std::vector<double>> known;
  for (const ReportRun* run : runs)
    for (const nlohmann::json* baseline : charted_baselines(run->test())) {
      std::string name = baseline_name(*baseline);
      const double bits = number_at(*baseline, "bits_per_base");
      std::vector<double>& values = known[name];
      if (std::find(values.begin(), values.end(), bits) != values.end()) continue;
      values.push_back(bits);
      if (values.size() > 1) name += ", " + run->name();
      list.push_back({name, baseline, report::kNeutral});
    }
  return list;
}

// `more`: whether there are baselines that the list leaves out.
Markup bits_chart(const std::string& title, const std::vector<Predictor>& list,
                  const std::string& region, bool more) {
  report::DotChart chart;
  chart.title = title + ": bits per base of each predictor";
  chart.x.title = "bits per base (lower is better)";
  report::Table numbers;
  numbers.header = {"predictor", "bits per base"};
  for (const Predictor& predictor : list) {
    const double bits = region.empty() ? number_at(*predictor.figures, "bits_per_base")
                                       : region_bits(*predictor.figures, region);
    if (!std::isfinite(bits)) continue;
    chart.rows.push_back({predictor.name, fixed(bits, 4), bits, NAN, NAN, predictor.colour});
    numbers.rows.push_back({predictor.name, fixed(bits, 4)});
  }
  const bool seen = std::any_of(list.begin(), list.end(), [](const Predictor& predictor) {
    return text_at(*predictor.figures, "training") == "seen";
  });
  std::string remark = seen ? "(seen): trained on only the bases that the model read." : "";
  if (more) remark += std::string(remark.empty() ? "" : " ") + "More baselines in the table below.";
  return report::figure(title, remark, svg(chart), numbers);
}

// The run minus each of its baselines.
Markup difference_chart(const ReportRun& run, bool several) {
  report::DotChart chart;
  chart.title = "Difference from each baseline, " + run.name();
  chart.x.title = "bits per base; below 0 the model is better";
  chart.level = 0;
  report::Table numbers;
  numbers.header = {"baseline", "difference (95 % interval)", "blocks"};
  for (const nlohmann::json* charted : charted_baselines(run.test())) {
    const nlohmann::json& baseline = *charted;
    const nlohmann::json difference = trusted_difference(baseline);
    if (!difference.is_array() || difference.empty()) continue;
    const double value = as_number(difference[0]);
    chart.rows.push_back({baseline_name(baseline), with_sign(value, 3), value, limit(difference, 1),
                          limit(difference, 2), run.colour});
    numbers.rows.push_back({baseline_name(baseline), interval_text(difference, 4, true),
                            report::as_text(value_at(baseline, "blocks"))});
  }
  if (chart.rows.empty()) return {};
  return report::figure("Difference from the baselines" + (several ? ": " + run.name() : ""),
                        "Bars: 95 % interval, paired bootstrap over blocks of 100 kb.", svg(chart),
                        numbers);
}

std::string context_name(const nlohmann::json& bucket, double window) {
  const double first = number_at(bucket, "first");
  double last = number_at(bucket, "last");
  if (!std::isfinite(last)) return grouped(first) + " or more";
  if (std::isfinite(window)) last = std::min(last, window);
  return grouped(first) + " to " + grouped(last - 1);
}

Markup context_chart(const std::vector<const ReportRun*>& runs) {
  report::LineChart chart;
  chart.title = "Bits per base by context seen";
  chart.x.title = "bases seen before the predicted one (at most the next mark)";
  chart.y.title = "bits per base";
  report::Table numbers;
  numbers.header = {"run", "bases seen before", "bits per base", "positions"};
  std::map<double, double> places;  // first base of a bucket -> its place on the axis
  for (const ReportRun* run : runs)
    for (const nlohmann::json& bucket : list_at(run->test(), "context"))
      if (const double first = number_at(bucket, "first"); std::isfinite(first)) places[first] = 0;
  double next = 0;
  for (auto& [first, place] : places) {
    place = next++;
    chart.x.ticks.push_back({place, report::tick_text(first, 1)});
  }
  if (places.size() < 2) return {};
  chart.x.minimum = -0.25;
  chart.x.maximum = next - 0.75;
  for (const ReportRun* run : runs) {
    report::Series series;
    series.colour = run->colour;
    series.dots = true;
    if (runs.size() > 1) series.name = run->name();
    const double window = number_at(run->test(), "window");
    for (const nlohmann::json& bucket : list_at(run->test(), "context")) {
      const auto place = places.find(number_at(bucket, "first"));
      if (place == places.end()) continue;
      const double bits = number_at(bucket, "bits_per_base");
      const std::string name = context_name(bucket, window);
      series.points.push_back(
          {place->second, bits, run->name() + ", after " + name + " bases: " + fixed(bits, 4)});
      numbers.rows.push_back(
          {run->name(), name, fixed(bits, 4), grouped(number_at(bucket, "positions"))});
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  return report::figure("Bits per base by context seen",
                        "Each point: positions with at least so many bases before them in the "
                        "window, up to the next mark.",
                        svg(chart), numbers);
}

std::vector<Markup> region_charts(const std::vector<Predictor>& list,
                                  const std::vector<std::string>& regions) {
  std::vector<Markup> figures;
  for (const std::string& region : regions)
    figures.push_back(bits_chart("Bits per base in " + region, list, region, false));
  return figures;
}

std::string trained_on(const nlohmann::json& baseline) {
  std::string training = text_at(baseline, "training");
  if (training == "seen") training = "bases the model saw";
  if (training == "all") training = "all training bases";
  const double seconds = number_at(baseline, "seconds");
  return seconds > 0 ? training + ", " + format_duration(seconds) : training;
}

report::Table results_table(const std::vector<const ReportRun*>& runs,
                            const std::vector<std::string>& regions) {
  report::Table table;
  table.header = {"predictor", "trained on", "bits per base", "model - baseline (95 % interval)",
                  "blocks"};
  for (const std::string& region : regions) table.header.push_back(region);
  const auto add_regions = [&](const nlohmann::json& of) {
    for (const std::string& region : regions)
      table.rows.back().push_back(fixed(region_bits(of, region), 4));
  };
  for (const ReportRun* run : runs) {
    table.strong.push_back(table.rows.size());
    table.colours.resize(table.rows.size(), -1);
    table.colours.push_back(run->colour);
    table.rows.push_back({runs.size() > 1 ? run->name() : "this model", "",
                          fixed(number_at(run->test(), "bits_per_base"), 4), "", ""});
    add_regions(run->test());
    for (const nlohmann::json& baseline : list_at(run->test(), "baselines")) {
      table.rows.push_back({text_at(baseline, "name"), trained_on(baseline),
                            fixed(number_at(baseline, "bits_per_base"), 4),
                            interval_text(trusted_difference(baseline), 4, true),
                            report::as_text(value_at(baseline, "blocks"))});
      add_regions(baseline);
    }
  }
  return table;
}

std::vector<double> numbers_of(const nlohmann::json& list) {
  std::vector<double> numbers;
  if (list.is_array())
    for (const nlohmann::json& value : list) numbers.push_back(as_number(value));
  return numbers;
}

// "a minus b", with its interval where both were scored on the same positions.
std::string paired_difference(const ReportRun& a, const ReportRun& b) {
  const double plain = number_at(a.test(), "bits_per_base") - number_at(b.test(), "bits_per_base");
  if (!same_positions(a, b)) return "not on the same positions";
  const nlohmann::json& sums = value_at(a.test(), "block_sums");
  std::vector<double> difference = numbers_of(value_at(sums, "bits"));
  const std::vector<double> other = numbers_of(value_at(value_at(b.test(), "block_sums"), "bits"));
  const std::vector<double> positions = numbers_of(value_at(sums, "positions"));
  if (difference.size() != positions.size() || other.size() != positions.size())
    return with_sign(plain, 4);
  for (size_t i = 0; i < difference.size(); ++i) difference[i] -= other[i];
  const BootstrapInterval interval = block_bootstrap(difference, positions, 1000, 0);
  if (static_cast<double>(interval.blocks) < kFewestBlocks)
    return with_sign(interval.value, 4) + " (too few blocks for an interval)";
  return interval_text({interval.value, interval.low, interval.high}, 4, true);
}

Markup comparison(const std::vector<const ReportRun*>& runs) {
  report::Table table;
  table.caption = "Bits per base: row minus column (95 % interval; below 0 the row is better)";
  table.header = {"run"};
  for (const ReportRun* run : runs) table.header.push_back(run->name());
  for (const ReportRun* row : runs) {
    table.colours.push_back(row->colour);
    table.rows.push_back({row->name()});
    for (const ReportRun* column : runs)
      table.rows.back().push_back(row == column ? "" : paired_difference(*row, *column));
  }
  return report::joined({report::heading("Differences between the runs"), report::table(table),
                         report::paragraph("Paired bootstrap over blocks of 100 kb, where the runs "
                                           "were tested on the same positions.",
                                           report::Tone::kNote)});
}

}  // namespace

Headline language_model_headline(const ReportRun& run) {
  Headline headline;
  const double bits = number_at(run.test(), "bits_per_base");
  headline.metric = "bits per base";
  headline.value = fixed(bits, 4);
  headline.sentence = run.name() + ": " + headline.value + " bits per base on " +
                      grouped(number_at(run.test(), "positions")) + " test positions";
  const nlohmann::json* best = best_baseline(run.test());
  if (best == nullptr) {
    headline.sentence += ". No baseline was tested beside it.";
    return headline;
  }
  const std::string name = baseline_name(*best);
  const nlohmann::json difference = trusted_difference(*best);
  headline.baseline = name + ": " + fixed(number_at(*best, "bits_per_base"), 4);
  headline.difference = interval_text(difference, 4, true);
  const double low = limit(difference, 1);
  const double high = limit(difference, 2);
  headline.sentence +=
      "; the best baseline is " + headline.baseline + ". Difference " + headline.difference + ": ";
  if (high < 0)
    headline.sentence += "the model predicts better than every baseline.";
  else if (low > 0)
    headline.sentence += "the model predicts worse than that baseline.";
  else if (low <= 0)
    headline.sentence += "no clear difference, since the interval holds 0.";
  else
    headline.sentence += "too few blocks of test positions to say how sure that is.";
  return headline;
}

std::vector<std::pair<double, std::string>> baseline_levels(const ReportRun& run) {
  std::vector<std::pair<double, std::string>> levels;
  for (const nlohmann::json& baseline : list_at(run.test(), "baselines"))
    if (const double bits = number_at(baseline, "bits_per_base");
        std::isfinite(bits) && text_at(baseline, "training") != "seen")
      levels.emplace_back(bits, text_at(baseline, "name"));
  return levels;
}

std::vector<Markup> language_model_results(const std::vector<const ReportRun*>& runs) {
  std::vector<Markup> parts;
  for (const ReportRun* run : runs) {
    parts.push_back(
        report::paragraph(language_model_headline(*run).sentence, report::Tone::kVerdict));
    parts.push_back(seen_in_training(*run));
  }
  const std::vector<std::string> regions = region_names(runs);
  const std::vector<Predictor> list = predictors(runs);
  const bool more = std::any_of(runs.begin(), runs.end(), [](const ReportRun* run) {
    return charted_baselines(run->test()).size() < list_at(run->test(), "baselines").size();
  });
  std::vector<Markup> figures = {bits_chart("Bits per base", list, "", more)};
  for (const ReportRun* run : runs) figures.push_back(difference_chart(*run, runs.size() > 1));
  for (Markup& chart : region_charts(list, regions)) figures.push_back(std::move(chart));
  figures.push_back(context_chart(runs));
  parts.push_back(report::grid(figures));
  if (runs.size() > 1) parts.push_back(comparison(runs));
  parts.push_back(report::heading("All predictors"));
  parts.push_back(report::table(results_table(runs, regions)));
  return parts;
}

}  // namespace strandwave
