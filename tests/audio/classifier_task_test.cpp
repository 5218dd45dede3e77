// Training a classifier: what it learns, exact resumption with running statistics, bad data.
#include "audio/classifier/classifier_task.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>

#include "audio/classifier/classifier_measures.h"
#include "audio/io/audio_file.h"
#include "core/base/error.h"
#include "core/checkpoint/checkpoint.h"
#include "core/training/trainer.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

namespace fs = std::filesystem;
using strandwave::testing::TemporaryFolder;

// Folders of short tones with noise, one pitch per class.
class ClassifierTaskTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    const std::map<std::string, double> pitches = {{"low", 300}, {"middle", 900}, {"high", 2400}};
    for (const auto& [name, hertz] : pitches) {
      fs::create_directories(folder_->path() / "tones" / name);
      for (int i = 0; i < 20; ++i) write_tone(name, hertz, i);
    }
    const ClipDatasetOptions options;
    data_ =
        std::make_shared<const ClipDataset>(ClipDataset::open(folder_->path() / "tones", options));
  }
  static void TearDownTestSuite() {
    data_.reset();
    folder_.reset();
  }

  static void write_tone(const std::string& name, double hertz, int i) {
    const RandomStream stream(1, RandomPurpose::kSynthetic, static_cast<uint64_t>(i));
    Waveform wave{8000, std::vector<float>(2000)};
    for (size_t t = 0; t < wave.samples.size(); ++t)
      wave.samples[t] =
          static_cast<float>(0.3 * std::sin(2 * std::numbers::pi * hertz * (1 + 0.01 * i) *
                                            static_cast<double>(t) / 8000) +
                             0.05 * stream.normal(t));
    write_audio(folder_->path() / "tones" / name / (std::to_string(i) + ".wav"), wave);
  }

  static AudioClassifierConfig config() {
    AudioClassifierConfig config = AudioClassifierConfig::of_rate(8000);
    config.clip_length = 2048;
    config.classes = data_->labels();
    return config;
  }

  static ClassifierTaskOptions task_options() {
    ClassifierTaskOptions options;
    options.batch = 12;
    options.augmentation = {.shift = 0.02, .gain = 6, .noise = 0.3};
    return options;
  }

  static TrainingResult train(const std::string& run, int64_t steps, int64_t stop_after = 0,
                              c10::Device device = torch::kCPU) {
    const AudioClassifierConfig shape = config();
    const auto network = make_classifier_network(shape, 4);
    ClassifierTask task(shape, network, data_, classes_of_labels(data_->labels(), shape.classes),
                        task_options());
    TrainerConfig trainer;
    trainer.steps = steps;
    trainer.lr = 5e-3;
    trainer.eval_every = 10;
    trainer.save_every = 5;
    RunOptions options;
    options.directory = folder_->path() / run;
    options.quiet = true;
    options.device = device;
    if (stop_after > 0) {  // as if killed: later checkpoints are gone
      const TrainingResult result =
          Trainer(trainable(shape, network), task, trainer, options).run();
      for (const int64_t step : checkpoint_steps(options.directory))
        if (step > stop_after) fs::remove_all(checkpoint_path(options.directory, step));
      return result;
    }
    return Trainer(trainable(shape, network), task, trainer, options).run();
  }

  static std::unique_ptr<TemporaryFolder> folder_;
  static std::shared_ptr<const ClipDataset> data_;
};
std::unique_ptr<TemporaryFolder> ClassifierTaskTest::folder_;
std::shared_ptr<const ClipDataset> ClassifierTaskTest::data_;

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST_F(ClassifierTaskTest, LearnsAndTheBestNetworkComesBackWithItsStatistics) {
  const TrainingResult result = train("run", 30);
  ASSERT_FALSE(result.evaluation.empty());
  EXPECT_EQ(result.evaluation[0].name, "log_loss");
  EXPECT_LT(*result.best, 0.3);
  const AudioClassifier best = load_audio_classifier(result.best_model);
  const auto class_of_label = classes_of_labels(data_->labels(), best.labels());
  const LabelledClips held_out = labelled_clips(*data_, Split::kValidation, class_of_label);
  const auto raw = best.predict(samples_of(*data_, held_out)).log_probabilities;
  const nlohmann::json measured =
      classifier_measures(best.labels(), held_out.classes,
                          at_temperature(raw, fit_clip_temperature(held_out.classes, raw)));
  EXPECT_DOUBLE_EQ(measured.at("log_loss"), *result.best);
  EXPECT_GT(measured.at("accuracy"), 0.8);
  for (const auto& [name, tensor] : named_tensors(*best.network())) {
    if (name.ends_with("running_mean")) EXPECT_GT(tensor.abs().max().item<float>(), 0) << name;
  }
}

TEST_F(ClassifierTaskTest, AStoppedRunEndsAsAnUnbrokenOne) {
  const Checkpoint whole = load_checkpoint(train("whole", 20).checkpoint);
  train("cut", 20, /*stop_after=*/5);
  const Checkpoint resumed = load_checkpoint(train("cut", 20).checkpoint);
  ASSERT_EQ(whole.model.size(), resumed.model.size());
  for (size_t i = 0; i < whole.model.size(); ++i) {
    EXPECT_EQ(whole.model[i].first, resumed.model[i].first);
    EXPECT_TRUE(torch::equal(whole.model[i].second, resumed.model[i].second))
        << whole.model[i].first;
  }
}

TEST_F(ClassifierTaskTest, BatchesAreAFunctionOfStepAndSeed) {
  const AudioClassifierConfig shape = config();
  const auto network = make_classifier_network(shape, 4);
  const auto classes = classes_of_labels(data_->labels(), shape.classes);
  const ClassifierTask task(shape, network, data_, classes, task_options());
  const Batch first = task.batch(3, 0), again = task.batch(3, 0), later = task.batch(4, 0);
  EXPECT_TRUE(torch::equal(first.at("images"), again.at("images")));
  EXPECT_FALSE(torch::equal(first.at("images"), later.at("images")));
  // An epoch sees every training clip once.
  ClassifierTaskOptions plain = task_options();
  plain.augmentation = {};
  plain.batch = static_cast<int64_t>(data_->clips_of(Split::kTrain).size());
  const ClassifierTask epochs(shape, network, data_, classes, plain);
  const auto per_class = [&](int64_t step) {
    return epochs.batch(step, 0).at("classes").bincount();
  };
  EXPECT_TRUE(torch::equal(per_class(0), per_class(1)));
  EXPECT_FALSE(torch::equal(epochs.batch(0, 0).at("classes"), epochs.batch(1, 0).at("classes")));
}

TEST_F(ClassifierTaskTest, WhatCannotBeTrainedIsRefused) {
  const AudioClassifierConfig shape = config();
  const auto network = make_classifier_network(shape, 4);
  const std::vector<int64_t> classes = classes_of_labels(data_->labels(), shape.classes);
  const auto message = [&](const std::function<void(AudioClassifierConfig&, ClassifierTaskOptions&,
                                                    std::vector<int64_t>&)>& change) {
    AudioClassifierConfig changed = shape;
    ClassifierTaskOptions options = task_options();
    std::vector<int64_t> of_label = classes;
    change(changed, options, of_label);
    return message_of([&] { ClassifierTask(changed, network, data_, of_label, options); });
  };
  EXPECT_NE(message([](auto&, auto& options, auto&) { options.batch = 1; }).find("--batch 2"),
            std::string::npos);
  EXPECT_NE(message([](auto& changed, auto&, auto&) {
              changed.sample_rate = 16000;
            }).find("--rate 16000"),
            std::string::npos);
  EXPECT_NE(message([](auto&, auto&, auto& of_label) {
              of_label.assign(of_label.size(), 0);
            }).find("no training clip"),
            std::string::npos);
  ClipDatasetOptions no_validation;
  no_validation.files.shares.validation = 0;
  const auto data = std::make_shared<const ClipDataset>(
      ClipDataset::open(folder_->path() / "tones", no_validation));
  EXPECT_NE(message_of([&] {
              ClassifierTask(shape, network, data, classes, task_options());
            }).find("--validation-fraction"),
            std::string::npos);
  ClipDatasetOptions no_label;
  no_label.files.label = "none";
  const auto unlabelled =
      std::make_shared<const ClipDataset>(ClipDataset::open(folder_->path() / "tones", no_label));
  EXPECT_NE(message_of([&] {
              ClassifierTask(shape, network, unlabelled, {}, task_options());
            }).find("has no label"),
            std::string::npos);
}

class ClassifierTaskCudaTest : public ClassifierTaskTest {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "needs a GPU";
  }
};

TEST_F(ClassifierTaskCudaTest, LearnsAndAgreesWithTheCpu) {
  const TrainingResult result = train("cuda", 30, 0, torch::kCUDA);
  EXPECT_LT(*result.best, 0.3);
  AudioClassifier best = load_audio_classifier(result.best_model);
  const LabelledClips held_out =
      labelled_clips(*data_, Split::kValidation, classes_of_labels(data_->labels(), best.labels()));
  const auto clips = samples_of(*data_, held_out);
  const auto on_cpu = best.predict(clips);
  best.to(torch::kCUDA);
  const auto on_gpu = best.predict(clips);
  for (size_t i = 0; i < clips.size(); ++i)
    for (size_t c = 0; c < best.labels().size(); ++c)
      EXPECT_NEAR(on_gpu.log_probabilities[i][c], on_cpu.log_probabilities[i][c], 1e-2);
}

}  // namespace
}  // namespace strandwave::audio
