// Batches of pretraining: windows, streams, soft masks, genome weights, pieces.
#include "genomics/pretrain_task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/bits_per_base.h"
#include "genomics/io/tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

using torch::Tensor;

std::string random_letters(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::string letters;
  for (int64_t i = 0; i < length; ++i) letters += "ACGT"[stream.below(static_cast<uint64_t>(i), 4)];
  return letters;
}

std::string lower(std::string letters) {
  for (char& c : letters) c = static_cast<char>(std::tolower(c));
  return letters;
}

std::shared_ptr<SequenceModel> tiny_model() {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "MM";
  config.layers = {{'M', LayerConfig{"mamba", {{"d_state", 4}}}}};
  config.vocab_size = dna::kPaddedVocabulary;
  config.valid_vocab_size = dna::kVocabulary;
  config.initializer.embedding_std = 1.0;
  return std::make_shared<SequenceModel>(config, 3);
}

// Gradients as the Trainer sums them, with a step's weight of 1.
class PlainSum : public GradientSum {
 public:
  void add(const Tensor& loss, const std::vector<Tensor>& outputs,
           const std::vector<Tensor>& output_gradients) override {
    torch::autograd::variable_list roots = {loss}, gradients = {Tensor()};
    for (size_t i = 0; i < outputs.size(); ++i) {
      roots.push_back(outputs[i]);
      gradients.push_back(output_gradients[i]);
    }
    torch::autograd::backward(roots, gradients);
    ++passes;
  }
  int passes = 0;
};

Tensor flat_gradient(const SequenceModel& model) {
  std::vector<Tensor> parts;
  for (const auto& [name, tensor] : model.named_tensors()) parts.push_back(tensor.grad().flatten());
  return torch::cat(parts);
}

class PretrainTaskTest : public ::testing::Test {
 protected:
  // a: 700 bases, 60 N, 240 bases; b: 400 bases, of which 100-199 are soft-masked; c: all lower.
  PretrainTaskTest()
      : letters(random_letters(700, 1) + std::string(60, 'N') + random_letters(240, 2)) {
    const std::string b = random_letters(400, 3);
    masked = b.substr(0, 100) + lower(b.substr(100, 100)) + b.substr(200);
    one = folder.write("one.fa", ">a\n" + letters + "\n");
    two = folder.write("two.fa", ">b\n" + masked + "\n>c\n" + lower(random_letters(300, 4)) + "\n");
  }

  Genome open(const std::vector<std::string>& paths) {
    return Genome::open(paths, (folder.path() / "cache").string());
  }
  static Splits all_of(const Genome& genome) { return {whole_genome(genome), {}, {}}; }

  testing::TemporaryFolder folder;
  std::string letters, masked, one, two;
};

TEST_F(PretrainTaskTest, BatchesArePureFunctionsAndUnknownBasesNeverCount) {
  const Genome genome = open({one});
  PretrainOptions options;
  options.window = 100;
  options.batch = 16;
  const PretrainTask task(tiny_model(), genome, all_of(genome), options);
  const Batch a = task.batch(3, 0), b = task.batch(3, 0), c = task.batch(4, 0);
  EXPECT_TRUE(torch::equal(a.at("tokens"), b.at("tokens")));
  EXPECT_FALSE(torch::equal(a.at("tokens"), c.at("tokens")));
  EXPECT_EQ(a.at("tokens").sizes(), (std::vector<int64_t>{16, 101}));
  EXPECT_TRUE((a.at("tokens").select(1, 0) == static_cast<int>(dna::kBos)).all().item<bool>());
  const Tensor bases = a.at("tokens").slice(1, 1);
  EXPECT_EQ(a.weight, (base_targets(bases) >= 0).sum().item<int64_t>());
  EXPECT_LT(a.weight, 1600);
  EXPECT_TRUE(torch::equal(base_targets(bases) < 0, bases == static_cast<int>(dna::kN)));
}

TEST_F(PretrainTaskTest, WarmupWindowsKeepTheTokensOfAStep) {
  const Genome genome = open({one});
  PretrainOptions options;
  options.window = 128;
  options.batch = 2;
  options.warmup_window = 32;
  options.warmup_steps = 20;
  const PretrainTask task(tiny_model(), genome, all_of(genome), options);
  EXPECT_EQ(task.batch(0, 0).at("tokens").sizes(), (std::vector<int64_t>{8, 33}));
  EXPECT_EQ(task.batch(30, 0).at("tokens").sizes(), (std::vector<int64_t>{2, 129}));
  // Pieces longer than a window of the warm-up: the window is one piece.
  options.chunk = 64;
  const auto model = tiny_model();
  PretrainTask chunked(model, genome, all_of(genome), options);
  PlainSum few, more;
  chunked.accumulate(chunked.batch(0, 0), few);
  chunked.accumulate(chunked.batch(30, 0), more);
  EXPECT_EQ(few.passes, 1);
  EXPECT_EQ(more.passes, 2);
}

TEST_F(PretrainTaskTest, RunConfigurationNamesWhatDecidesTheResult) {
  const Genome genome = open({one, two});
  Splits splits{{{0, 0, 400, "", '.'}, {1, 0, 400, "", '.'}},
                {{0, 450, 600, "", '.'}},
                {{0, 800, 900, "", '.'}}};
  PretrainOptions options;
  options.window = 100;
  const auto config = [&] { return PretrainTask(tiny_model(), genome, splits, options).config(); };
  const nlohmann::json first = config();
  EXPECT_EQ(first, config());
  // Intervals of the same length elsewhere.
  for (Intervals* split : {&splits.validation, &splits.test}) {
    const Intervals kept = *split;
    (*split)[0].start += 5;
    (*split)[0].end += 5;
    EXPECT_NE(first, config());
    *split = kept;
  }
  const PretrainOptions kept = options;
  const std::vector<std::function<void()>> changes = {
      [&] { options.start_model = "abc"; },
      [&] { options.evaluation_bases = 100; },
      [&] { options.evaluation_window = 50; },
      [&] { options.reverse_complement = false; },
      [&] { options.stream = true, options.batch = 2; },
      [&] { options.chunk = 50; },
      [&] { options.chunk_gradients = ChunkGradients::kCut; },
      [&] { options.masked_weight = 0.5; },
      [&] {
        options.genome_weights = {1, 2};
      },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    changes[i]();
    EXPECT_NE(first, config()) << i;
    options = kept;
  }
}

TEST_F(PretrainTaskTest, MaskedBasesCountTheirWeight) {
  const Genome genome = open({two});
  PretrainOptions options;
  options.window = 400;
  options.batch = 1;
  options.masked_weight = 0.25;
  const auto model = tiny_model();
  PretrainTask task(model, genome, {{{0, 0, 400, "", '.'}}, {}, {}}, options);
  std::set<bool> strands;
  for (int64_t step = 0; step < 8; ++step) {
    const Batch batch = task.batch(step, 0);
    EXPECT_NEAR(batch.weight, 300 + 100 * 0.25, 1e-9);
    std::vector<uint8_t> forward(400);
    genome.fetch(0, 0, 400, forward.data());
    const uint8_t* bases = batch.at("tokens").data_ptr<uint8_t>() + 1;
    const bool reverse = !std::equal(forward.begin(), forward.end(), bases);
    strands.insert(reverse);
    Tensor expected = torch::ones({400});
    if (reverse)
      expected.slice(0, 200, 300).fill_(0.25);
    else
      expected.slice(0, 100, 200).fill_(0.25);
    EXPECT_TRUE(torch::equal(batch.at("weights")[0], expected)) << step;
    if (step > 0) continue;
    const Tensor each = model
                            ->language_model_loss(shifted_inputs(batch.at("tokens").slice(1, 1)),
                                                  base_targets(batch.at("tokens").slice(1, 1)))
                            .loss;
    EXPECT_NEAR(task.loss(batch).item<double>(), (each * expected).sum().item<double>(), 1e-3);
  }
  EXPECT_EQ(strands.size(), 2U);
  EXPECT_NE(task.description().find("(1 of 1 contigs carry a mask) count 0.25"), std::string::npos)
      << task.description();
  EXPECT_TRUE(task.warnings().empty());
}

TEST_F(PretrainTaskTest, LowerCaseThroughoutIsNoMask) {
  const Genome genome = open({one, two});
  PretrainOptions options;
  options.window = 100;
  options.batch = 4;
  const PretrainTask task(tiny_model(), genome, all_of(genome), options);
  ASSERT_EQ(task.warnings().size(), 1U);
  EXPECT_NE(task.warnings()[0].find("2 of 3 training contigs carry no soft mask"),
            std::string::npos)
      << task.warnings()[0];
  const PretrainTask lower_only(tiny_model(), genome, {{{2, 0, 300, "", '.'}}, {}, {}}, options);
  EXPECT_EQ(lower_only.batch(0, 0).weight, 400);
  EXPECT_EQ(lower_only.batch(0, 0).tensors.count("weights"), 0U);
  EXPECT_NE(lower_only.description().find("no soft mask"), std::string::npos);
  options.masked_weight = 1;  // nothing to warn of
  EXPECT_TRUE(PretrainTask(tiny_model(), genome, all_of(genome), options).warnings().empty());
}

TEST_F(PretrainTaskTest, GenomesAreDrawnByWeight) {
  const Genome genome = open({one, two});
  PretrainOptions options;
  options.window = 50;
  options.batch = 1;
  options.genome_weights = {1, 4};
  const PretrainTask task(tiny_model(), genome, all_of(genome), options);
  EXPECT_NE(task.description().find("one.fa 20 %"), std::string::npos) << task.description();
  const Genome first = open({one});
  int64_t of_one = 0;
  constexpr int64_t kDraws = 1000;
  for (int64_t step = 0; step < kDraws; ++step) {
    const Tensor tokens = task.batch(step, 0).at("tokens");
    std::string window = dna::decode({tokens.data_ptr<uint8_t>() + 1, 50});
    std::string other = window;
    dna::reverse_complement_letters(other);
    if (letters.find(window) != std::string::npos || letters.find(other) != std::string::npos)
      ++of_one;
  }
  EXPECT_NEAR(static_cast<double>(of_one), 200, 64);  // five standard deviations
  options.genome_weights = {0, 1};
  const Intervals seen = PretrainTask(tiny_model(), genome, all_of(genome), options).seen(50);
  EXPECT_TRUE(
      std::all_of(seen.begin(), seen.end(), [](const Interval& i) { return i.contig > 0; }));
}

TEST_F(PretrainTaskTest, SeenAreTheBasesOfTheWindows) {
  const Genome genome = open({two});
  PretrainOptions options;
  options.window = 20;
  options.batch = 2;
  options.accumulation = 2;
  options.reverse_complement = false;
  const PretrainTask task(tiny_model(), genome, {{{0, 50, 350, "", '.'}}, {}, {}}, options);
  EXPECT_TRUE(task.seen(0).empty());
  const Intervals seen = task.seen(3);
  std::vector<bool> covered(400, false);
  for (int64_t step = 0; step < 3; ++step)
    for (int64_t m = 0; m < 2; ++m)
      for (int64_t row = 0; row < 2; ++row) {
        const Tensor tokens = task.batch(step, m).at("tokens")[row].contiguous();
        std::string window = dna::decode({tokens.data_ptr<uint8_t>() + 1, 20});
        std::string upper = masked;
        std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
        const size_t start = upper.find(window);
        ASSERT_NE(start, std::string::npos);
        std::fill_n(covered.begin() + static_cast<std::ptrdiff_t>(start), 20, true);
      }
  EXPECT_EQ(total_length(seen), std::count(covered.begin(), covered.end(), true));
  for (const Interval& interval : seen)
    for (int64_t i = interval.start; i < interval.end; ++i)
      EXPECT_TRUE(covered[static_cast<size_t>(i)]);
}

// A stream's windows with the state passed on give the losses of the whole walk in one window.
TEST_F(PretrainTaskTest, StreamsContinueWhereTheyWere) {
  const Genome genome = open({two});
  for (const bool reverse_complement : {false, true}) {
    PretrainOptions options;
    options.window = 64;
    options.batch = 1;
    options.stream = true;
    options.reverse_complement = reverse_complement;
    const Splits splits{{{0, 30, 400, "", '.'}}, {}, {}};
    PretrainTask task(tiny_model(), genome, splits, options);
    const auto model = tiny_model();
    std::set<bool> strands;
    for (int64_t pass = 0; pass < 6; ++pass) {
      double sum = 0, weight = 0;
      int64_t tokens = 0;
      for (int64_t step = 6 * pass; step < 6 * pass + 6; ++step) {
        const Batch batch = task.batch(step, 0);
        EXPECT_EQ(batch.at("restart")[0].item<bool>(), step % 6 == 0);
        PlainSum gradients;
        sum += task.accumulate(batch, gradients).item<double>();
        weight += batch.weight;
        tokens += batch.tokens;
      }
      EXPECT_EQ(tokens, 370);
      EXPECT_NEAR(weight, 270 + 100 * 0.1, 1e-6);
      std::vector<double> whole;
      for (const bool reverse : {false, true}) {
        Tensor ids = torch::empty({1, 370}, torch::kUInt8);
        genome.fetch(0, 30, 400, ids.data_ptr<uint8_t>(), reverse);
        Tensor weights = torch::ones({1, 370});
        weights.slice(1, reverse ? 200 : 70, reverse ? 300 : 170).fill_(0.1F);
        const torch::NoGradGuard no_grad;
        whole.push_back(model->language_model_loss(shifted_inputs(ids), base_targets(ids), weights)
                            .loss.sum()
                            .item<double>());
      }
      const bool reverse = std::abs(sum - whole[1]) < std::abs(sum - whole[0]);
      strands.insert(reverse);
      EXPECT_NEAR(sum, whole[reverse ? 1 : 0], 1e-3);
    }
    EXPECT_EQ(strands.size(), reverse_complement ? 2U : 1U);
    EXPECT_EQ(task.seen(6), splits.train);
    EXPECT_TRUE(task.warnings().empty());  // 14 of 384 positions are padding
    options.window = 370 - 40;
    const PretrainTask wasteful(tiny_model(), genome, splits, options);
    ASSERT_EQ(wasteful.warnings().size(), 1U);
    EXPECT_NE(wasteful.warnings()[0].find("43.9 % of the positions are padding"), std::string::npos)
        << wasteful.warnings()[0];
  }
}

TEST_F(PretrainTaskTest, WhatStopsATrainingOption) {
  const Genome genome = open({one, two});
  const auto message = [&](const PretrainOptions& options) -> std::string {
    try {
      PretrainTask(tiny_model(), genome, all_of(genome), options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  PretrainOptions options;
  options.window = 100;
  options.stream = true;
  options.warmup_window = 50;
  EXPECT_NE(message(options).find("--warmup-window does not go with --stream"), std::string::npos);
  options = {};
  options.window = 100;
  options.chunk = 101;
  EXPECT_NE(message(options).find("--chunk 101 is longer than --window 100"), std::string::npos);
  options = {};
  options.window = 100;
  options.genome_weights = {1, 2, 3};
  EXPECT_NE(message(options).find("3 genome weights for 2 FASTA files"), std::string::npos);
  options.genome_weights = {0, 0};
  EXPECT_NE(message(options).find("all genome weights are 0"), std::string::npos);
  options.genome_weights = {1, 1};
  options.window = 500;
  EXPECT_NE(message(options).find("two.fa: no interval"), std::string::npos) << message(options);
  options = {};
  options.window = 500;
  options.stream = true;
  options.batch = 9;
  EXPECT_NE(message(options).find("9 streams for only 4 windows"), std::string::npos)
      << message(options);
}

TEST_F(PretrainTaskTest, PiecesKeepOrCutTheGradient) {
  const Genome genome = open({one});
  PretrainOptions options;
  options.window = 90;
  options.batch = 3;
  options.masked_weight = 0.3;
  const auto gradient = [&](int64_t chunk, ChunkGradients gradients, double* loss) {
    options.chunk = chunk;
    options.chunk_gradients = gradients;
    const auto model = tiny_model();
    PretrainTask task(model, genome, all_of(genome), options);
    PlainSum sum;
    *loss = task.accumulate(task.batch(0, 0), sum).item<double>();
    EXPECT_EQ(sum.passes, chunk == 0 ? 1 : (90 + chunk - 1) / chunk);
    return flat_gradient(*model);
  };
  double whole_loss = 0, loss = 0;
  const Tensor whole = gradient(0, ChunkGradients::kKeep, &whole_loss);
  for (const int64_t chunk : {1, 7, 32, 45, 89, 90}) {
    const Tensor kept = gradient(chunk, ChunkGradients::kKeep, &loss);
    EXPECT_NEAR(loss, whole_loss, 1e-5 * whole_loss) << chunk;
    EXPECT_LT((kept - whole).norm().item<double>(), 2e-5 * whole.norm().item<double>()) << chunk;
  }
  const Tensor cut = gradient(32, ChunkGradients::kCut, &loss);
  EXPECT_NEAR(loss, whole_loss, 1e-5 * whole_loss);
  EXPECT_GT((cut - whole).norm().item<double>(), 1e-3 * whole.norm().item<double>());
}

}  // namespace
}  // namespace strandwave
