#include "genomics/finetune_task.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/base/random.h"
#include "core/checkpoint/checkpoint.h"
#include "core/training/trainer.h"
#include "genomics/io/tokenizer.h"
#include "genomics/reference_cnn.h"
#include "genomics/without_class.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

// Random letters of which about `gc` are G or C.
std::string letters(int64_t length, double gc, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::string text;
  for (uint64_t i = 0; i < static_cast<uint64_t>(length); ++i)
    text += (stream.uniform(2 * i) < gc ? "GC" : "AT")[stream.below(2 * i + 1, 2)];
  return text;
}

class FinetuneTaskTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }  // tiny tensors: threads would only wait

  // Three classes of different GC content; eight rows of ten train, one is for validation, one for
  // the test. Lengths differ.
  std::string classes() {
    std::string text = "sequence,label,split\n";
    for (uint64_t i = 0; i < 120; ++i)
      text += letters(40 + static_cast<int64_t>(i % 5), 0.2 + 0.3 * static_cast<double>(i % 3), i) +
              "," + "abc"[i % 3] + "," +
              (i / 3 % 10 == 8   ? "validation"
               : i / 3 % 10 == 9 ? "test"
                                 : "train") +
              "\n";
    return folder_.write("classes.csv", text);
  }
  std::string labels() {
    std::string text = "sequence,label,split\n";
    for (uint64_t i = 0; i < 80; ++i)
      text += letters(40, i % 4 == 0 ? 0.9 : 0.1, i) + "," + (i % 4 == 0 ? "high;all" : "all") +
              "," +
              (i % 10 == 8   ? "validation"
               : i % 10 == 9 ? "test"
                             : "train") +
              "\n";
    return folder_.write("labels.csv", text);
  }
  std::string values() {
    std::string text = "sequence,label,split\n";
    for (uint64_t i = 0; i < 80; ++i) {
      const std::string sequence = letters(40, static_cast<double>(i % 8) / 8, i);
      const auto gc = std::count_if(sequence.begin(), sequence.end(),
                                    [](char c) { return c == 'G' || c == 'C'; });
      text += sequence + "," + std::to_string(500 + 10 * gc) + "," +
              (i % 10 == 8   ? "validation"
               : i % 10 == 9 ? "test"
                             : "train") +
              "\n";
    }
    return folder_.write("values.csv", text);
  }

  std::shared_ptr<const LabelledFragments> open(const std::string& path,
                                                LabelKind kind = LabelKind::kClass) {
    FragmentOptions options;
    options.kind = kind;
    return LabelledFragments::open(path, options);
  }

  static std::shared_ptr<SequenceModel> model(const LabelledFragments& data,
                                              bool language_model = true) {
    ModelConfig config;
    config.d_model = 8;
    config.stack = "M";
    config.layers = {{'M', LayerConfig{"mamba", {{"d_state", 4}}}}};
    config.vocab_size = dna::kPaddedVocabulary;
    config.valid_vocab_size = dna::kVocabulary;
    config.head = head_for(data, HeadConfig::Pooling::kMean);
    config.head.language_model = language_model;
    return std::make_shared<SequenceModel>(config, 3);
  }

  TrainingResult train(const std::shared_ptr<SequenceModel>& model, FinetuneTask& task,
                       int64_t steps, int64_t eval_every, const std::string& name = "run") {
    TrainerConfig config;
    config.steps = steps;
    config.lr = 1e-2;
    config.eval_every = eval_every;
    RunOptions run;
    run.directory = folder_.path() / name;
    run.quiet = true;
    return Trainer(trainable(model), task, config, run).run();
  }

  testing::TemporaryFolder folder_;
};

// The loss of a batch against the sum over its fragments, each run alone.
TEST_F(FinetuneTaskTest, LossIsTheWeightedSumOverFragments) {
  const auto data = open(classes());
  const auto m = model(*data);
  FinetuneOptions options;
  options.batch = 7;
  options.lm_weight = 0.3;
  options.class_weights = {0.5, 1, 2};
  FinetuneTask task(m, data, options);
  const Batch batch = task.batch(2, 0);
  EXPECT_TRUE(batch.layout.has_value());  // lengths differ
  double expected = 0, weights = 0;
  for (uint64_t i = 0; i < 7; ++i) {
    const LabelledFragment fragment = data->sample(0, 14 + i);
    const double weight = options.class_weights[static_cast<size_t>(fragment.label)];
    const torch::Tensor ids =
        torch::tensor(std::vector<int64_t>(fragment.ids.begin(), fragment.ids.end())).unsqueeze(0);
    const torch::Tensor hidden = m->hidden(ids).hidden;
    const double label_loss =
        -torch::log_softmax(m->classify_hidden(hidden), 1)[0][fragment.label].item<double>();
    const int64_t n = ids.size(1);
    const torch::Tensor next = m->logits(hidden.narrow(1, 0, n - 1));
    const double language_loss = -torch::log_softmax(next, 2)
                                      .gather(2, ids.narrow(1, 1, n - 1).unsqueeze(2))
                                      .mean()
                                      .item<double>();
    expected += weight * (label_loss + 0.3 * language_loss);
    weights += weight;
  }
  EXPECT_NEAR(task.loss(batch).item<double>(), expected, 1e-4);
  EXPECT_NEAR(batch.weight, weights, 1e-9);
}

TEST_F(FinetuneTaskTest, LossesOfLabelsAndValues) {
  {
    const auto data = open(labels(), LabelKind::kMultiLabel);
    const auto m = model(*data, false);
    FinetuneOptions options;
    options.batch = 5;
    options.class_weights = {1, 3};
    FinetuneTask task(m, data, options);
    const Batch batch = task.batch(0, 0);
    ModelInput input;
    input.layout = batch.layout ? &*batch.layout : nullptr;
    const torch::Tensor p = torch::sigmoid(m->classify(batch.at("ids"), input));
    double expected = 0;
    for (int64_t i = 0; i < 5; ++i)
      for (int64_t c = 0; c < 2; ++c) {
        const bool present = data->sample(0, static_cast<uint64_t>(i)).targets[c] > 0.5F;
        const double q = p[i][c].item<double>();
        expected -= present ? options.class_weights[c] * std::log(q) : std::log(1 - q);
      }
    EXPECT_NEAR(task.loss(batch).item<double>(), expected / 2, 1e-4);
  }
  const auto data = open(values(), LabelKind::kRegression);
  const auto m = model(*data, false);
  const HeadConfig& head = m->config().head;
  ASSERT_EQ(head.offsets.size(), 1U);
  EXPECT_NEAR(head.offsets[0], 500 + 10 * 40 * 0.44, 40);
  FinetuneOptions options;
  options.batch = 5;
  FinetuneTask task(m, data, options);
  const Batch batch = task.batch(0, 0);
  const torch::Tensor y = m->classify(batch.at("ids"));
  double expected = 0;
  for (int64_t i = 0; i < 5; ++i) {
    const double error =
        y[i][0].item<double>() - data->sample(0, static_cast<uint64_t>(i)).targets[0];
    expected += error * error / (head.scales[0] * head.scales[0]);
  }
  EXPECT_NEAR(task.loss(batch).item<double>(), expected, 1e-3);
}

TEST_F(FinetuneTaskTest, EveryKindLearns) {
  struct Row {
    std::string path;
    LabelKind kind;
    const char* metric;
    double least;
  };
  for (const Row& row : {Row{classes(), LabelKind::kClass, "macro_f1", 0.7},
                         Row{labels(), LabelKind::kMultiLabel, "auroc", 0.95},
                         Row{values(), LabelKind::kRegression, "r2", 0.7}}) {
    const auto data = open(row.path, row.kind);
    const auto m = model(*data);
    FinetuneOptions options;
    options.batch = 16;
    FinetuneTask task(m, data, options);
    const TrainingResult result = train(m, task, 40, 20, row.metric);
    EXPECT_EQ(result.evaluation[0].name, row.metric);
    EXPECT_GT(result.best.value_or(0), row.least) << row.metric;
  }
}

TEST_F(FinetuneTaskTest, SelectionAndBest) {
  const auto data = open(classes());
  FinetuneOptions options;
  options.selection = Selection::kAccuracy;
  EXPECT_EQ(FinetuneTask(model(*data), data, options).evaluate()[0].name, "accuracy");
}

TEST_F(FinetuneTaskTest, FrozenBackboneStaysBitForBit) {
  const auto data = open(classes());
  const auto m = model(*data);
  NamedTensors before;
  for (const auto& [name, tensor] : m->named_tensors())
    before.emplace_back(name, tensor.detach().clone());
  FinetuneOptions options;
  options.batch = 8;
  options.freeze = true;
  FinetuneTask task(m, data, options);
  EXPECT_FALSE(task.batch(0, 0).tensors.contains("next_bases"));
  const TrainingResult result = train(m, task, 10, 5);
  const NamedTensors after = load_model(result.best_model)->named_tensors();
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); ++i) {
    const bool same = torch::equal(after[i].second, before[i].second);
    EXPECT_EQ(same, before[i].first.starts_with("backbone.")) << before[i].first;
  }
  for (const auto& [name, tensor] : m->named_tensors())
    EXPECT_EQ(tensor.grad().defined(), !name.starts_with("backbone.")) << name;
}

TEST_F(FinetuneTaskTest, PatienceStopsAndIsRemembered) {
  const auto data = open(classes());
  const auto m = model(*data);
  FinetuneOptions options;
  options.patience = 2;
  FinetuneTask task(m, data, options);
  EXPECT_FALSE(task.should_stop());
  task.evaluate();  // the first one is a gain
  task.evaluate();  // the model has not changed
  EXPECT_FALSE(task.should_stop());
  const nlohmann::json state = task.state();
  task.evaluate();
  EXPECT_TRUE(task.should_stop());
  FinetuneTask again(m, data, options);
  again.restore(state);
  EXPECT_FALSE(again.should_stop());
  again.evaluate();
  EXPECT_TRUE(again.should_stop());
  options.patience = 0;
  FinetuneTask patient(m, data, options);
  patient.restore(task.state());
  EXPECT_FALSE(patient.should_stop());
}

TEST_F(FinetuneTaskTest, ClassWeights) {
  const auto data = open(classes());
  EXPECT_TRUE(class_weights("uniform", *data).empty());
  EXPECT_TRUE(class_weights("balanced", *data).empty());  // sampling is balanced already
  const std::vector<double> given =
      class_weights(folder_.write("w.tsv", "b\t1\na\t4\nc\t1\n"), *data);
  EXPECT_EQ(given, (std::vector<double>{2, 0.5, 0.5}));
  const auto several = open(labels(), LabelKind::kMultiLabel);
  const std::vector<double> balanced = class_weights("balanced", *several);
  ASSERT_EQ(several->labels(), (std::vector<std::string>{"all", "high"}));
  EXPECT_EQ(balanced[0], 1);  // never absent
  EXPECT_GT(balanced[1], 2);  // present in about a quarter
  EXPECT_THROW(class_weights("balanced", *open(values(), LabelKind::kRegression)), Error);
  EXPECT_THROW(class_weights("nonsense", *data), Error);
  EXPECT_THROW(class_weights(folder_.write("x.tsv", "a\t1\nb\t1\n"), *data), Error);
}

TEST_F(FinetuneTaskTest, AClassLeftOutIsNowhere) {
  const auto all = open(classes());
  const WithoutClass data(all, 1);
  EXPECT_EQ(data.labels(), (std::vector<std::string>{"a", "c"}));
  EXPECT_NE(data.hash(), all->hash());
  // It tells of what is left.
  EXPECT_EQ(all->description().find("3 classes, "), 0U) << all->description();
  EXPECT_EQ(data.description().find("2 classes, " +
                                    std::to_string(data.class_counts(Split::kTrain)[0] +
                                                   data.class_counts(Split::kTrain)[1]) +
                                    " training, "),
            0U)
      << data.description();
  EXPECT_NE(data.description().find(", without b"), std::string::npos);
  int counts[2] = {0, 0};
  for (uint64_t i = 0; i < 200; ++i) ++counts[data.sample(1, i).label];
  EXPECT_NEAR(counts[0], 100, 35);
  EXPECT_EQ(counts[0] + counts[1], 200);
  // Class c is the one rich in G and C.
  const auto gc = [](const LabelledFragment& fragment) {
    return std::count_if(fragment.ids.begin(), fragment.ids.end(),
                         [](uint8_t id) { return id == dna::kG || id == dna::kC; }) *
           1.0 / static_cast<double>(fragment.ids.size());
  };
  for (const LabelledFragment& fragment : data.fixed(Split::kTest, 10))
    EXPECT_EQ(fragment.label, gc(fragment) > 0.5);
  EXPECT_EQ(data.class_counts(Split::kTest).size(), 2U);
  EXPECT_THROW(WithoutClass(std::make_shared<WithoutClass>(all, 0), 0), Error);
}

TEST_F(FinetuneTaskTest, ReferenceCnnLearnsAndRepeats) {
  const auto data = open(classes());
  const auto test = data->fixed(Split::kTest, 10);
  const auto values_of = [&](int64_t fragments) {
    ReferenceCnnOptions options;
    options.fragments = fragments;
    options.batch = 16;
    return ReferenceCnn(*data, options).predict(test, 0);
  };
  const PredictionTable before = values_of(0), after = values_of(480);
  const auto right = [&](const PredictionTable& table) {
    int n = 0;
    for (size_t i = 0; i < test.size(); ++i) n += table.classes[i] == test[i].label;
    return n;
  };
  EXPECT_GT(right(after), 9);  // of 12
  EXPECT_GT(right(after), right(before));
  EXPECT_EQ(values_of(64).values, values_of(64).values);
  // Embedding, convolutions with their norms, linear layers for 64 bases.
  const ReferenceCnn cnn(*data, {});
  EXPECT_EQ(cnn.parameter_count(), 16 * 100 + (100 * 8 + 1 + 2) * 16 + (16 * 8 + 1 + 2) * 8 +
                                       (8 * 8 + 1 + 2) * 4 + (4 + 1) * 512 + (512 + 1) * 3);
}

}  // namespace
}  // namespace strandwave
