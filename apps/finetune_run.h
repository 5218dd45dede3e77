// What `dna finetune` does, step by step: train, calibrate, test, leave classes out, fold.
#pragma once

#include <string>

#include "apps/training_options.h"
#include "genomics/classifier_report.h"
#include "genomics/finetune_task.h"
#include "genomics/labelled_fragments.h"

namespace strandwave::apps {

struct FinetuneCommand {
  TrainingOptions training;
  ModelOptions model;
  FragmentOptions fragments;
  FinetuneOptions task;
  TestOptions test;
  HeadConfig::Pooling pooling = HeadConfig::Pooling::kMean;
  std::string data;
  std::string start_from;
  std::string class_weights = "uniform";
  std::string prior = "uniform";
  bool cnn = false;
  bool leave_one_class_out = false;
  int64_t test_per_class = 2000;
};

void run_finetune(FinetuneCommand command);

}  // namespace strandwave::apps
