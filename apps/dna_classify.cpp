#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "apps/dna_model.h"
#include "apps/options.h"
#include "apps/version.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/runtime/out_of_memory.h"
#include "genomics/io/sequence_reader.h"
#include "genomics/io/tokenizer.h"
#include "genomics/sequence_classifier.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  std::string model;
  std::vector<std::string> inputs;
  std::string output = "-";
  bool force = false;
  bool no_pg = false;
  bool one_strand = false;
  ClassifierOptions classifier;
  SequenceReaderOptions reader;
};

// Standard output, or a file that takes its name when everything is written.
class Output {
 public:
  explicit Output(const std::string& path) {
    if (path != "-") file_ = std::make_unique<AtomicFile>(path);
  }
  void write(const std::string& text) {
    if (file_) {
      file_->write(text);
    } else if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
      throw runtime_failure("standard output cannot be written to");
    }
  }
  void finish() {
    if (file_) file_->commit();
    if (!file_ && std::fflush(stdout) != 0)
      throw runtime_failure("standard output cannot be written to");
  }

 private:
  std::unique_ptr<AtomicFile> file_;
};

std::string header(const Options& options, const std::string& hash,
                   const std::vector<std::string>& labels) {
  std::string text;
  if (!options.no_pg)
    text = "##strandwave=" STRANDWAVE_VERSION "\n##command=" + command_line() +
           "\n##model=" + hash + "\n";
  text += "#name\tlength\tlabel\tprobability";
  for (const std::string& label : labels) text += "\tp:" + label;
  return text + "\n";
}

struct Reads {
  std::vector<std::string> names;
  std::vector<std::vector<uint8_t>> ids;
  int64_t bases = 0;
};

void write_rows(const Reads& reads, const SequenceClassifier& classifier, Output& output) {
  const auto rows = classifier.probabilities(reads.ids);
  std::string text;
  char number[32];
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto best =
        static_cast<size_t>(std::max_element(rows[i].begin(), rows[i].end()) - rows[i].begin());
    text += reads.names[i] + '\t' + std::to_string(reads.ids[i].size()) + '\t' +
            classifier.labels()[best];
    std::snprintf(number, sizeof number, "\t%.6f", static_cast<double>(rows[i][best]));
    text += number;
    for (const float p : rows[i]) {
      std::snprintf(number, sizeof number, "\t%.6f", static_cast<double>(p));
      text += number;
    }
    text += '\n';
  }
  output.write(text);
}

void classify(const Options& options, c10::Device device) {
  const LoadedModel loaded = load_dna_model(options.model);
  loaded.model->to(device);
  const SequenceClassifier classifier(loaded.model, options.classifier);

  Output output(options.output);
  output.write(header(options, loaded.hash, classifier.labels()));
  Progress progress(stderr, options.common.quiet);
  RateMeter meter;
  meter.start(0);
  constexpr size_t kMostReads = 8192;  // held at once, so that memory does not grow with the input
  SequenceReaderCounts all;
  for (const std::string& path : options.inputs) {
    SequenceReader reader(path, options.reader);
    SequenceRecord record;
    Reads reads;
    const auto flush = [&] {
      if (reads.ids.empty()) return;
      write_rows(reads, classifier, output);
      reads = {};
      const auto done = static_cast<double>(all.bases + reader.counts().bases);
      progress.update("classified " +
                      format_count(static_cast<double>(all.delivered + reader.counts().delivered)) +
                      " sequences, " + format_count(meter.rate(done)) + " bases/s");
      throw_if_interrupted();
    };
    while (reader.next(record)) {
      reads.names.push_back(record.name);
      reads.ids.emplace_back(record.sequence.size());
      dna::encode(record.sequence, reads.ids.back().data());
      reads.bases += static_cast<int64_t>(record.sequence.size());
      if (reads.bases >= 4 * options.classifier.batch_bases || reads.ids.size() >= kMostReads)
        flush();
    }
    flush();
    const SequenceReaderCounts& counts = reader.counts();
    all.records += counts.records;
    all.delivered += counts.delivered;
    all.bases += counts.bases;
    all.filtered_flags += counts.filtered_flags;
    all.filtered_quality += counts.filtered_quality;
    all.without_sequence += counts.without_sequence;
  }
  output.finish();
  progress.message(
      std::to_string(all.records) + " records: " + std::to_string(all.delivered) + " classified, " +
      std::to_string(all.filtered_flags + all.filtered_quality) + " filtered, " +
      std::to_string(all.without_sequence) + " without sequence; " +
      format_count(static_cast<double>(all.delivered) / std::max(meter.seconds(), 1e-9)) +
      " sequences/s, " +
      format_count(static_cast<double>(all.bases) / std::max(meter.seconds(), 1e-9)) + " bases/s");
}

void run(Options options) {
  const c10::Device device = options.common.prepare();
  options.classifier.both_strands = !options.one_strand;
  refuse_existing_file(options.output, options.force);
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

}  // namespace

void add_dna_classify(CLI::App& dna) {
  CLI::App* command =
      dna.add_subcommand("classify", "Class and probabilities of reads or contigs, as TSV");
  auto options = std::make_shared<Options>();
  command->add_option("--model", options->model, "Fine-tuned run or model folder")->required();
  command
      ->add_option(
          "INPUT", options->inputs,
          "FASTA, FASTQ, SAM, BAM or CRAM, recognised by content, plain or compressed; - is stdin")
      ->required();
  command->add_option("-o,--output", options->output, "TSV to write; - is stdout")
      ->capture_default_str();
  command->add_flag("--force", options->force, "Overwrite the output file");
  command->add_flag("--no-PG", options->no_pg,
                    "Leave out the header lines with version, command and model");
  command->add_flag("--one-strand", options->one_strand,
                    "Do not average with the reverse complement: twice as fast");
  command
      ->add_option("--batch-bases", options->classifier.batch_bases,
                   "Bases run at once; longer sequences go through in pieces, carrying the state")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command
      ->add_option("-q,--min-MQ", options->reader.min_mapping_quality,
                   "Alignments: least mapping quality")
      ->check(CLI::Range(0, 255))
      ->capture_default_str();
  command
      ->add_option("-f,--require-flags", options->reader.require_flags,
                   "Alignments: flags that must all be set")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command
      ->add_option("-F,--exclude-flags", options->reader.exclude_flags,
                   "Alignments: leave out those with any of these flags (3840: secondary, failed, "
                   "duplicate, supplementary)")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("-T,--reference", options->reader.reference,
                      "FASTA that CRAM was compressed against");
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
