#include "genomics/labelled_fragments.h"

#include <algorithm>
#include <array>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "genomics/io/intervals.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

// FNV-1a.
uint64_t text_hash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3U;
  return hash;
}

// FNV-1a, the smaller of a sequence's and its reverse complement's.
uint64_t strandless_hash(const std::vector<uint8_t>& ids) {
  uint64_t forward = 0xcbf29ce484222325U;
  uint64_t backward = forward;
  for (size_t i = 0; i < ids.size(); ++i) {
    forward = (forward ^ ids[i]) * 0x100000001b3U;
    backward = (backward ^ dna::complement(ids[ids.size() - 1 - i])) * 0x100000001b3U;
  }
  return std::min(forward, backward);
}

Split parse_split(const std::string& text, const std::string& where) {
  if (text == "train") return Split::kTrain;
  if (text == "validation" || text == "valid" || text == "dev") return Split::kValidation;
  if (text == "test") return Split::kTest;
  throw input_error(where + ": the split '" + text + "' is unknown: use train, validation or test");
}

Genome open_genomes(const Manifest& manifest, const std::string& cache_dir) {
  std::vector<std::string> paths;
  for (const ManifestRow& row : manifest.rows) paths.push_back(row.path);
  GenomeOptions options;
  options.allow_duplicate_names = true;  // strains of a species share names
  return Genome::open(paths, cache_dir, options);
}

std::vector<uint8_t> encoded(const std::string& sequence) {
  std::vector<uint8_t> ids(sequence.size());
  dna::encode(sequence, ids.data());
  return ids;
}

// Genomes of a manifest: fragments are windows.
class GenomeFragments : public LabelledFragments {
 public:
  GenomeFragments(const std::string& path, const FragmentOptions& options)
      : LabelledFragments(options) {
    if (options_.length <= 0)
      throw usage_error(path + " lists genomes: give --length, the bases of a fragment");
    LabelledOptions reading;
    reading.labels = options_.labels;
    manifest_ = read_manifest(path, reading);
    labels_ = manifest_.labels;
    genome_ = std::make_unique<Genome>(open_genomes(manifest_, options_.cache_dir));
    assign(path);
  }

  LabelledFragment sample(uint64_t seed, uint64_t index) const override {
    const RandomStream choice(seed, RandomPurpose::kShuffle, 1, index);
    const auto label = static_cast<int32_t>(choice.below(0, labels_.size()));
    LabelledFragment fragment =
        cut(training_[static_cast<size_t>(label)].window(seed, index), label);
    augment(fragment, seed, index);
    return fragment;
  }

  std::vector<LabelledFragment> fixed(Split split, int64_t max_per_class,
                                      const FixedOptions&) const override {
    std::vector<LabelledFragment> fragments;
    for (size_t label = 0; label < labels_.size(); ++label) {
      const Intervals& intervals = intervals_[static_cast<size_t>(split)][label];
      std::vector<Window> windows =
          tile_windows(*genome_, intervals, options_.length, options_.length, false, 0.5);
      const size_t count = std::min(windows.size(), static_cast<size_t>(max_per_class));
      for (size_t i = 0; i < count; ++i)
        fragments.push_back(
            cut(windows[(2 * i + 1) * windows.size() / (2 * count)], static_cast<int32_t>(label)));
    }
    return fragments;
  }

  void for_each_training_sequence(
      const std::function<void(int32_t, std::span<const uint8_t>)>& visit) const override {
    std::vector<uint8_t> ids;
    for (size_t label = 0; label < labels_.size(); ++label)
      for (const Interval& interval : intervals_[static_cast<size_t>(Split::kTrain)][label]) {
        ids.resize(static_cast<size_t>(interval.length()));
        genome_->fetch(interval.contig, interval.start, interval.end, ids.data());
        visit(static_cast<int32_t>(label), ids);
      }
  }

  std::vector<int64_t> class_counts(Split split) const override {
    std::vector<int64_t> counts;
    for (const Intervals& intervals : intervals_[static_cast<size_t>(split)])
      counts.push_back(total_length(intervals));
    return counts;
  }

  nlohmann::json leakage() const override { return nlohmann::json::object(); }

  std::string description() const override {
    int64_t bases = 0;
    for (const Intervals& intervals : intervals_[static_cast<size_t>(Split::kTrain)])
      bases += total_length(intervals);
    return std::to_string(manifest_.rows.size()) + " genomes, " + std::to_string(labels_.size()) +
           " classes, " + format_count(static_cast<double>(bases)) +
           " bases in training, fragments of " + std::to_string(options_.length);
  }

  std::string hash() const override {
    std::string text;
    for (size_t i = 0; i < manifest_.rows.size(); ++i) {
      const ManifestRow& row = manifest_.rows[i];
      text += genome_->files()[i].hash + '\t' + labels_[static_cast<size_t>(row.label)] + '\t' +
              row.split + '\n';
    }
    return sha256_hex(text);
  }

 private:
  void assign(const std::string& path) {
    for (auto& split : intervals_) split.resize(labels_.size());
    const bool given =
        std::any_of(manifest_.rows.begin(), manifest_.rows.end(), [&](const ManifestRow& row) {
          return !row.split.empty() && parse_split(row.split, path) == Split::kValidation;
        });
    for (size_t c = 0; c < genome_->contigs().size(); ++c) {
      const Contig& contig = genome_->contigs()[c];
      const ManifestRow& row = manifest_.rows[static_cast<size_t>(contig.file)];
      const Split split = row.split.empty()
                              ? Split::kTrain
                              : parse_split(row.split, path + " line " + std::to_string(row.line));
      const Interval whole{static_cast<int64_t>(c), 0, contig.length, {}, '.'};
      if (whole.length() < options_.length) continue;
      if (split != Split::kTrain || given) {
        add(split, row.label, whole);
        continue;
      }
      const int64_t border = contig.length - contig.length / 10;
      add(Split::kTrain, row.label, {whole.contig, 0, border - options_.length, {}, '.'});
      add(Split::kValidation, row.label, {whole.contig, border, contig.length, {}, '.'});
    }
    std::vector<int64_t> counts(labels_.size());
    for (size_t label = 0; label < labels_.size(); ++label)
      counts[label] = static_cast<int64_t>(intervals_[0][label].size());
    require_every_class(labels_, counts,
                        "the training split of " + path + " (contigs of at least " +
                            std::to_string(options_.length) + " bases)");
    WindowSampler::Options sampling;
    sampling.reverse_complement = false;
    for (const Intervals& intervals : intervals_[0])
      training_.emplace_back(*genome_, intervals, options_.length, sampling);
  }

  void add(Split split, int32_t label, const Interval& interval) {
    if (interval.length() >= options_.length)
      intervals_[static_cast<size_t>(split)][static_cast<size_t>(label)].push_back(interval);
  }

  LabelledFragment cut(const Window& window, int32_t label) const {
    LabelledFragment fragment;
    fragment.ids.resize(static_cast<size_t>(window.length()));
    fragment.label = label;
    genome_->fetch(window.contig, window.start, window.end, fragment.ids.data(), window.reverse);
    return fragment;
  }

  Manifest manifest_;
  std::unique_ptr<Genome> genome_;
  std::array<std::vector<Intervals>, 3> intervals_;  // [split][label]
  std::vector<WindowSampler> training_;              // [label]
};

// Labelled sequences of a table or a FASTA file.
class SequenceFragments : public LabelledFragments {
 public:
  SequenceFragments(const std::string& path, const FragmentOptions& options)
      : LabelledFragments(options) {
    LabelledOptions reading;
    reading.labels = options_.labels;
    LabelledData data = read_labelled(path, reading);
    labels_ = data.labels;
    for (auto& split : members_) split.resize(labels_.size());
    bool validation_given = false, test_given = false;
    for (const LabelledSequence& sequence : data.sequences) {
      if (sequence.split.empty()) continue;
      const Split split = parse_split(sequence.split, path + ", sequence " + sequence.name);
      validation_given |= split == Split::kValidation;
      test_given |= split == Split::kTest;
    }
    Sha256 digest;
    for (const LabelledSequence& sequence : data.sequences) {
      LabelledFragment fragment;
      fragment.ids = encoded(sequence.sequence);
      fragment.label = sequence.label;
      Split split = sequence.split.empty() ? Split::kTrain : parse_split(sequence.split, path);
      if (split == Split::kTrain) {
        const uint64_t key =
            sequence.group.empty() ? strandless_hash(fragment.ids) : text_hash(sequence.group);
        const uint64_t tenth = (key * 0x9e3779b97f4a7c15U >> 32) % 10;
        if (tenth == 0 && !validation_given) split = Split::kValidation;
        if (tenth == 1 && !test_given && !validation_given) split = Split::kTest;
      }
      members_[static_cast<size_t>(split)][static_cast<size_t>(sequence.label)].push_back(
          sequences_.size());
      digest.update(std::as_bytes(std::span(fragment.ids)));
      const std::string end = '\t' + labels_[static_cast<size_t>(sequence.label)] + '\t' +
                              std::to_string(static_cast<int>(split)) + '\n';
      digest.update(std::as_bytes(std::span(end)));
      sequences_.push_back(std::move(fragment));
    }
    hash_ = digest.hex_digest();
    std::vector<int64_t> counts(labels_.size());
    for (size_t label = 0; label < labels_.size(); ++label)
      counts[label] = static_cast<int64_t>(members_[0][label].size());
    require_every_class(labels_, counts, "the training split of " + path);
  }

  LabelledFragment sample(uint64_t seed, uint64_t index) const override {
    const RandomStream choice(seed, RandomPurpose::kShuffle, 1, index);
    const std::vector<size_t>& members = members_[0][choice.below(0, labels_.size())];
    LabelledFragment fragment = sequences_[members[choice.below(1, members.size())]];
    const auto size = static_cast<int64_t>(fragment.ids.size());
    if (options_.length > 0 && size > options_.length) {
      const auto start = static_cast<ptrdiff_t>(
          choice.below(2, static_cast<uint64_t>(size - options_.length + 1)));
      fragment.ids.assign(fragment.ids.begin() + start,
                          fragment.ids.begin() + start + options_.length);
    }
    augment(fragment, seed, index);
    return fragment;
  }

  std::vector<LabelledFragment> fixed(Split split, int64_t max_per_class,
                                      const FixedOptions&) const override {
    std::vector<LabelledFragment> fragments;
    for (const std::vector<size_t>& members : members_[static_cast<size_t>(split)]) {
      const size_t count = std::min(members.size(), static_cast<size_t>(max_per_class));
      for (size_t i = 0; i < count; ++i)
        fragments.push_back(sequences_[members[i * members.size() / count]]);
    }
    return fragments;
  }

  void for_each_training_sequence(
      const std::function<void(int32_t, std::span<const uint8_t>)>& visit) const override {
    for (const std::vector<size_t>& members : members_[0])
      for (const size_t i : members) visit(sequences_[i].label, sequences_[i].ids);
  }

  std::vector<int64_t> class_counts(Split split) const override {
    std::vector<int64_t> counts;
    for (const auto& members : members_[static_cast<size_t>(split)])
      counts.push_back(static_cast<int64_t>(members.size()));
    return counts;
  }

  nlohmann::json leakage() const override { return nlohmann::json::object(); }

  std::string description() const override {
    std::array<size_t, 3> counts{};
    for (size_t split = 0; split < 3; ++split)
      for (const auto& members : members_[split]) counts[split] += members.size();
    return std::to_string(labels_.size()) + " classes, " + std::to_string(counts[0]) +
           " training, " + std::to_string(counts[1]) + " validation and " +
           std::to_string(counts[2]) + " test sequences";
  }

  std::string hash() const override { return hash_; }

 private:
  std::vector<LabelledFragment> sequences_;
  std::array<std::vector<std::vector<size_t>>, 3> members_;  // [split][label] -> sequences_
  std::string hash_;
};

}  // namespace

std::unique_ptr<LabelledFragments> LabelledFragments::open(const std::string& path,
                                                           const FragmentOptions& options) {
  if (labelled_format(path) == LabelledFormat::kManifest)
    return std::make_unique<GenomeFragments>(path, options);
  return std::make_unique<SequenceFragments>(path, options);
}

void for_each_labelled_sequence(
    const std::string& path, const FragmentOptions& options,
    const std::function<void(int32_t, std::span<const uint8_t>)>& visit) {
  const auto held_out = [&](const std::string& split) {
    return !split.empty() && parse_split(split, path) != Split::kTrain;
  };
  LabelledOptions reading;
  reading.labels = options.labels;
  if (labelled_format(path) != LabelledFormat::kManifest) {
    for (const LabelledSequence& sequence : read_labelled(path, reading).sequences)
      if (!held_out(sequence.split)) visit(sequence.label, encoded(sequence.sequence));
    return;
  }
  const Manifest manifest = read_manifest(path, reading);
  const Genome genome = open_genomes(manifest, options.cache_dir);
  std::vector<uint8_t> ids;
  for (size_t c = 0; c < genome.contigs().size(); ++c) {
    const Contig& contig = genome.contigs()[c];
    const ManifestRow& row = manifest.rows[static_cast<size_t>(contig.file)];
    if (held_out(row.split)) continue;
    ids.resize(static_cast<size_t>(contig.length));
    genome.fetch(static_cast<int64_t>(c), 0, contig.length, ids.data());
    visit(row.label, ids);
  }
}

void LabelledFragments::augment(LabelledFragment& fragment, uint64_t seed, uint64_t index) const {
  const RandomStream strand(seed, RandomPurpose::kStrand, 1, index);
  if (options_.reverse_complement && strand.below(0, 2) == 1) dna::reverse_complement(fragment.ids);
  if (options_.error_rate <= 0) return;
  for (size_t i = 0; i < fragment.ids.size(); ++i) {
    if (!dna::is_base(fragment.ids[i]) || strand.uniform(2 * i + 1) >= options_.error_rate)
      continue;
    const auto other = static_cast<int>(1 + strand.below(2 * i + 2, 3));
    fragment.ids[i] = static_cast<uint8_t>(dna::kA + (dna::base_code(fragment.ids[i]) + other) % 4);
  }
}

}  // namespace strandwave
