#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "apps/commands.h"
#include "apps/dna_model.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/runtime/out_of_memory.h"
#include "genomics/classify_reads.h"
#include "genomics/io/kraken_report.h"
#include "genomics/io/taxonomy.h"

namespace strandwave::apps {
namespace {

constexpr double kPresentLabel = 0.5;  // multi-label: the labels more probable than this

struct Options {
  CommonOptions common;
  std::string model;
  std::string output = "-";
  std::string format = "tsv";
  bool force = false;
  bool no_pg = false;
  bool gzip = false;
  bool one_strand = false;
  std::string prior = "uniform";
  std::optional<double> min_probability, max_out_of_distribution;
  std::vector<int64_t> decide_at;
  std::string flush_every;
  std::string report, taxonomy, taxids;
  ClassifierOptions classifier;
  ClassifyReadsOptions reads;
};

// "1s", "500ms", "2": seconds.
double parse_duration(const std::string& text) {
  size_t digits = 0;
  double value = 0;
  try {
    value = std::stod(text, &digits);
  } catch (const std::exception&) {
    digits = 0;
  }
  const std::string unit = text.substr(digits);
  const bool known = unit.empty() || unit == "s" || unit == "ms";
  if (digits == 0 || !known || !(value > 0) || value > 1e6)
    throw usage_error("--flush-every " + text + ": write a time such as 1s or 500ms");
  return unit == "ms" ? value / 1000 : value;
}

void check_output(const Options& options) {
  namespace fs = std::filesystem;
  if (options.format == "fastq-split") {
    if (options.output == "-")
      throw usage_error("-O fastq-split writes a folder: name it with -o FOLDER");
    if (fs::exists(options.output) && !fs::is_directory(options.output))
      throw usage_error("-o " + options.output + " is a file: -O fastq-split writes a folder");
    if (fs::exists(options.output) && !options.force)
      throw usage_error("-o " + options.output + " exists: choose another name or give --force");
  } else {
    refuse_existing_file(options.output, options.force);
  }
  if (options.gzip && options.format != "fastq-split")
    throw usage_error("--gzip belongs to -O fastq-split");
  if (!options.report.empty() && options.taxonomy.empty())
    throw usage_error(
        "--report needs --taxonomy: a folder with nodes.dmp and names.dmp, or a "
        "table");
  refuse_existing_file(options.report, options.force);
}

std::unique_ptr<ReadWriter> open_writer(const Options& options, const ReadWriterOptions& writer) {
  if (options.format == "tsv") return open_tsv_writer(writer);
  if (options.format == "kraken") return open_kraken_writer(writer);
  if (options.format == "fastq-split") return open_fastq_split_writer(writer);
  return open_alignment_writer(writer);
}

AnswerKind answers_of(HeadConfig::Kind head) {
  return head == HeadConfig::Kind::kMultiLabel   ? AnswerKind::kLabels
         : head == HeadConfig::Kind::kRegression ? AnswerKind::kValues
                                                 : AnswerKind::kClass;
}

// What a model that does not give every read one class cannot be asked for.
void check_answers(const Options& options, AnswerKind answers) {
  if (answers == AnswerKind::kClass) return;
  const bool values = answers == AnswerKind::kValues;
  const std::string model =
      values ? "this model predicts values" : "this model gives a read any number of labels";
  if (values && options.format != "tsv")
    throw usage_error("-O " + options.format + " has no place for values, and " + model +
                      ": use -O tsv");
  if (options.format == "kraken" || options.format == "fastq-split")
    throw usage_error("-O " + options.format + " has one class per read, and " + model +
                      ": use -O tsv, bam or cram");
  if (!options.report.empty())
    throw usage_error("--report counts reads by their one class, and " + model);
  if (values && options.min_probability)
    throw usage_error("--min-prob: " + model + " and no probability");
}

// How many bases the model has read.
double bases_run(const ClassifyReadsCounts& counts, bool early) {
  return static_cast<double>(early ? counts.bases_read : counts.bases);
}

std::string summary(const ClassifyReadsCounts& counts, bool early, AnswerKind answers,
                    double seconds) {
  const bool values = answers == AnswerKind::kValues;
  return counted(counts.records, "record") + ": " + std::to_string(counts.classified) +
         (values ? " predicted, " : " classified, ") + std::to_string(counts.unclassified) +
         (values ? " rejected, " : " unclassified, ") + std::to_string(counts.too_short) +
         " short, " + std::to_string(counts.filtered) + " filtered, " +
         std::to_string(counts.without_sequence) + " without sequence; " +
         (counts.pairs > 0 ? counted(counts.pairs, "pair") + ", " : "") +
         format_count(static_cast<double>(counts.bases)) + " bases, " +
         (early ? format_count(bases_run(counts, early)) + " of them read, " : "") +
         format_count(bases_run(counts, early) / std::max(seconds, 1e-9)) + " bases/s";
}

// How early reads were decided.
void print_decisions(const ClassifyReadsCounts& counts, const PrefixOptions& prefix) {
  const auto reads =
      static_cast<double>(std::max<int64_t>(counts.classified + counts.unclassified, 1));
  std::vector<std::vector<std::string>> rows = {{"decided after", "reads", "share"}};
  const auto add = [&](const std::string& when, int64_t n) {
    rows.push_back(
        {when, std::to_string(n), format_number("%.1f %%", 100 * static_cast<double>(n) / reads)});
  };
  for (size_t i = 0; i < prefix.lengths.size(); ++i)
    add(std::to_string(prefix.lengths[i]) + " bases", counts.decided_at[i]);
  add("not before the end", counts.undecided);
  print_table(std::cerr, rows);
  std::cerr << "mean " << format_number("%.0f", static_cast<double>(counts.bases_read) / reads)
            << " bases read of " << format_number("%.0f", static_cast<double>(counts.bases) / reads)
            << ", " << format_number("%.3f", 1000 * counts.decision_seconds / reads)
            << " ms per decision\n";
}

ClassifierOptions classifier_options(const Options& options, const LoadedModel& loaded) {
  ClassifierOptions classifier = options.classifier;
  classifier.both_strands = !options.one_strand;
  const auto calibration = loaded.companions.find(kCalibrationFile);
  if (calibration != loaded.companions.end())
    classifier.calibration =
        parse_calibration(calibration->second, (loaded.directory / kCalibrationFile).string());
  const ModelConfig& config = loaded.model->config();
  classifier.prior = read_prior(options.prior, config.head.classes, classifier.calibration);
  classifier.want_out_of_distribution = config.predicts_tokens();
  if (options.max_out_of_distribution && !config.predicts_tokens())
    throw usage_error(
        "--max-ood: this model gives no out-of-distribution score: fine-tune it "
        "with a --lm-weight above 0");
  if (options.reads.target_false_positive_rate)  // complains now rather than at the first read
    (void)classifier.calibration.threshold(1000, *options.reads.target_false_positive_rate,
                                           classifier.both_strands && options.decide_at.empty());
  return classifier;
}

// Those that were stored with the model at fine-tuning; none where --taxids is given.
std::map<std::string, int64_t> stored_taxids(const Options& options, const LoadedModel& loaded) {
  const auto found = loaded.companions.find(kTaxidsFile);
  if (!options.taxids.empty() || found == loaded.companions.end()) return {};
  return parse_taxids(found->second, (loaded.directory / kTaxidsFile).string());
}

void classify(const Options& options, c10::Device device) {
  const LoadedModel loaded = load_dna_model(options.model);
  loaded.model->to(device);
  const SequenceClassifier classifier(loaded.model, classifier_options(options, loaded));
  const std::vector<std::string>& labels = classifier.labels();
  const AnswerKind answers = answers_of(classifier.kind());
  check_answers(options, answers);

  ClassifyReadsOptions reads = options.reads;
  reads.min_probability =
      options.min_probability.value_or(answers == AnswerKind::kLabels ? kPresentLabel : 0);
  std::optional<PrefixClassifier> prefix;
  if (!options.decide_at.empty()) {
    const double confident = options.min_probability.value_or(PrefixOptions{}.min_prob);
    prefix.emplace(classifier, PrefixOptions{options.decide_at, confident});
    reads.min_probability = confident;
  }

  const auto given =
      options.taxids.empty() ? std::map<std::string, int64_t>() : read_taxids(options.taxids);
  auto stored = stored_taxids(options, loaded);
  std::optional<Taxonomy> taxonomy;
  if (!options.taxonomy.empty()) taxonomy = Taxonomy::read(options.taxonomy, labels, given, stored);

  ReadWriterOptions written;
  written.path = options.output;
  written.force = options.force;
  written.answers = answers;
  written.labels = labels;
  written.provenance = !options.no_pg;
  written.version = STRANDWAVE_VERSION;
  written.command = command_line();
  written.model_hash = loaded.hash;
  written.bases_read = prefix.has_value();
  written.cram = options.format == "cram";
  written.reference = options.reads.reader.reference;
  written.gzip = options.gzip;
  if (options.format == "kraken")
    written.taxids = taxonomy ? taxonomy->label_taxids()
                              : taxids_of_labels(labels, given.empty() ? stored : given);
  const std::unique_ptr<ReadWriter> writer = open_writer(options, written);

  Progress progress(stderr, options.common.quiet);
  RateMeter meter;
  meter.start(0);
  const ClassifyReadsCounts counts = classify_reads(
      reads, classifier, prefix ? &*prefix : nullptr, *writer,
      [&](const ClassifyReadsCounts& done) {
        progress.update("classified " +
                        format_count(static_cast<double>(done.classified + done.unclassified)) +
                        " sequences, " +
                        format_count(meter.rate(bases_run(done, prefix.has_value()))) + " bases/s");
      },
      warn);
  progress.finish();
  progress.message(summary(counts, prefix.has_value(), answers, meter.seconds()));
  if (prefix && !options.common.quiet) print_decisions(counts, prefix->options());
  if (!options.report.empty()) {
    const std::string text = kraken_report(*taxonomy, counts.per_label, counts.without_label);
    if (options.report == "-")
      std::cout << text;
    else
      write_file_atomically(options.report, text);
  }
}

void run(Options options) {
  const c10::Device device = options.common.prepare();
  if (options.max_out_of_distribution)
    options.reads.max_out_of_distribution = *options.max_out_of_distribution;
  if (!options.flush_every.empty())
    options.reads.flush_seconds = parse_duration(options.flush_every);
  check_output(options);
  const SignalGuard signals;
  try {
    explain_out_of_memory(device, "lower --batch-bases", [&] { classify(options, device); });
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInterrupted) throw;
    throw runtime_failure(error.what() + (options.output == "-"
                                              ? std::string("; the output is incomplete")
                                              : "; " + options.output + " was not written"));
  }
}

// Flags as samtools takes them, numbers or names, to a number.
CLI::Validator flag_names() {
  return CLI::Validator(
      [](std::string& text) {
        const auto flags = alignment_flags(text);
        if (!flags)
          return "must be a number from 0 to 65535 or names such as SECONDARY,DUP (samtools flags "
                 "lists them), "
                 "got " +
                 text;
        text = std::to_string(*flags);
        return std::string();
      },
      "");
}

void add_input_options(CLI::App& command, Options& options) {
  SequenceReaderOptions& reader = options.reads.reader;
  command
      .add_option(
          "INPUT", options.reads.inputs,
          "FASTA, FASTQ, SAM, BAM or CRAM, recognised by content, plain or compressed; - is "
          "stdin")
      ->required();
  command
      .add_option("-r,--region", reader.regions,
                  "Alignments: only those that overlap contig:start-end (1-based; * for those "
                  "without a position); may be repeated")
      ->allow_extra_args(false);
  command.add_option("-L,--bed", reader.bed,
                     "Alignments: only those that overlap an interval of this BED file");
  command
      .add_option("-q,--min-MQ", reader.min_mapping_quality, "Alignments: least mapping quality")
      ->check(CLI::Range(0, 255))
      ->capture_default_str();
  command
      .add_option("-f,--require-flags", reader.require_flags,
                  "Alignments: flags that must all be set, a number or names (PAIRED,PROPER_PAIR)")
      ->transform(flag_names())
      ->capture_default_str();
  command
      .add_option("-F,--exclude-flags", reader.exclude_flags,
                  "Alignments: leave out those with any of these flags (3840: "
                  "SECONDARY,QCFAIL,DUP,SUPPLEMENTARY)")
      ->transform(flag_names())
      ->capture_default_str();
  command
      .add_option("--min-base-qual", options.reads.min_base_quality,
                  "Bases of lower quality are N to the model")
      ->check(CLI::Range(0, 93))
      ->capture_default_str();
  command
      .add_option("--min-length", options.reads.min_length,
                  "Reads with fewer bases are not classified")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command.add_option("-T,--reference", reader.reference,
                     "FASTA that CRAM was compressed against, also for -O cram");
  command.add_flag("--allow-ref-download", reader.allow_reference_download,
                   "CRAM: fetch missing references over the network, and use the path in the "
                   "header");
  command.add_flag("--paired", options.reads.paired,
                   "Classify mates together: FASTQ files in twos or interleaved, alignments by "
                   "name");
  command
      .add_option("--pair-window", options.reads.pair_window,
                  "Records to wait for a mate in alignments")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
}

void add_decision_options(CLI::App& command, Options& options) {
  command.add_flag("--one-strand", options.one_strand,
                   "Do not average with the reverse complement: twice as fast");
  command
      .add_option("--prior", options.prior,
                  "How frequent the classes are: uniform, train, or a file of lines label, weight")
      ->capture_default_str();
  command
      .add_option("--min-prob", options.min_probability,
                  "Least probability of a label; below it a read is unclassified. Multi-label "
                  "models give the labels above it (default 0.5)")
      ->check(number_between(0, 1));
  command
      .add_option("--max-ood", options.max_out_of_distribution,
                  "Greatest out-of-distribution score (bits per base) of a classified read")
      ->check(finite_number());
  command
      .add_option("--target-fpr", options.reads.target_false_positive_rate,
                  "The same by the share of reads like the training data to lose, by calibration")
      ->check(number_between(0, 0.5));
  command
      .add_option("--decide-at", options.decide_at,
                  "Answer at the first of these numbers of bases, separated by commas, where "
                  "--min-prob (default 0.99) is reached; one strand only")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command
      .add_option("--batch-bases", options.classifier.batch_bases,
                  "Bases run at once; longer sequences go through in pieces, carrying the state")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command.add_option("--flush-every", options.flush_every,
                     "Live input: classify and write what has come this long after it came, for "
                     "instance 1s");
}

void add_output_options(CLI::App& command, Options& options) {
  command
      .add_option("-o,--output", options.output,
                  "File to write, with -O fastq-split a folder; - is stdout")
      ->capture_default_str();
  command
      .add_option("-O,--output-format", options.format,
                  "tsv, bam, cram, kraken (a line per read) or fastq-split (a file per label)")
      ->check(CLI::IsMember({"tsv", "bam", "cram", "kraken", "fastq-split"}))
      ->capture_default_str();
  command.add_flag("--force", options.force, "Overwrite the output");
  command.add_flag("--no-PG", options.no_pg,
                   "Leave out the header lines with version, command and model");
  command.add_flag("--gzip", options.gzip, "Compress the files of -O fastq-split");
  command.add_option("--report", options.report,
                     "Write Kraken's report of six columns to this file; needs --taxonomy");
  command.add_option("--taxonomy", options.taxonomy,
                     "Folder with nodes.dmp and names.dmp, or a table with the columns label, "
                     "taxid, rank, parent, name");
  command.add_option("--taxids", options.taxids,
                     "Table of lines label, taxid; default: those of the training manifest");
}

}  // namespace

void add_dna_classify(CLI::App& dna) {
  CLI::App* command = dna.add_subcommand(
      "classify", "Class and probabilities of reads or contigs: as a table, BAM, CRAM, by file");
  auto options = std::make_shared<Options>();
  command->add_option("--model", options->model, "Fine-tuned run or model folder")->required();
  add_input_options(*command, *options);
  add_decision_options(*command, *options);
  add_output_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
