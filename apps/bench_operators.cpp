#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "core/base/error.h"
#include "core/base/spelling.h"
#include "core/runtime/accelerator.h"
#include "core/runtime/out_of_memory.h"
#include "kernels/common/benchmark.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  benchmark::Options benchmark;
  FiguresOutput output;
  bool list = false;
};

std::string share(double per_second, double share, const char* unit) {
  if (per_second <= 0) return "-";
  return format_number("%.0f ", per_second) + unit + format_number(" (%.0f %%)", 100 * share);
}

std::vector<std::string> row(const benchmark::Result& r) {
  return {r.name,
          r.shape,
          r.dtype,
          format_number("%.3f", r.time.median * 1e3),
          format_number("%.3f", r.time.p10 * 1e3) + "-" + format_number("%.3f", r.time.p90 * 1e3),
          share(r.bytes_per_second / 1e9, r.bandwidth_share, "GB/s"),
          share(r.flops_per_second / 1e9, r.flops_share, "GFLOP/s"),
          r.reference_name.empty() ? "-" : format_number("%.2fx ", r.ratio) + r.reference_name};
}

nlohmann::json to_json(const benchmark::Timing& t) {
  return {{"median_ms", t.median * 1e3},
          {"p10_ms", t.p10 * 1e3},
          {"p90_ms", t.p90 * 1e3},
          {"repetitions", t.repetitions}};
}

nlohmann::json to_json(const benchmark::Result& r) {
  nlohmann::json json = {{"name", r.name},
                         {"shape", r.shape},
                         {"dtype", r.dtype},
                         {"device", r.device},
                         {"time", to_json(r.time)}};
  if (r.bytes_per_second > 0) {
    json["bytes_per_second"] = r.bytes_per_second;
    json["bandwidth_share"] = r.bandwidth_share;
  }
  if (r.flops_per_second > 0) {
    json["flops_per_second"] = r.flops_per_second;
    json["flops_share"] = r.flops_share;
  }
  if (!r.reference_name.empty()) {
    json["reference"] = r.reference_name;
    json["reference_time"] = to_json(r.reference_time);
    json["ratio"] = r.ratio;
  }
  return json;
}

// The selected cases; none is an error that names what is near.
std::vector<std::string> selected(const benchmark::Options& options) {
  std::vector<std::string> cases = benchmark::list(options);
  if (!cases.empty()) return cases;
  benchmark::Options all = options;
  all.filter.clear();
  std::vector<std::string> names;
  for (const std::string& name : benchmark::list(all))
    names.push_back(name.substr(0, name.find(' ')));
  const std::string near = nearest_word(options.filter, names);
  throw usage_error("--filter '" + options.filter + "' selects no case" +
                    (near.empty() ? ": " : "; did you mean '" + near + "'? ") +
                    "--list without --filter shows them all");
}

void run(Options options) {
  options.benchmark.device = options.common.prepare();
  const std::vector<std::string> cases = selected(options.benchmark);
  if (options.list) {
    for (const std::string& name : cases) std::cout << name << '\n';
    return;
  }
  options.output.check();
  benchmark::Report report;
  explain_out_of_memory(options.benchmark.device, "leave large cases out with --filter", [&] {
    report = benchmark::run(options.benchmark, [&](const benchmark::Result& r) {
      if (!options.common.quiet)
        std::cerr << r.name << ' ' << r.shape << ' ' << r.dtype << ": " << r.time.median * 1e3
                  << " ms\n";
    });
  });
  std::ostream& out = options.output.tables();
  out << device_description(options.benchmark.device) << "; ceilings of this run: copy "
      << format_number("%.0f", report.ceilings.bytes_per_second / 1e9) << " GB/s, GEMM "
      << format_number("%.1f", report.ceilings.flops_per_second / 1e12) << " TFLOP/s\n";
  std::vector<std::vector<std::string>> rows = {
      {"operator", "shape", "dtype", "ms", "p10-p90", "bandwidth", "arithmetic", "ratio"}};
  nlohmann::json json = {{"benchmark", "operators"},
                         {"version", STRANDWAVE_VERSION},
                         {"command", command_line()},
                         {"device", device_description(options.benchmark.device)},
                         {"ceilings",
                          {{"bytes_per_second", report.ceilings.bytes_per_second},
                           {"flops_per_second", report.ceilings.flops_per_second}}},
                         {"results", nlohmann::json::array()}};
  for (const benchmark::Result& r : report.results) {
    rows.push_back(row(r));
    json["results"].push_back(to_json(r));
  }
  print_table(out, rows);
  options.output.write(json);
}

}  // namespace

void add_bench_operators(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "operators", "Time of each operator beside the device's ceilings and a reference");
  auto options = std::make_shared<Options>();
  command->add_option("--filter", options->benchmark.filter,
                      "Only cases whose name, shape or dtype contains this");
  command->add_option("--seconds", options->benchmark.seconds, "Seconds of measuring per case")
      ->check(positive_number())
      ->capture_default_str();
  command->add_flag("--list", options->list, "Only print the cases");
  add_figures_options(*command, options->output);
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
