#include <memory>

#include "apps/commands.h"
#include "apps/evaluate_classifier.h"
#include "apps/finetune_run.h"

namespace strandwave::apps {
namespace {

// What the flags say in words.
struct Words {
  std::string kind = "class";
  std::string split = "clusters";
  std::string pooling = "mean";
  std::string selection = "macro-f1";
  std::string lengths;
  std::string error_rate = "0";
  std::vector<std::string> baselines;
};

void add_data_options(CLI::App& command, FinetuneCommand& finetune, Words& words) {
  FragmentOptions& fragments = finetune.fragments;
  command
      .add_option("DATA", finetune.data,
                  "Manifest TSV of genomes (path label [group] [split] [taxid]), labelled CSV "
                  "(sequence,label), TSV or FASTA, a folder with train, dev and test, or "
                  "train=FILE,test=FILE")
      ->required();
  command
      .add_option("--kind", words.kind, "What labels are: class, multi-label (a;b) or regression")
      ->check(CLI::IsMember({"class", "multi-label", "regression"}))
      ->capture_default_str();
  CLI::Option* length =
      command
          .add_option("--length", fragments.length,
                      "Bases per training fragment; needed for genomes; 0: whole sequences")
          ->check(non_negative_number())
          ->capture_default_str();
  command
      .add_option("--length-dist", words.lengths,
                  "Lengths of training fragments: 100-300, uniform:100,300, normal:150,20, or a "
                  "FASTA, FASTQ, BAM or two-column file of lengths")
      ->excludes(length);
  command
      .add_option("--error-rate", words.error_rate,
                  "Substitutions per base in training fragments: a share such as 0.05, or a range "
                  "such as 0-0.2 from which each fragment draws its own")
      ->capture_default_str();
  command
      .add_option(
          "--split", words.split,
          "How sequences without a given split are divided: clusters of similar ones whole, "
          "or random rows")
      ->check(CLI::IsMember({"clusters", "random"}))
      ->capture_default_str();
  command.add_option("--split-seed", fragments.split_seed, "Seed of that division")
      ->capture_default_str();
  command
      .add_option(
          "--folds", fragments.folds,
          "Cross-validation: so many runs in OUT/fold-1, OUT/fold-2, ... and OUT/folds.json")
      ->check(CLI::Range(3, 1000));
  command.add_option("--cache", fragments.cache_dir,
                     "Folder of packed genomes; default $STRANDWAVE_CACHE, "
                     "$XDG_CACHE_HOME/strandwave or ~/.cache/strandwave");
}

void add_learning_options(CLI::App& command, FinetuneCommand& finetune, Words& words) {
  FinetuneOptions& task = finetune.task;
  command.add_option("--model", finetune.start_from,
                     "Pretrained run or model; without it a new model is trained from scratch");
  command.add_flag("--freeze", task.freeze, "Train the head only; the model stays as it is");
  command
      .add_option("--pooling", words.pooling,
                  "What the head sees: the mean over all positions, or the last one")
      ->check(CLI::IsMember({"mean", "last"}))
      ->capture_default_str();
  command
      .add_option("--lm-weight", task.lm_weight,
                  "Weight of the loss of the next base (nats, mean over a fragment); keeps the "
                  "out-of-distribution score alive; 0: none")
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option("--class-weights", finetune.class_weights,
                  "uniform, balanced (of multi-label data), or a file of lines label<TAB>weight; "
                  "classes are sampled equally in any case")
      ->capture_default_str();
  command.add_option("--batch", task.batch, "Fragments per micro-batch")
      ->check(positive_number())
      ->capture_default_str();
  command
      .add_option("--eval-per-class", task.evaluation_per_class, "Validation fragments per class")
      ->check(positive_number())
      ->capture_default_str();
  command
      .add_option("--select", words.selection,
                  "Measure of a classifier's best checkpoint: macro-f1 or accuracy")
      ->check(CLI::IsMember({"macro-f1", "accuracy"}))
      ->capture_default_str();
  command
      .add_option("--patience", task.patience,
                  "Stop after so many evaluations without improvement; 0: never")
      ->check(non_negative_number())
      ->capture_default_str();
}

void add_test_options(CLI::App& command, FinetuneCommand& finetune, Words& words) {
  command.add_option("--test-per-class", finetune.test_per_class, "Test fragments per class")
      ->check(positive_number())
      ->capture_default_str();
  add_test_cell_options(command, finetune.test,
                        "Test at each of these lengths, in bases; 0: as trained");
  command
      .add_option("--prior", finetune.prior,
                  "Classes to expect in the test: uniform, train (as in the training data), or a "
                  "file of lines label<TAB>weight")
      ->capture_default_str();
  command
      .add_option("--baseline", words.baselines,
                  "cnn: the field's reference network, trained on as many fragments; beside it "
                  "majority, GC content, naive Bayes and 31-mer lookup always stand")
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"cnn"}));
  command.add_flag(
      "--leave-one-class-out", finetune.leave_one_class_out,
      "Train again without each class, in OUT/left-out-CLASS, and measure how well its "
      "fragments are noticed");
}

void run(FinetuneCommand command, const Words& words) {
  if (words.kind == "multi-label") command.fragments.kind = LabelKind::kMultiLabel;
  if (words.kind == "regression") command.fragments.kind = LabelKind::kRegression;
  if (words.split == "random") command.fragments.split = SplitPolicy::kRandom;
  if (words.pooling == "last") command.pooling = HeadConfig::Pooling::kLast;
  if (words.selection == "accuracy") command.task.selection = Selection::kAccuracy;
  command.fragments.error_rate = ErrorRate::parse(words.error_rate);
  if (!words.lengths.empty()) command.fragments.lengths = LengthDistribution::parse(words.lengths);
  command.cnn = !words.baselines.empty();
  run_finetune(std::move(command));
}

}  // namespace

void add_dna_finetune(CLI::App& dna) {
  CLI::App* command = dna.add_subcommand(
      "finetune", "Fit a classifier, multi-label classifier or regression of DNA sequences");
  auto options = std::make_shared<FinetuneCommand>();
  auto words = std::make_shared<Words>();
  options->training.trainer.lr = 2e-3;
  add_data_options(*command, *options, *words);
  add_learning_options(*command, *options, *words);
  add_test_options(*command, *options, *words);
  add_model_options(*command, options->model);
  add_training_options(*command, options->training);
  command->callback([options, words] { run(*options, *words); });
}

}  // namespace strandwave::apps
