#include "apps/genome_options.h"

#include "apps/options.h"
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
      ->check(non_negative_number())
      ->capture_default_str();
  BlockOptions& blocks = source.split.blocks;
  CLI::Option* size =
      command
          .add_option("--split-blocks", blocks.size,
                      "Hold out whole blocks of so many bases, drawn over all contigs; 0: none")
          ->check(non_negative_number())
          ->capture_default_str();
  for (const char* other : {"--split", "--test", "--validation", "--train"})
    size->excludes(command.get_option(other));
  const auto fraction = [&](const char* name, double& value, const char* help) {
    command.add_option(name, value, help)
        ->needs(size)
        ->check(number_between(0, 1))
        ->capture_default_str();
  };
  fraction("--validation-fraction", blocks.validation,
           "With --split-blocks: fraction of the bases for validation");
  fraction("--test-fraction", blocks.test, "With --split-blocks: fraction of the bases to test on");
  command.add_option("--split-seed", blocks.seed, "With --split-blocks: draws the blocks")
      ->needs(size)
      ->capture_default_str();
  command.add_flag("--allow-overlap", source.split.allow_overlap,
                   "Warn of splits that share bases instead of refusing them");
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
  progress.message("genome: " + counted(counts.contigs, "contig") + ", " +
                   format_count(static_cast<double>(counts.bases)) + " bases, " +
                   format_count(static_cast<double>(counts.unknown)) + " of them N, " +
                   format_count(static_cast<double>(counts.lower_case)) + " lower case");
  for (const std::string& warning : genome.warnings()) warn(warning);
  return genome;
}

Splits open_splits(const Genome& genome, const SplitOptions& options) {
  Splits splits = make_splits(genome, options);
  for (const std::string& overlap : splits.overlaps) warn(overlap);
  return splits;
}

}  // namespace strandwave::apps
