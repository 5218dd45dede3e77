// The test of a language model: options of the commands that make one, and its tables.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "genomics/splits.h"

namespace strandwave::apps {

struct EvaluationOptions {
  std::optional<int64_t> window;  // bases; 0: whole intervals; nothing: a default of the command
  int64_t bases = 0;              // evaluated at most; 0: all
  int64_t batch_tokens = 1 << 16;
  std::vector<std::string> baselines = {"markov"};
  std::vector<int> orders = {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};  // -1: no Markov model
  double cnn_seconds = 0;  // that the causal CNN is trained; 0: as long as the model

  bool wants(const std::string& baseline) const;
  std::vector<int> markov_orders() const;  // none where no Markov model is wanted
};
// All but --baseline and --batch-bases.
void add_evaluation_options(CLI::App& command, EvaluationOptions& options);
// "markov,cnn". Throws Error(kUsage) for what is no baseline.
std::vector<std::string> parse_baselines(const std::string& text);

// Training windows for the causal CNN, see CausalCnnTraining; none: drawn at random.
using TrainingWindows = std::function<torch::Tensor(int64_t step)>;

// Tests `model`, which was loaded from `path`, on the test intervals; prints the tables to `out`
// and returns the figures (genomics/language_model_report.h).
nlohmann::json evaluate_language_model(SequenceModel& model, const std::string& path,
                                       const Genome& genome, const Splits& splits,
                                       const EvaluationOptions& options,
                                       const TrainingWindows& windows, bool quiet,
                                       std::ostream& out);

}  // namespace strandwave::apps
