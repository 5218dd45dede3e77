#include "genomics/labelled_test_set.h"

#include <algorithm>
#include <map>
#include <memory>

#include "core/base/error.h"
#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"
#include "genomics/io/tokenizer.h"
#include "genomics/labelled_fragments.h"

namespace strandwave {
namespace {

// Numbers groups by name, in order of first appearance.
class Groups {
 public:
  int32_t number(const std::string& name) {
    if (name.empty()) return -1;
    const auto [entry, fresh] = numbers_.try_emplace(name, static_cast<int32_t>(names_.size()));
    if (fresh) names_.push_back(name);
    return entry->second;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::map<std::string, int32_t> numbers_;
  std::vector<std::string> names_;
};

// At most `most` of n, evenly spread.
template <class Visit>
void for_each_spread(size_t n, int64_t most, Visit visit) {
  const size_t count = std::min(n, static_cast<size_t>(most));
  for (size_t i = 0; i < count; ++i) visit((2 * i + 1) * n / (2 * count));
}

LabelledFragment labelled(const LabelledRow& row, Groups& groups) {
  LabelledFragment fragment;
  fragment.label = row.label;
  fragment.targets = row.targets;
  fragment.group = groups.number(row.group);
  return fragment;
}

// Rows of one class are thinned together; without classes all are one.
size_t classes_of(const TestSetOptions& options) {
  return options.kind == LabelKind::kClass ? options.labels.size() : 1;
}
size_t class_of(const LabelledFragment& fragment) {
  return static_cast<size_t>(std::max(fragment.label, 0));
}

class Sequences {
 public:
  Sequences(const std::string& data, const TestSetOptions& options)
      : options_(options), members_(classes_of(options)) {
    for (const LabelledSequence& sequence :
         read_labelled(data, {options.kind, options.labels}).sequences) {
      LabelledFragment fragment = labelled(sequence, groups);
      fragment.name = sequence.name;
      fragment.ids.resize(sequence.sequence.size());
      dna::encode(sequence.sequence, fragment.ids.data());
      members_[class_of(fragment)].push_back(sequences_.size());
      sequences_.push_back(std::move(fragment));
    }
  }

  std::vector<LabelledFragment> fragments(const FixedOptions& how) const {
    const auto length = static_cast<size_t>(how.length > 0 ? how.length : options_.length);
    std::vector<LabelledFragment> result;
    for (const std::vector<size_t>& members : members_)
      for_each_spread(members.size(), options_.per_class, [&](size_t i) {
        LabelledFragment fragment = sequences_[members[i]];
        if (length > 0 && fragment.ids.size() > length) {
          const auto start = static_cast<ptrdiff_t>((fragment.ids.size() - length) / 2);
          fragment.ids = {fragment.ids.begin() + start,
                          fragment.ids.begin() + start + static_cast<ptrdiff_t>(length)};
        }
        substitute_fixed(fragment, how.error_rate, members[i]);
        result.push_back(std::move(fragment));
      });
    return result;
  }

  Groups groups;

 private:
  TestSetOptions options_;
  std::vector<LabelledFragment> sequences_;
  std::vector<std::vector<size_t>> members_;  // [class] -> sequences_
};

class Genomes {
 public:
  Genomes(const std::string& path, const TestSetOptions& options)
      : options_(options), intervals_(classes_of(options)) {
    const Manifest manifest = read_manifest(path, {options.kind, options.labels});
    std::vector<std::string> paths;
    for (const ManifestRow& row : manifest.rows) paths.push_back(row.path);
    GenomeOptions opening;
    opening.allow_duplicate_names = true;  // strains of a species share names
    genome_ = std::make_unique<Genome>(Genome::open(paths, options.cache_dir, opening));
    for (const ManifestRow& row : manifest.rows) rows_.push_back(labelled(row, groups));
    for (size_t c = 0; c < genome_->contigs().size(); ++c) {
      const Contig& contig = genome_->contigs()[c];
      intervals_[class_of(rows_[static_cast<size_t>(contig.file)])].push_back(
          {static_cast<int64_t>(c), 0, contig.length, {}, '.'});
    }
  }

  std::vector<LabelledFragment> fragments(const FixedOptions& how) const {
    const int64_t length = how.length > 0 ? how.length : options_.length;
    if (length <= 0)
      throw usage_error("genomes are cut into fragments: give their length in bases");
    std::vector<LabelledFragment> result;
    for (const Intervals& intervals : intervals_) {
      const std::vector<Window> windows =
          tile_windows(*genome_, intervals, length, length, false, 0.5);
      for_each_spread(windows.size(), options_.per_class, [&](size_t i) {
        result.push_back(cut(windows[i]));
        substitute_fixed(result.back(), how.error_rate, result.size());
      });
    }
    return result;
  }

  Groups groups;

 private:
  LabelledFragment cut(const Window& window) const {
    const Contig& contig = genome_->contigs()[static_cast<size_t>(window.contig)];
    LabelledFragment fragment = rows_[static_cast<size_t>(contig.file)];
    fragment.name =
        contig.name + ":" + std::to_string(window.start + 1) + "-" + std::to_string(window.end);
    fragment.ids.resize(static_cast<size_t>(window.length()));
    genome_->fetch(window.contig, window.start, window.end, fragment.ids.data());
    return fragment;
  }

  TestSetOptions options_;
  std::unique_ptr<Genome> genome_;
  std::vector<LabelledFragment> rows_;  // of the manifest, without ids
  std::vector<Intervals> intervals_;    // [class]
};

template <class Source>
TestSet set_of(std::shared_ptr<const Source> source, const TestSetOptions& options) {
  return {options.kind, options.labels, source->groups.names(),
          [source](const FixedOptions& how) { return source->fragments(how); }, options.length};
}

}  // namespace

TestSet open_test_set(const std::string& data, const TestSetOptions& options) {
  if (labelled_format(data) == LabelledFormat::kManifest)
    return set_of(std::make_shared<const Genomes>(data, options), options);
  return set_of(std::make_shared<const Sequences>(data, options), options);
}

}  // namespace strandwave
