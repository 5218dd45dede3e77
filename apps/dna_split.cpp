#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "genomics/split_writer.h"

namespace strandwave::apps {
namespace {

struct Options {
  FragmentOptions fragments;
  std::string data;
  std::string output;
  std::string report;
  std::string kind = "class";
  std::string split = "clusters";
  int fold = 0;  // from 1
  bool force = false;
  bool no_pg = false;
};

// Standard output, or a file that takes its name when everything is written.
class Output {
 public:
  explicit Output(const std::string& path) {
    if (path != "-") file_ = std::make_unique<AtomicFile>(path);
  }
  void write(std::string_view text) {
    buffer_ += text;
    if (buffer_.size() > kBuffer) flush();
  }
  void finish() {
    flush();
    if (file_) file_->commit();
  }

 private:
  static constexpr size_t kBuffer = size_t{1} << 20;

  void flush() {
    if (file_)
      file_->write(buffer_);
    else if (!std::cout.write(buffer_.data(), static_cast<std::streamsize>(buffer_.size())).flush())
      throw runtime_failure("standard output cannot be written to");
    buffer_.clear();
  }

  std::unique_ptr<AtomicFile> file_;
  std::string buffer_;
};

std::string count_text(const nlohmann::json& count) { return std::to_string(count.get<int64_t>()); }

// Columns for each class, unless they are so many that nobody reads them.
bool show_classes(const nlohmann::json& facts) {
  constexpr size_t kMostClasses = 8;
  return facts.at("splits")[0].at("per_class").size() <= kMostClasses;
}

void print_splits(const nlohmann::json& facts, const std::vector<const char*>& columns,
                  std::ostream& out) {
  std::vector<std::vector<std::string>> rows = {{"split"}};
  rows[0].insert(rows[0].end(), columns.begin(), columns.end());
  const bool classes = show_classes(facts);
  if (classes)
    for (const auto& [label, count] : facts.at("splits")[0].at("per_class").items())
      rows[0].push_back(label);
  for (const nlohmann::json& split : facts.at("splits")) {
    rows.push_back({split.at("split")});
    for (const char* column : columns) rows.back().push_back(count_text(split.at(column)));
    if (classes)
      for (const auto& [label, count] : split.at("per_class").items())
        rows.back().push_back(count_text(count));
  }
  print_table(out, rows);
}

void print_sequences(const nlohmann::json& facts, std::ostream& out) {
  out << count_text(facts.at("sequences")) << " sequences, " << count_text(facts.at("copies"))
      << " copies of others, " << count_text(facts.at("conflicting"))
      << " with conflicting labels; " << count_text(facts.at("kept")) << " kept\n";
  if (facts.contains("units"))
    out << count_text(facts.at("units")) << " units, the largest of "
        << count_text(facts.at("largest_unit")) << " sequences; "
        << count_text(facts.at("moved_back"))
        << " sequences went back to training, which they resemble\n";
  print_splits(facts, {"sequences"}, out);
  out << "held-out sequences that are in training, and that share at least half their 31-mers with "
         "it:\n";
  std::vector<std::vector<std::string>> rows = {
      {"split", "sequences", "copies", "overlapping", "without overlap"}};
  for (const nlohmann::json& split : facts.at("held_out"))
    rows.push_back({split.at("split"), count_text(split.at("sequences")),
                    count_text(split.at("exact")), count_text(split.at("overlapping")),
                    count_text(split.at("without_overlap"))});
  print_table(out, rows);
}

std::string percent(const nlohmann::json& share) {
  return format_number("%.2f", 100 * share.get<double>());
}

void print_genomes(const nlohmann::json& facts, std::ostream& out) {
  print_splits(facts, {"genomes", "groups", "bases"}, out);
  const auto ends = facts.at("genomes_with_validation_ends").get<int64_t>();
  if (ends > 0)
    out << "validation of " << ends
        << " training genomes: the last tenth of each contig (their classes have no groups to "
           "spare)\n";
  if (facts.at("held_out").empty()) return;
  out << "31-mers of held-out groups that are in training genomes, in percent:\n";
  std::vector<std::vector<std::string>> rows = {
      {"group", "class", "split", "of its class", "of other classes"}};
  for (const nlohmann::json& group : facts.at("held_out"))
    rows.push_back({group.at("group"), group.value("label", "-"), group.at("split"),
                    percent(group.at("in_own_class")), percent(group.at("in_other_classes"))});
  print_table(out, rows);
}

std::string provenance(const Options& options) {
  if (options.no_pg) return "";
  return "##strandwave=" STRANDWAVE_VERSION "\n##command=" + command_line() + "\n";
}

void run(Options options) {
  namespace fs = std::filesystem;
  FragmentOptions& fragments = options.fragments;
  if (options.kind == "multi-label") fragments.kind = LabelKind::kMultiLabel;
  if (options.kind == "regression") fragments.kind = LabelKind::kRegression;
  if (options.split == "random") fragments.split = SplitPolicy::kRandom;
  if (fragments.folds > 0 && options.fold == 0)
    throw usage_error("--folds " + std::to_string(fragments.folds) +
                      ": say with --fold which of them is the test, 1 to " +
                      std::to_string(fragments.folds));
  if (options.fold > fragments.folds)
    throw usage_error("--fold " + std::to_string(options.fold) + ": there are " +
                      std::to_string(fragments.folds) + " folds (--folds)");
  fragments.fold = std::max(0, options.fold - 1);
  const bool to_stdout = options.output == "-";
  if (options.report.empty() && !to_stdout)
    options.report = fs::path(options.output).replace_extension(".leakage.json").string();
  refuse_existing_file(options.output, options.force);
  refuse_existing_file(options.report, options.force);

  std::ostream& summary = to_stdout ? std::cerr : std::cout;
  nlohmann::json facts;
  const bool genomes = labelled_format(options.data) == LabelledFormat::kManifest;
  const LabelledOptions reading{fragments.kind, {}};
  std::unique_ptr<Output> output;
  const auto write = [&](std::string_view text) {
    if (!output) {
      output = std::make_unique<Output>(options.output);
      output->write(provenance(options));
    }
    output->write(text);
  };
  if (genomes) {
    const GenomeSplits splits =
        split_genomes(read_manifest(options.data, reading), fragments, options.data);
    facts = genome_leakage(open_genomes(splits.manifest, fragments.cache_dir), splits);
    const fs::path folder =
        to_stdout ? fs::path() : fs::absolute(options.output).lexically_normal().parent_path();
    write_split_manifest(splits, folder, write);
  } else {
    const SequenceSplits splits =
        split_sequences(read_labelled(options.data, reading), fragments, options.data);
    facts = splits.facts;
    write_split_table(splits, write);
  }
  output->finish();
  (genomes ? print_genomes : print_sequences)(facts, summary);
  if (!to_stdout) summary << "splits: " << options.output << '\n';
  if (options.report.empty()) return;
  facts["command"] = command_line();
  write_file_atomically(options.report, facts.dump(2) + "\n");
  summary << "report: " << options.report << '\n';
}

}  // namespace

void add_dna_split(CLI::App& dna) {
  CLI::App* command = dna.add_subcommand(
      "split",
      "Divide labelled data into training, validation and test, and report what they share");
  auto options = std::make_shared<Options>();
  FragmentOptions& fragments = options->fragments;
  command
      ->add_option("DATA", options->data,
                   "Manifest TSV of genomes (path label [group] [split] [taxid]), labelled CSV "
                   "(sequence,label), TSV or FASTA, a folder with train, dev and test, or "
                   "train=FILE,test=FILE")
      ->required();
  command
      ->add_option("-o,--output", options->output,
                   "The manifest or table with its splits, as TSV; - is stdout")
      ->required();
  command->add_option("--report", options->report,
                      "JSON of what the splits share; default the output's name ending in "
                      ".leakage.json");
  command->add_flag("--force", options->force, "Overwrite the output files");
  command->add_flag("--no-PG", options->no_pg,
                    "Leave out the header lines with version and command");
  command
      ->add_option("--kind", options->kind,
                   "What labels are: class, multi-label (a;b) or regression")
      ->check(CLI::IsMember({"class", "multi-label", "regression"}))
      ->capture_default_str();
  command
      ->add_option("--split", options->split,
                   "How sequences without a given split are divided: clusters of similar ones "
                   "whole, or random rows")
      ->check(CLI::IsMember({"clusters", "random"}))
      ->capture_default_str();
  command
      ->add_option("--validation-fraction", fragments.validation_share,
                   "Part of each class that becomes validation, where none is given")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command
      ->add_option("--test-fraction", fragments.test_share,
                   "Part of each class that becomes test, where no split is given")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command->add_option("--split-seed", fragments.split_seed, "Seed of the division")
      ->capture_default_str();
  CLI::Option* folds =
      command
          ->add_option("--folds", fragments.folds,
                       "Cross-validation: divide into so many parts; --fold is the test, the next "
                       "one validation")
          ->check(CLI::Range(3, 1000));
  command->add_option("--fold", options->fold, "Number of the fold that is the test, from 1")
      ->check(CLI::Range(1, 1000))
      ->needs(folds);
  command->add_option("--cache", fragments.cache_dir,
                      "Folder of packed genomes; default $STRANDWAVE_CACHE, "
                      "$XDG_CACHE_HOME/strandwave or ~/.cache/strandwave");
  // Read by expand_config before CLI11 sees the arguments; declared here for --help.
  command->add_option("--config", "TOML file with the same names as these options; flags win");
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
