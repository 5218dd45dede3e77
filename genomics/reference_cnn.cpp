#include "genomics/reference_cnn.h"

#include <algorithm>
#include <cmath>

#include "core/layers/parameters.h"
#include "genomics/finetune_task.h"
#include "genomics/io/tokenizer.h"
#include "kernels/embedding/embedding.h"

namespace strandwave {
namespace {

constexpr int64_t kEmbedding = 100;
constexpr int64_t kWidth = 8;
constexpr int64_t kHidden = 512;
constexpr int64_t kPredictionBatch = 256;

int64_t longest_training_sequence(const LabelledFragments& data) {
  const FragmentOptions& options = data.options();
  int64_t longest = options.lengths.empty() ? options.length : options.lengths.longest();
  if (longest == 0)
    data.for_each_training_sequence([&](int32_t, std::span<const uint8_t> ids) {
      longest = std::max(longest, static_cast<int64_t>(ids.size()));
    });
  return std::clamp(longest, ReferenceCnn::kShortest, ReferenceCnn::kLongest);
}

// Pairs of neighbours; a last one without a neighbour is dropped. Not max_pool1d: its backward pass
// has no deterministic form on a GPU.
torch::Tensor max_of_pairs(const torch::Tensor& x) {
  const int64_t pairs = x.size(2) / 2;
  return x.narrow(2, 0, 2 * pairs).view({x.size(0), x.size(1), pairs, 2}).amax(3);
}

}  // namespace

struct ReferenceCnn::Network : torch::nn::Module {
  Network(int64_t length, int64_t outputs, uint64_t seed) {
    embedding = register_parameter(
        "embedding",
        normal_tensor({dna::kPaddedVocabulary, kEmbedding}, 1, initialization_stream(seed, 0, 0)));
    int64_t channels = kEmbedding;
    for (const int64_t next : {16, 8, 4}) {
      const std::string number = std::to_string(convolutions.size());
      convolutions.push_back(
          register_module("conv" + number, torch::nn::Conv1d(channels, next, kWidth)));
      norms.push_back(register_module("norm" + number, torch::nn::BatchNorm1d(next)));
      channels = next;
      length = (length - kWidth + 1) / 2;
    }
    hidden = register_module("hidden", torch::nn::Linear(channels * length, kHidden));
    out = register_module("out", torch::nn::Linear(kHidden, outputs));
    initialise(seed);
  }

  // LibTorch's own bounds, uniform in 1 / sqrt(inputs), from our streams.
  void initialise(uint64_t seed) {
    const torch::NoGradGuard no_grad;
    int64_t layer = 1;
    const auto fill = [&](torch::Tensor weight, torch::Tensor bias) {
      const double bound =
          1 / std::sqrt(static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0)));
      weight.copy_(uniform_tensor(weight.sizes(), bound, initialization_stream(seed, layer, 0)));
      bias.copy_(uniform_tensor(bias.sizes(), bound, initialization_stream(seed, layer, 1)));
      ++layer;
    };
    for (const torch::nn::Conv1d& convolution : convolutions)
      fill(convolution->weight, convolution->bias);
    fill(hidden->weight, hidden->bias);
    fill(out->weight, out->bias);
  }

  // ids (batch, length) uint8 -> (batch, outputs)
  torch::Tensor forward(const torch::Tensor& ids) {
    torch::Tensor x = strandwave::embedding(ids, embedding).transpose(1, 2);
    for (size_t i = 0; i < convolutions.size(); ++i)
      x = max_of_pairs(torch::relu(norms[i]->forward(convolutions[i]->forward(x))));
    return out->forward(torch::relu(hidden->forward(x.flatten(1))));
  }

  torch::Tensor embedding;
  std::vector<torch::nn::Conv1d> convolutions;
  std::vector<torch::nn::BatchNorm1d> norms;
  torch::nn::Linear hidden{nullptr}, out{nullptr};
};

ReferenceCnn::ReferenceCnn(const LabelledFragments& data, const ReferenceCnnOptions& options,
                           const std::function<void(int64_t)>& progress)
    : kind_(data.task()),
      length_(longest_training_sequence(data)),
      device_(options.device),
      network_(std::make_shared<Network>(length_, static_cast<int64_t>(data.labels().size()),
                                         options.seed)) {
  network_->to(device_);
  network_->train();
  if (kind_ == LabelKind::kRegression) {
    const HeadConfig head = head_for(data, HeadConfig::Pooling::kMean);
    offsets_ = torch::tensor(head.offsets, torch::kFloat32).to(device_);
    scales_ = torch::tensor(head.scales, torch::kFloat32).to(device_);
  }
  torch::optim::Adam optimizer(network_->parameters(), torch::optim::AdamOptions(options.lr));
  for (int64_t done = 0; done < options.fragments;) {
    std::vector<LabelledFragment> batch;
    const int64_t end = std::min(done + options.batch, options.fragments);
    for (; done < end; ++done)
      batch.push_back(data.sample(options.seed, static_cast<uint64_t>(done)));
    if (batch.size() < 2) break;  // a batch norm needs more than one
    const torch::Tensor scores = network_->forward(input(batch, 0, batch.size()));
    torch::Tensor loss;
    if (kind_ == LabelKind::kClass) {
      std::vector<int64_t> labels;
      for (const LabelledFragment& fragment : batch) labels.push_back(fragment.label);
      loss = -torch::log_softmax(scores, 1)
                  .gather(1, torch::tensor(labels, torch::kLong).to(device_).unsqueeze(1))
                  .mean();
    } else {
      std::vector<torch::Tensor> rows;
      for (const LabelledFragment& fragment : batch)
        rows.push_back(torch::tensor(fragment.targets, torch::kFloat32));
      const torch::Tensor targets = torch::stack(rows).to(device_);
      loss = kind_ == LabelKind::kRegression
                 ? (scores - (targets - offsets_) / scales_).square().mean()
                 : -(torch::log_sigmoid(scores) * targets +
                     torch::log_sigmoid(-scores) * (1 - targets))
                        .mean();
    }
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (progress) progress(done);
  }
  network_->eval();
}

ReferenceCnn::~ReferenceCnn() = default;

int64_t ReferenceCnn::parameter_count() const {
  int64_t count = 0;
  for (const torch::Tensor& parameter : network_->parameters()) count += parameter.numel();
  return count;
}

torch::Tensor ReferenceCnn::input(const std::vector<LabelledFragment>& fragments, size_t first,
                                  size_t last) const {
  torch::Tensor ids = torch::full({static_cast<int64_t>(last - first), length_},
                                  static_cast<int64_t>(dna::kPad), torch::kUInt8);
  uint8_t* to = ids.data_ptr<uint8_t>();
  for (size_t i = first; i < last; ++i, to += length_) {
    const std::vector<uint8_t>& from = fragments[i].ids;
    const int64_t size = std::min(length_, static_cast<int64_t>(from.size()));
    const int64_t start = (static_cast<int64_t>(from.size()) - size) / 2;
    std::copy_n(from.begin() + start, size, to);
  }
  return ids.to(device_);
}

PredictionTable ReferenceCnn::predict(const std::vector<LabelledFragment>& fragments,
                                      int64_t /*length*/) const {
  const torch::NoGradGuard no_grad;
  std::vector<std::vector<float>> rows;
  for (size_t first = 0; first < fragments.size(); first += kPredictionBatch) {
    const size_t last = std::min(first + kPredictionBatch, fragments.size());
    torch::Tensor scores = network_->forward(input(fragments, first, last));
    if (kind_ == LabelKind::kClass) scores = torch::softmax(scores, 1);
    if (kind_ == LabelKind::kMultiLabel) scores = torch::sigmoid(scores);
    if (kind_ == LabelKind::kRegression) scores = scores * scales_ + offsets_;
    scores = scores.cpu().contiguous();
    for (int64_t i = 0; i < scores.size(0); ++i) {
      const float* row = scores.const_data_ptr<float>() + i * scores.size(1);
      rows.emplace_back(row, row + scores.size(1));
    }
  }
  return decided(std::move(rows));
}

}  // namespace strandwave
