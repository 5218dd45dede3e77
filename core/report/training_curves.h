// What log.jsonl tells about the course of training, of one run or several. No LibTorch.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/report/html_page.h"
#include "core/report/run_files.h"
#include "core/report/svg_chart.h"

namespace strandwave::report {

// The numbers of one run's log. Curves are over finished steps.
struct TrainingLog {
  std::vector<Point> loss, lr, grad_norm, tokens_per_second, tokens;
  std::vector<std::pair<std::string, std::vector<Point>>> evaluations;  // by metric
  std::vector<double> resumed;                   // steps at which a later process began
  std::vector<std::pair<double, double>> skips;  // (step, steps left out since the record before)
  double step = NAN, steps = NAN;                // done, and of the whole run
  double parameters = NAN, skipped = 0;
  double memory_bytes = NAN;  // the peak: of the process on a CPU, of the device on a GPU
  double seconds = 0;         // of training, without evaluations and checkpoints
  std::string version, device, task, command;  // of the newest start
  std::vector<std::string> commands;           // all that differ
  double threads = NAN;

  bool finished() const { return step >= steps; }
};
TrainingLog training_log(const RunFiles& run);
// "finished, 900 steps"; "unfinished: step 120 of 900"
std::string progress_text(const TrainingLog& log);

// What the numbers of a kind of run are called.
struct TrainingWords {
  std::string loss;         // with its unit: "bits per base"
  std::string token;        // "base"
  std::string metric;       // the evaluation that belongs beside the loss; may be empty
  double loss_scale = 1;    // to that unit from that of the log (nats)
  double metric_scale = 1;  // and from that of the metric
  std::string remark = {};  // on the loss
};

struct TrainingRun {
  std::string name;
  int colour = 0;
  TrainingLog log;
  std::vector<std::pair<double, std::string>> levels;  // bits of predictors to compare with
};

// Loss, validation, learning rate, gradient norm and throughput, the runs overlaid. Over steps;
// over tokens where the runs read unequal numbers of them per step. Empty without a log.
Markup training_curves(const std::vector<TrainingRun>& runs, const TrainingWords& words);

}  // namespace strandwave::report
