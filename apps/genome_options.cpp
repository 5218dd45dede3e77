#include "apps/genome_options.h"

#include <cmath>
#include <iostream>

#include "apps/options.h"
#include "apps/table.h"
#include "core/base/error.h"
#include "core/base/progress.h"

namespace strandwave::apps {

void add_genome_options(CLI::App& command, GenomeSource& source) {
  command.add_option("GENOME", source.paths, "FASTA files, plain, gzip or bgzip; - is stdin")
      ->required();
  command.add_option("--split", source.split.bed,
                     "BED whose fourth column is train, validation or test (0-based, half-open)");
  command
      .add_option("--test", source.split.test,
                  "Region held out for the test, e.g. chr20:1-7,400,000 (1-based); repeatable")
      ->allow_extra_args(false);
  command
      .add_option("--validation", source.split.validation,
                  "Region held out for validation; repeatable")
      ->allow_extra_args(false);
  command
      .add_option("--train", source.split.train,
                  "Region to train on; default: all that is not held out; repeatable")
      ->allow_extra_args(false);
  command
      .add_option("--gap", source.split.gap,
                  "Bases kept out of training on both sides of held-out regions")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--cache", source.cache,
                     "Folder of packed genomes; default $STRANDWAVE_CACHE, "
                     "$XDG_CACHE_HOME/strandwave or ~/.cache/strandwave");
}

Genome open_genome(const GenomeSource& source, bool quiet) {
  Progress progress(stderr, quiet);
  GenomeOptions options;
  options.progress = [&](const std::string& path, int64_t bases) {
    progress.update("reading " + path + ": " + format_count(static_cast<double>(bases)) + " bases");
  };
  Genome genome = Genome::open(source.paths, source.cache, options);
  const GenomeCounts counts = genome.counts();
  progress.message("genome: " + std::to_string(counts.contigs) + " contigs, " +
                   format_count(static_cast<double>(counts.bases)) + " bases, " +
                   format_count(static_cast<double>(counts.unknown)) + " of them N, " +
                   format_count(static_cast<double>(counts.lower_case)) + " lower case");
  for (const std::string& warning : genome.warnings()) warn(warning);
  return genome;
}

void add_evaluation_options(CLI::App& command, EvaluationOptions& options) {
  command
      .add_option("--test-window", options.window,
                  "Bases per window of the test; 0: that of training")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--test-bases", options.bases,
                  "Test on at most so many bases, evenly spread; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--markov", options.orders,
                  "Orders of the Markov models to compare with, 0 to 12; -1: none")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->check(CLI::Range(-1, MarkovModel::kMaxOrder))
      ->capture_default_str();
}

nlohmann::json evaluate_language_model(SequenceModel& model, const Genome& genome,
                                       const Splits& splits, const EvaluationOptions& options,
                                       bool quiet, std::ostream& out) {
  if (splits.test.empty())
    throw usage_error(
        "there is nothing to test on: name a region with --test or a BED with --split");
  Progress progress(stderr, quiet);
  const std::vector<Window> windows =
      evaluation_windows(genome, splits.test, options.window, options.bases);
  RateMeter meter;
  meter.start(0);
  const ScoredWindows scored =
      score_windows(model, genome, windows, options.batch_tokens, [&](int64_t done) {
        progress.update("testing: " + format_count(static_cast<double>(done)) + " bases, " +
                        format_count(meter.rate(static_cast<double>(done))) + " bases/s");
      });
  progress.finish();

  nlohmann::json result = {{"window", options.window},
                           {"positions", scored.positions()},
                           {"bits_per_base", scored.bits_per_base()}};
  std::vector<std::vector<std::string>> rows = {
      {"predictor", "bits per base", "model - Markov (95 % interval)"}};
  rows.push_back({"this model", format_number("%.4f", scored.bits_per_base()), ""});

  std::vector<int> orders;
  for (const int order : options.orders)
    if (order >= 0) orders.push_back(order);
  if (!orders.empty()) {
    progress.update("counting for the Markov models", true);
    MarkovModel markov(*std::max_element(orders.begin(), orders.end()));
    markov.count(genome, splits.train);
    for (const MarkovComparison& c :
         compare_with_markov(scored, genome, splits.test, markov, orders)) {
      // An interval from a few blocks of 100 kb would only look like one.
      constexpr int64_t kFewestBlocks = 10;
      const std::string interval = c.difference.blocks < kFewestBlocks
                                       ? " (too few blocks)"
                                       : " (" + format_number("%+.4f", c.difference.low) + ", " +
                                             format_number("%+.4f", c.difference.high) + ")";
      rows.push_back({"Markov order " + std::to_string(c.order),
                      format_number("%.4f", c.bits_per_base),
                      format_number("%+.4f", c.difference.value) + interval});
      result["markov"].push_back(
          {{"order", c.order},
           {"bits_per_base", c.bits_per_base},
           {"difference", {c.difference.value, c.difference.low, c.difference.high}},
           {"blocks", c.difference.blocks}});
    }
    progress.finish();
  }
  out << "test: " << scored.positions() << " bases in windows of " << options.window
      << (orders.empty() ? "\n"
                         : "; Markov models: interpolated, both strands of the training bases\n");
  print_table(out, rows);

  std::vector<std::vector<std::string>> context = {
      {"bases seen before", "bits per base", "positions"}};
  for (const ContextBits& bucket : bits_by_context(scored)) {
    const std::string last =
        bucket.last > options.window ? std::to_string(options.window) : std::to_string(bucket.last);
    context.push_back({std::to_string(bucket.first) + "-" + std::to_string(std::stoll(last) - 1),
                       format_number("%.4f", bucket.bits_per_base),
                       std::to_string(bucket.positions)});
    result["context"].push_back({{"first", bucket.first},
                                 {"bits_per_base", bucket.bits_per_base},
                                 {"positions", bucket.positions}});
  }
  if (context.size() > 2) print_table(out, context);
  return result;
}

}  // namespace strandwave::apps
