// What a model was trained on, kept with it, so that a later test can say what it has seen before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"
#include "genomics/io/kmer_sketch.h"

namespace strandwave {

// How much of some targets lies in a model's training data.
struct SeenFraction {
  double fraction = 0;  // of the targets' A, C, G, T
  // "intervals": exact, the targets lie on contigs that the training data names by MD5;
  // "sketch": estimated from shared 21-mers, pooled over all targets;
  // "intervals and sketch": the first for some contigs, the second for the others.
  std::string by;
  // For the sketch: how many 21-mers were compared; the fewer, the coarser the estimate.
  int64_t compared = 0;

  // Fewer 21-mers than this tell nothing: `fraction` is then that of the targets on known contigs,
  // 0 where there are none.
  static constexpr int64_t kLeastCompared = 50;
  bool too_few() const { return by != "intervals" && compared < kLeastCompared; }
  // Worth a warning: any base by intervals, one percent by the sketch, or too few 21-mers. The
  // sketch also counts repeats of which the training data held other copies: 5 to 8 % of other
  // human megabases after training on one human chromosome, 0.1 % of a nematode's.
  bool notable() const;
  // "12.3 % of targets were seen in pretraining (exact, by intervals)", or `when` else.
  std::string sentence(const std::string& when = "pretraining") const;
  nlohmann::json to_json() const;  // {"fraction", "by", "compared"}
};

// The file is training_data.safetensors, a companion of the model (core/checkpoint/checkpoint.h):
//   contig_md5 (n, 16) U8, contig_length (n) I64, contig_names (bytes) U8, joined by line feeds
//   training, seen (m, 3) I64: contig, start, end (0-based, half-open), sorted, merged
//   kmer_hashes (h) U64, ascending
//   metadata: format, version, k, scale, bases
// "training" are the intervals that windows are drawn from, "seen" what the windows drawn so far
// covered. Contigs are those of the training genomes, also where nothing of them is trained on;
// sequences that come without a genome (labelled reads) are in the sketch only.
class TrainingData {
 public:
  static constexpr const char* kCompanion = "training_data.safetensors";

  // Adds intervals of a genome. Reads all of it once (MD5).
  void add(const Genome& genome, const Intervals& training);
  // Adds one sequence, to the sketch only.
  void add(std::span<const uint8_t> ids);
  // Adds what another model, the start of this one, was trained on.
  void merge(const TrainingData& other);
  // Adds what was read of a genome that was added.
  void add_seen(const Genome& genome, const Intervals& seen);

  int64_t bases() const { return bases_; }  // A, C, G, T that were added
  const KmerSketch& sketch() const { return sketch_; }

  // Nothing for targets without a base.
  std::optional<SeenFraction> seen_fraction(const Genome& genome, const Intervals& targets) const;
  std::optional<SeenFraction> seen_fraction(std::span<const std::vector<uint8_t>> targets) const;

  // What the model has read, as intervals of this genome; nothing when that was not recorded or
  // part of it lies on contigs that this genome lacks.
  std::optional<Intervals> seen_on(const Genome& genome) const;

  std::string to_bytes() const;
  // Throws Error(kInput) beginning with `where` for anything malformed.
  static TrainingData from_bytes(const std::string& bytes, const std::string& where);
  // Of a run, checkpoint or model folder; nothing for models without.
  static std::optional<TrainingData> of_model(const std::filesystem::path& run_or_model);

 private:
  struct TrainedContig {
    std::string md5;
    std::string name;
    int64_t length = 0;
  };
  int64_t add_contig(TrainedContig contig);  // its number; equal MD5: the same
  // Number of each of the genome's contigs that is one of ours, by its index there. Only those that
  // `targets` touch are looked at, all without targets.
  std::map<int64_t, int64_t> known_contigs(const Genome& genome, const Intervals* targets) const;

  std::vector<TrainedContig> contigs_;
  // What known_contigs() found for a genome that was added, by Genome::hash(); not in the file.
  std::map<std::string, std::map<int64_t, int64_t>> added_;
  std::map<std::string, int64_t> by_md5_;
  Intervals training_, seen_;  // merged; Interval::contig numbers contigs_
  KmerSketch sketch_;
  int64_t bases_ = 0;
};

// The same for a run or model; nothing too for models that do not say what they were trained on.
std::optional<SeenFraction> seen_in_training(const std::filesystem::path& run_or_model,
                                             const Genome& genome, const Intervals& targets);
std::optional<SeenFraction> seen_in_training(const std::filesystem::path& run_or_model,
                                             std::span<const std::vector<uint8_t>> targets);

}  // namespace strandwave
