#include "genomics/classifier_baselines.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "genomics/baselines/gc_content.h"
#include "genomics/baselines/kmer_bayes.h"
#include "genomics/baselines/kmer_lookup.h"

namespace strandwave {
namespace {

using Row = std::vector<float>;

// Learns from each training sequence before it predicts.
class Learner : public Predictor {
 public:
  virtual void add(const LabelledFragment& sequence) = 0;
  virtual void finish() {}
  PredictionTable predict(const std::vector<LabelledFragment>& fragments,
                          int64_t length) const override {
    std::vector<Row> rows;
    for (const LabelledFragment& fragment : fragments) rows.push_back(row(fragment.ids, length));
    return decided(std::move(rows));
  }

 protected:
  virtual Row row(std::span<const uint8_t> ids, int64_t length) const = 0;
};

// visit(window) for consecutive windows of `length`, or once for the whole of a shorter sequence.
template <class Visit>
void for_each_window(std::span<const uint8_t> ids, int64_t length, Visit visit) {
  const auto step = static_cast<size_t>(length);
  if (length <= 0 || ids.size() <= step) return visit(ids);
  for (size_t at = 0; at + step <= ids.size(); at += step) visit(ids.subspan(at, step));
}

// The same for every sequence: shares of the classes, or means of labels and outputs. A sequence
// that is cut into windows counts once per window.
class Constant : public Learner {
 public:
  Constant(const BaselineOptions& options)
      : kind_(options.kind),
        length_(options.window(options.lengths.front())),
        sums_(options.labels.size()) {}
  std::string name() const override {
    return kind_ == LabelKind::kRegression ? "mean" : "majority";
  }
  void add(const LabelledFragment& sequence) override {
    double windows = 0;
    for_each_window(sequence.ids, length_, [&](std::span<const uint8_t>) { ++windows; });
    n_ += windows;
    if (kind_ == LabelKind::kClass)
      sums_[static_cast<size_t>(sequence.label)] += windows;
    else
      for (size_t c = 0; c < sums_.size(); ++c) sums_[c] += windows * sequence.targets[c];
  }

 protected:
  Row row(std::span<const uint8_t>, int64_t) const override {
    Row row;
    for (const double sum : sums_) row.push_back(static_cast<float>(n_ > 0 ? sum / n_ : 0));
    return row;
  }

 private:
  LabelKind kind_;
  int64_t length_;
  double n_ = 0;
  std::vector<double> sums_;
};

// Two-class models, one per label, as one row; or one model of all classes.
template <class Model, class Probabilities>
Row label_row(const std::vector<Model>& models, LabelKind kind, Probabilities probabilities) {
  Row row;
  if (kind == LabelKind::kClass)
    for (const double p : probabilities(models.front())) row.push_back(static_cast<float>(p));
  else
    for (const Model& model : models) row.push_back(static_cast<float>(probabilities(model)[1]));
  return row;
}

// add(model, label) with the class, or for each label 0 (absent) or 1 (present).
template <class Model, class Add>
void add_labels(std::vector<Model>& models, LabelKind kind, const LabelledFragment& sequence,
                Add add) {
  if (kind == LabelKind::kClass) return add(models.front(), sequence.label);
  for (size_t c = 0; c < models.size(); ++c) add(models[c], sequence.targets[c] > 0.5F ? 1 : 0);
}

template <class Model>
std::vector<Model> models_for(const BaselineOptions& options) {
  const auto labels = static_cast<int>(options.labels.size());
  if (options.kind == LabelKind::kClass) return {Model(labels)};
  return std::vector<Model>(static_cast<size_t>(labels), Model(2));
}

class GcClasses : public Learner {
 public:
  GcClasses(const BaselineOptions& options) : kind_(options.kind) {
    for (const int64_t length : options.lengths)
      models_.try_emplace(length, Windows{options.window(length), models_for<GcGaussian>(options)});
  }
  std::string name() const override { return "GC content"; }
  void add(const LabelledFragment& sequence) override {
    for (auto& [length, windows] : models_)
      for_each_window(sequence.ids, windows.length, [&](std::span<const uint8_t> window) {
        add_labels(windows.models, kind_, sequence,
                   [&](GcGaussian& model, int label) { model.add(label, window); });
      });
  }

 protected:
  Row row(std::span<const uint8_t> ids, int64_t length) const override {
    return label_row(models_.at(length).models, kind_,
                     [&](const GcGaussian& model) { return model.posterior(ids); });
  }

 private:
  LabelKind kind_;
  struct Windows {
    int64_t length;  // 0: whole sequences
    std::vector<GcGaussian> models;
  };
  std::map<int64_t, Windows> models_;  // by the length that predict() gets
};

class GcLines : public Learner {
 public:
  GcLines(const BaselineOptions& options) : lines_(options.labels.size()) {}
  std::string name() const override { return "GC content"; }
  void add(const LabelledFragment& sequence) override {
    for (size_t c = 0; c < lines_.size(); ++c) lines_[c].add(sequence.ids, sequence.targets[c]);
  }

 protected:
  Row row(std::span<const uint8_t> ids, int64_t) const override {
    Row row;
    for (const GcLine& line : lines_) row.push_back(static_cast<float>(line.predict(ids)));
    return row;
  }

 private:
  std::vector<GcLine> lines_;
};

class Bayes : public Learner {
 public:
  Bayes(const BaselineOptions& options)
      : kind_(options.kind), models_(models_for<KmerBayes>(options)) {}
  std::string name() const override { return "6-mer naive Bayes"; }
  void add(const LabelledFragment& sequence) override {
    add_labels(models_, kind_, sequence, [&](KmerBayes& model, int label) {
      model.add(label, std::span<const uint8_t>(sequence.ids));
    });
  }

 protected:
  Row row(std::span<const uint8_t> ids, int64_t) const override {
    return label_row(models_, kind_, [&](const KmerBayes& model) {
      std::vector<double> row = model.log_posterior(ids);
      for (double& value : row) value = std::exp(value);
      return row;
    });
  }

 private:
  LabelKind kind_;
  std::vector<KmerBayes> models_;
};

class Lookup : public Learner {
 public:
  Lookup(const BaselineOptions& options) : lookup_(static_cast<int>(options.labels.size())) {}
  std::string name() const override { return "31-mer lookup"; }
  void add(const LabelledFragment& sequence) override { lookup_.add(sequence.label, sequence.ids); }
  void finish() override { lookup_.finish(); }
  PredictionTable predict(const std::vector<LabelledFragment>& fragments,
                          int64_t length) const override {
    PredictionTable table;
    table.probabilities = false;
    for (const LabelledFragment& fragment : fragments) {
      table.values.push_back(row(fragment.ids, length));
      table.classes.push_back(lookup_.predict(fragment.ids));
    }
    return table;
  }

 protected:
  // Shares of the hits.
  Row row(std::span<const uint8_t> ids, int64_t) const override {
    const std::vector<int64_t> hits = lookup_.hits(ids);
    const int64_t all = std::max<int64_t>(1, std::accumulate(hits.begin(), hits.end(), int64_t{0}));
    Row row;
    for (const int64_t n : hits) row.push_back(static_cast<float>(n) / static_cast<float>(all));
    return row;
  }

 private:
  KmerLookup lookup_;
};

}  // namespace

VisitTraining training_of(const LabelledFragments& data) {
  return [&data](const std::function<void(const LabelledFragment&)>& visit) {
    if (data.task() != LabelKind::kClass) {
      constexpr int64_t kAll = int64_t{1} << 40;
      for (const LabelledFragment& sequence : data.fixed(Split::kTrain, kAll)) visit(sequence);
      return;
    }
    LabelledFragment sequence;
    data.for_each_training_sequence([&](int32_t label, std::span<const uint8_t> ids) {
      sequence.label = label;
      sequence.ids.assign(ids.begin(), ids.end());
      visit(sequence);
    });
  };
}

VisitTraining training_of(const std::string& path, const FragmentOptions& options) {
  return [path, options](const std::function<void(const LabelledFragment&)>& visit) {
    LabelledFragment sequence;
    for_each_labelled_sequence(path, options, [&](int32_t label, std::span<const uint8_t> ids) {
      sequence.label = label;
      sequence.ids.assign(ids.begin(), ids.end());
      visit(sequence);
    });
  };
}

Predictors train_baselines(const BaselineOptions& options, const VisitTraining& training) {
  std::vector<std::unique_ptr<Learner>> learners;
  learners.push_back(std::make_unique<Constant>(options));
  if (options.kind == LabelKind::kRegression) {
    learners.push_back(std::make_unique<GcLines>(options));
  } else {
    learners.push_back(std::make_unique<GcClasses>(options));
    learners.push_back(std::make_unique<Bayes>(options));
  }
  if (options.kind == LabelKind::kClass) learners.push_back(std::make_unique<Lookup>(options));
  training([&](const LabelledFragment& sequence) {
    for (const auto& learner : learners) learner->add(sequence);
  });
  Predictors predictors;
  for (auto& learner : learners) {
    learner->finish();
    predictors.push_back(std::move(learner));
  }
  return predictors;
}

}  // namespace strandwave
