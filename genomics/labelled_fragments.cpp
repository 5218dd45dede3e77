#include "genomics/labelled_fragments.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/genome_fragments.h"
#include "genomics/io/tokenizer.h"
#include "genomics/sequence_fragments.h"

namespace strandwave {
namespace {

// `stream` at 2 i + 1 and 2 i + 2 decides over base i, and at a position that no base has over the
// rate.
void substitute_bases(std::vector<uint8_t>& ids, const ErrorRate& range,
                      const RandomStream& stream) {
  if (range.high <= 0) return;
  const double rate = range.low + (range.high - range.low) * stream.uniform(uint64_t{1} << 62);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!dna::is_base(ids[i]) || stream.uniform(2 * i + 1) >= rate) continue;
    const auto other = static_cast<int>(1 + stream.below(2 * i + 2, 3));
    ids[i] = static_cast<uint8_t>(dna::kA + (dna::base_code(ids[i]) + other) % 4);
  }
}

}  // namespace

ErrorRate ErrorRate::parse(const std::string& text) {
  // Rates have no sign, so the first '-' that is not an exponent's divides the two.
  size_t dash = 1;
  while (dash < text.size() && (text[dash] != '-' || std::tolower(text[dash - 1]) == 'e')) ++dash;
  const auto number = [&](const std::string& part) {
    double value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || !(value >= 0 && value <= 1))
      throw usage_error("the error rate '" + text +
                        "' is neither a share of substituted bases such as 0.05, 0 to 1, nor a "
                        "range of shares such as 0-0.2");
    return value;
  };
  if (dash >= text.size()) return number(text);
  const ErrorRate rate(number(text.substr(0, dash)), number(text.substr(dash + 1)));
  if (rate.low > rate.high)
    throw usage_error("the error rate '" + text +
                      "' ends below its start: write the smaller first");
  return rate;
}

std::unique_ptr<LabelledFragments> LabelledFragments::open(const std::string& data,
                                                           const FragmentOptions& options) {
  if (labelled_format(data) == LabelledFormat::kManifest)
    return std::make_unique<GenomeFragments>(data, options);
  return std::make_unique<SequenceFragments>(data, options);
}

int64_t LabelledFragments::drawn_length(double u) const {
  return options_.lengths.empty() ? options_.length : options_.lengths.length_at(u);
}

int64_t LabelledFragments::fixed_length(const FixedOptions& how, double u) const {
  return how.length > 0 ? how.length : drawn_length(u);
}

int64_t LabelledFragments::shortest_fragment() const {
  return options_.lengths.empty() ? options_.length : options_.lengths.shortest();
}

int64_t LabelledFragments::longest_fragment() const {
  return options_.lengths.empty() ? options_.length : options_.lengths.longest();
}

std::string LabelledFragments::lengths_text() const {
  return options_.lengths.empty() ? std::to_string(options_.length)
                                  : options_.lengths.description();
}

void LabelledFragments::augment(LabelledFragment& fragment, uint64_t seed, uint64_t index) const {
  const RandomStream strand(seed, RandomPurpose::kStrand, 1, index);
  if (options_.reverse_complement && strand.below(0, 2) == 1) dna::reverse_complement(fragment.ids);
  substitute_bases(fragment.ids, options_.error_rate, strand);
}

void substitute_fixed(LabelledFragment& fragment, const ErrorRate& rate, uint64_t number) {
  substitute_bases(fragment.ids, rate, RandomStream(0, RandomPurpose::kSynthetic, 1, number));
}

void for_each_labelled_sequence(
    const std::string& data, const FragmentOptions& options,
    const std::function<void(int32_t, std::span<const uint8_t>)>& visit) {
  const LabelledOptions reading{options.kind, options.labels};
  const auto held_out = [](const LabelledRow& row) { return split_of(row.split) != Split::kTrain; };
  std::vector<uint8_t> ids;
  if (labelled_format(data) != LabelledFormat::kManifest) {
    for (const LabelledSequence& sequence : read_labelled(data, reading).sequences) {
      if (held_out(sequence)) continue;
      ids.resize(sequence.sequence.size());
      dna::encode(sequence.sequence, ids.data());
      visit(sequence.label, ids);
    }
    return;
  }
  const Manifest manifest = read_manifest(data, reading);
  const Genome genome = open_genomes(manifest, options.cache_dir);
  for (size_t c = 0; c < genome.contigs().size(); ++c) {
    const Contig& contig = genome.contigs()[c];
    const ManifestRow& row = manifest.rows[static_cast<size_t>(contig.file)];
    if (held_out(row)) continue;
    ids.resize(static_cast<size_t>(contig.length));
    genome.fetch(static_cast<int64_t>(c), 0, contig.length, ids.data());
    visit(row.label, ids);
  }
}

}  // namespace strandwave
