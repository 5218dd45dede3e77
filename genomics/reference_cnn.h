// The convolutional network that the field's tables of classifiers compare with.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "genomics/classifier_baselines.h"

namespace strandwave {

struct ReferenceCnnOptions {
  int64_t fragments = 0;  // training fragments drawn in all: as many as the model saw
  int64_t batch = 64;
  double lr = 1e-3;
  uint64_t seed = 0;
  torch::Device device = torch::kCPU;
};

// The CNN of the Genomic Benchmarks (Gresova et al. 2023, section "baseline"):
//   embedding 100 -> [conv width 8, batch norm, ReLU, max pool 2] with 16, 8 and 4 channels
//   -> flatten -> linear 512, ReLU -> linear to the outputs
// trained with Adam at a constant rate. It reads a fixed length, that of the longest training
// sequence (64 to 8192 bases): shorter ones are padded at their end, of longer ones the middle is
// taken. Loss and outputs are those of FinetuneTask; regression outputs are standardised inside.
class ReferenceCnn : public Predictor {
 public:
  static constexpr int64_t kShortest = 64;
  static constexpr int64_t kLongest = 8192;

  // Trains on data.sample(seed, 0 ...). progress(fragments done) may throw.
  ReferenceCnn(const LabelledFragments& data, const ReferenceCnnOptions& options,
               const std::function<void(int64_t)>& progress = {});
  ~ReferenceCnn() override;

  std::string name() const override { return "CNN"; }
  PredictionTable predict(const std::vector<LabelledFragment>& fragments,
                          int64_t length) const override;
  int64_t parameter_count() const;

 private:
  struct Network;
  torch::Tensor input(const std::vector<LabelledFragment>& fragments, size_t first,
                      size_t last) const;

  LabelKind kind_;
  int64_t length_;
  torch::Device device_;
  std::shared_ptr<Network> network_;
  torch::Tensor offsets_, scales_;  // (outputs), regression
};

}  // namespace strandwave
