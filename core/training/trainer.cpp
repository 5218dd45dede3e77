#include "core/training/trainer.h"

#include <cmath>
#include <ctime>
#include <functional>
#include <map>
#include <numbers>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_lines.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/base/tensorboard.h"
#include "core/checkpoint/checkpoint.h"
#include "core/models/sequence_model.h"
#include "core/runtime/accelerator.h"
#include "core/runtime/out_of_memory.h"
#include "core/training/batch_queue.h"
#include "core/training/flat_parameters.h"
#include "core/training/optimizer.h"
#include "core/training/run_directory.h"
#include "core/training/schedule.h"

namespace strandwave {
namespace {

// Without a finite gradient for so long, a run has diverged for good.
constexpr int64_t kMostSkippedInARow = 100;

nlohmann::json metrics_to_json(const std::vector<Metric>& metrics) {
  nlohmann::json list = nlohmann::json::array();
  for (const Metric& metric : metrics)
    list.push_back({{"name", metric.name},
                    {"value", metric.value},
                    {"higher_is_better", metric.higher_is_better}});
  return list;
}

std::vector<Metric> metrics_from_json(const nlohmann::json& list) {
  std::vector<Metric> metrics;
  for (const nlohmann::json& item : list)
    metrics.push_back({item.at("name"),
                       item.at("value").is_null() ? NAN : item.at("value").get<double>(),
                       item.at("higher_is_better")});
  return metrics;
}

// What a checkpoint's state.json holds beyond the task's own state.
struct RunState {
  int64_t step = 0;    // finished steps; the next batch is that of step `step`
  int64_t tokens = 0;  // positions read so far
  int64_t evaluated_step = -1;
  std::vector<Metric> evaluation;  // of that step
  std::optional<double> best;
  int64_t best_step = 0;
  double last_loss = NAN;  // of the last log record
  // The sums on the device, as they were.
  double interval_loss = 0, interval_weight = 0, skipped = 0;
  int64_t log_bytes = 0, event_bytes = 0;

  nlohmann::json to_json() const;
  static RunState from_json(const nlohmann::json& state);
};

nlohmann::json RunState::to_json() const {
  return {
      {"step", step},
      {"tokens", tokens},
      {"evaluated_step", evaluated_step},
      {"evaluation", metrics_to_json(evaluation)},
      {"best", best ? nlohmann::json(*best) : nlohmann::json()},
      {"best_step", best_step},
      {"last_loss", last_loss},
      {"interval_loss", interval_loss},
      {"interval_weight", interval_weight},
      {"skipped", skipped},
      {"log_bytes", log_bytes},
      {"event_bytes", event_bytes},
  };
}

RunState RunState::from_json(const nlohmann::json& state) {
  RunState result;
  result.step = state.at("step");
  result.tokens = state.at("tokens");
  result.evaluated_step = state.at("evaluated_step");
  result.evaluation = metrics_from_json(state.at("evaluation"));
  if (!state.at("best").is_null()) result.best = state.at("best").get<double>();
  result.best_step = state.at("best_step");
  result.last_loss = state.at("last_loss").is_null() ? NAN : state.at("last_loss").get<double>();
  result.interval_loss = state.at("interval_loss");
  result.interval_weight = state.at("interval_weight");
  result.skipped = state.at("skipped");
  result.log_bytes = state.at("log_bytes");
  result.event_bytes = state.at("event_bytes");
  return result;
}

// Sums over the steps since the last log record, on the device, and the skipped steps of the run.
struct IntervalSums {
  torch::Tensor loss, weight, skipped;  // scalars, float64

  explicit IntervalSums(torch::Device device)
      : loss(torch::zeros({}, torch::TensorOptions().dtype(torch::kFloat64).device(device))),
        weight(torch::zeros_like(loss)),
        skipped(torch::zeros_like(loss)) {}

  void add(const torch::Tensor& step_loss, double step_weight, const torch::Tensor& left_out) {
    loss.add_(torch::where(left_out > 0, torch::zeros_like(step_loss), step_loss));
    weight.add_((1 - left_out.to(torch::kFloat64)) * step_weight);
    skipped.add_(left_out);
  }
};

// The averaged parameters in place of the trained ones while this lives.
class AveragedParameters {
 public:
  AveragedParameters(FlatParameters& parameters, const torch::Tensor& average)
      : parameters_(parameters) {
    if (!average.defined()) return;
    trained_ = parameters.masters().clone();
    exchange(average);
  }
  ~AveragedParameters() {
    if (trained_.defined()) exchange(trained_);
  }
  AveragedParameters(const AveragedParameters&) = delete;
  AveragedParameters& operator=(const AveragedParameters&) = delete;

 private:
  void exchange(const torch::Tensor& values) {
    parameters_.masters().copy_(values);
    parameters_.refresh();
  }

  FlatParameters& parameters_;
  torch::Tensor trained_;
};

// The gradients of one step, in the flat buffer of the parameters.
class StepGradients : public GradientSum {
 public:
  StepGradients(FlatParameters& parameters, double weight)
      : parameters_(parameters), weight_(weight) {}

  void add(const torch::Tensor& loss, const std::vector<torch::Tensor>& outputs,
           const std::vector<torch::Tensor>& output_gradients) override {
    TORCH_CHECK(outputs.size() == output_gradients.size(), outputs.size(), " outputs and ",
                output_gradients.size(), " gradients of outputs");
    torch::autograd::variable_list roots = {loss / weight_};
    torch::autograd::variable_list root_gradients = {torch::Tensor()};
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!output_gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_gradients.push_back(output_gradients[i]);
    }
    torch::autograd::backward(roots, root_gradients);
    parameters_.collect_gradients();
  }

 private:
  FlatParameters& parameters_;
  double weight_;
};

// Tensors that the task carries from step to step, in training.safetensors.
constexpr std::string_view kCarriedPrefix = "task.";

void append_carried(NamedTensors& list, const Task& task) {
  for (const auto& [name, tensor] : task.carried())
    list.emplace_back(std::string(kCarriedPrefix) + name, tensor.cpu().contiguous());
}

std::map<std::string, torch::Tensor> carried_tensors(const NamedTensors& list) {
  std::map<std::string, torch::Tensor> carried;
  for (const auto& [name, tensor] : list)
    if (name.starts_with(kCarriedPrefix))
      carried.emplace(name.substr(kCarriedPrefix.size()), tensor);
  return carried;
}

void append_tensors(NamedTensors& list, const FlatParameters& parameters, const torch::Tensor& flat,
                    const std::string& suffix) {
  const torch::Tensor host = flat.cpu();
  for (const auto& entry : parameters.entries())
    list.emplace_back(entry.name + suffix, FlatParameters::view(host, entry));
}

void append_frozen(NamedTensors& list, const FlatParameters& parameters) {
  for (const auto& [name, value] : parameters.frozen()) list.emplace_back(name, value.cpu());
}

// Frozen parameters are what the run began with, but for running statistics, which training
// changes.
void restore_frozen(const NamedTensors& list, const FlatParameters& parameters) {
  const std::map<std::string, torch::Tensor> by_name(list.begin(), list.end());
  for (const auto& [name, value] : parameters.frozen())
    if (const auto found = by_name.find(name); found != by_name.end())
      torch::Tensor(value).copy_(found->second);
}

// Copies the tensors named <parameter><suffix> into `flat`.
void restore_tensors(const NamedTensors& list, const FlatParameters& parameters,
                     const torch::Tensor& flat, const std::string& suffix,
                     const std::filesystem::path& where) {
  std::map<std::string, torch::Tensor> by_name(list.begin(), list.end());
  const torch::Tensor host = torch::zeros_like(flat, torch::kCPU);
  for (const auto& entry : parameters.entries()) {
    const auto found = by_name.find(entry.name + suffix);
    if (found == by_name.end())
      throw input_error(where.string() + ": no tensor " + entry.name + suffix);
    if (found->second.sizes() != at::IntArrayRef(entry.shape))
      throw input_error(where.string() + ": tensor " + entry.name + suffix + " has shape " +
                        c10::str(found->second.sizes()) + ", the model's has " +
                        c10::str(at::IntArrayRef(entry.shape)));
    FlatParameters::view(host, entry).copy_(found->second);
  }
  flat.copy_(host);
}

nlohmann::json run_config(const TrainableModel& model, const TrainerConfig& config,
                          const Task& task) {
  return {{"model", model.config}, {"trainer", config.to_json()}, {"task", task.config()}};
}

TrainerConfig checked(TrainerConfig config, const TrainableModel& model, torch::Device device) {
  config.validate();
  if (config.precision == "bf16" && !device.is_cuda())
    throw usage_error("precision bf16 needs a GPU; on the CPU use fp32");
  if (config.recompute && !model.set_recompute)
    throw usage_error("this model cannot recompute activations: leave recompute out");
  return config;
}

}  // namespace

TrainableModel trainable(std::shared_ptr<SequenceModel> model) {
  TrainableModel result;
  result.module = model;
  result.decays = &SequenceModel::decays;
  result.lowered = &SequenceModel::lowered;
  result.config = model->config().to_json();
  SequenceModel* raw = model.get();
  result.set_recompute = [raw](bool on) {
    raw->set_recomputation(on ? Recomputation::kLayer : Recomputation::kNone);
  };
  return result;
}

class Trainer::Loop {
 public:
  Loop(TrainableModel model, Task& task, TrainerConfig config, RunOptions options)
      : model_(std::move(model)),
        task_(task),
        config_(checked(std::move(config), model_, options.device)),
        options_(std::move(options)),
        directory_(options_.directory, run_config(model_, config_, task_), options_.force),
        progress_(options_.progress, options_.quiet),
        parameters_(model_.module, model_.decays, model_.lowered, config_.precision == "bf16",
                    options_.device),
        optimizer_(parameters_, {config_.beta1, config_.beta2, config_.eps, config_.weight_decay,
                                 config_.clip, config_.ema_decay}),
        sums_(options_.device) {
    if (config_.recompute) model_.set_recompute(true);
  }

  TrainingResult run();

 private:
  void start();
  void restore(const ValidCheckpoint& checkpoint);
  void open_logs();
  void train_step(const StepBatches& data);
  bool finished() const { return state_.step == config_.steps || task_.should_stop(); }
  bool evaluation_due() const;
  void evaluate();
  void save_best();
  bool saving_due() const;
  void save();
  [[noreturn]] void stop();
  bool logging_due() const;
  void log_interval();
  void show_interval(double loss, double lr, double tokens_per_second);
  void require_progress();
  void read_sums(double* grad_norm);
  TrainingResult result() const;
  double learning_rate(int64_t step) const {
    return learning_rate_at_step(step, config_.steps, config_.warmup_steps, config_.lr,
                                 config_.min_lr);
  }

  TrainableModel model_;
  Task& task_;
  TrainerConfig config_;
  RunOptions options_;
  RunDirectory directory_;
  Progress progress_;
  FlatParameters parameters_;
  AdamW optimizer_;
  IntervalSums sums_;

  RunState state_;
  int64_t saved_step_ = -1;
  int64_t skipped_in_a_row_ = 0;
  std::optional<JsonLines> log_;
  std::optional<TensorBoardWriter> events_;
  RateMeter steps_meter_;   // since the start of this process
  RateMeter tokens_meter_;  // since the last log record
};

TrainingResult Trainer::Loop::run() {
  const SignalGuard signals;
  model_.module->train();
  start();
  BatchQueue batches(task_, state_.step, config_.steps, config_.accumulation, options_.prefetch,
                     options_.device.is_cuda());
  steps_meter_.start(static_cast<double>(state_.step));
  tokens_meter_.start(static_cast<double>(state_.tokens));
  while (true) {
    if (evaluation_due() || saving_due()) {
      if (evaluation_due()) evaluate();
      if (saving_due()) save();
      tokens_meter_.start(static_cast<double>(state_.tokens));  // the rate is that of training
    }
    if (finished()) break;
    if (interrupted()) stop();
    train_step(batches.next());
    if (logging_due()) log_interval();
  }
  if (state_.step < config_.steps)
    progress_.message("ended early, at step " + std::to_string(state_.step) + " of " +
                      std::to_string(config_.steps));
  progress_.finish();
  return result();
}

// From the newest valid checkpoint, or from step 0.
void Trainer::Loop::start() {
  const std::optional<ValidCheckpoint> checkpoint = latest_valid(directory_.path());
  if (checkpoint) restore(*checkpoint);
  open_logs();
  progress_.message((checkpoint
                         ? "continuing " + directory_.path().string() + " at step " +
                               std::to_string(state_.step) + " of " + std::to_string(config_.steps)
                         : "training " + std::to_string(parameters_.parameter_count()) +
                               " parameters for " + std::to_string(config_.steps) + " steps") +
                    ": " + task_.description());
  log_->write({{"type", "run"},
               {"step", state_.step},
               {"steps", config_.steps},
               {"version", options_.version},
               {"command", options_.command},
               {"device", device_description(options_.device)},
               {"threads", at::get_num_threads()},
               {"parameters", parameters_.parameter_count()},
               {"task", task_.description()},
               {"time", std::time(nullptr)}});
  if (!checkpoint)
    events_->text("config", 0, "```\n" + run_config(model_, config_, task_).dump(2) + "\n```");
}

void Trainer::Loop::restore(const ValidCheckpoint& valid) {
  for (const std::string& reason : valid.skipped)
    progress_.message("passing over a checkpoint: " + reason);
  const Checkpoint checkpoint = load_checkpoint(valid.directory);
  const torch::NoGradGuard no_grad;
  const auto restore_flat = [&](const NamedTensors& list, const torch::Tensor& flat,
                                const char* suffix) {
    restore_tensors(list, parameters_, flat, suffix, valid.directory);
  };
  restore_flat(checkpoint.model, parameters_.masters(), "");
  restore_frozen(checkpoint.model, parameters_);
  restore_flat(checkpoint.training, optimizer_.exp_avg(), ".exp_avg");
  restore_flat(checkpoint.training, optimizer_.exp_avg_sq(), ".exp_avg_sq");
  if (optimizer_.ema().defined()) restore_flat(checkpoint.training, optimizer_.ema(), ".ema");
  parameters_.refresh();
  try {
    state_ = RunState::from_json(checkpoint.state.at("run"));
    task_.restore(checkpoint.state.at("task"));
    task_.restore_carried(carried_tensors(checkpoint.training));
  } catch (const nlohmann::json::exception& error) {
    throw input_error((valid.directory / "state.json").string() +
                      " is not a training state: " + error.what());
  }
  optimizer_.set_step_count(state_.step - static_cast<int64_t>(state_.skipped));
  sums_.loss.fill_(state_.interval_loss);
  sums_.weight.fill_(state_.interval_weight);
  sums_.skipped.fill_(state_.skipped);
  saved_step_ = state_.step;
}

// Whatever a former process logged after its last checkpoint will be logged again.
void Trainer::Loop::open_logs() {
  log_.emplace(directory_.log(), state_.log_bytes);
  events_.emplace(directory_.events(), state_.event_bytes);
}

void Trainer::Loop::train_step(const StepBatches& data) {
  torch::Tensor loss_sum = torch::zeros_like(sums_.loss);
  StepGradients gradients(parameters_, data.weight);
  for (const Batch& batch : data.batches)
    loss_sum.add_(task_.accumulate(batch.to(options_.device), gradients));
  // A step without any weight has a loss of 0 / 0 and is left out like others that are not finite.
  optimizer_.step(learning_rate(state_.step), loss_sum / data.weight);
  sums_.add(loss_sum, data.weight, optimizer_.left_out());
  state_.tokens += data.tokens;
  ++state_.step;
}

bool Trainer::Loop::evaluation_due() const {
  const bool scheduled = config_.eval_every > 0 && state_.step % config_.eval_every == 0;
  return state_.step > 0 && state_.step != state_.evaluated_step &&
         (scheduled || state_.step == config_.steps);
}

void Trainer::Loop::evaluate() {
  progress_.update("evaluating at step " + std::to_string(state_.step), true);
  const torch::NoGradGuard no_grad;
  std::vector<Metric> metrics;
  try {
    const AveragedParameters averaged(parameters_, optimizer_.ema());
    model_.module->eval();
    metrics = task_.evaluate();
    task_.show(state_.step);
    model_.module->train();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInterrupted) throw;
    stop();  // the evaluation comes again when the run goes on
  }
  state_.evaluated_step = state_.step;
  state_.evaluation = metrics;
  if (metrics.empty()) return;
  const Metric& first = metrics.front();
  const bool best = std::isfinite(first.value) &&
                    (!state_.best || (first.higher_is_better ? first.value > *state_.best
                                                             : first.value < *state_.best));
  if (best) {
    state_.best = first.value;
    state_.best_step = state_.step;
    save_best();
  }
  nlohmann::json values;
  std::string line = "step " + std::to_string(state_.step) + " evaluation:";
  for (const Metric& metric : metrics) {
    values[metric.name] = metric.value;
    events_->scalar("eval/" + metric.name, state_.step, metric.value);
    char text[64];
    std::snprintf(text, sizeof text, "  %.5g", metric.value);
    line += text + (" " + metric.name);
  }
  log_->write({{"type", "eval"}, {"step", state_.step}, {"metrics", values}, {"best", best}});
  progress_.message(line + (best ? "  (best so far)" : ""));
}

void Trainer::Loop::save_best() {
  Checkpoint model;
  model.config = model_.config;
  const bool averaged = optimizer_.ema().defined();
  append_frozen(model.model, parameters_);
  append_tensors(model.model, parameters_, averaged ? optimizer_.ema() : parameters_.masters(), "");
  model.state = {{"step", state_.step},
                 {"averaged", averaged},
                 {"evaluation", metrics_to_json(state_.evaluation)},
                 {"task", task_.config()},
                 {"version", options_.version}};
  model.companions = task_.companions(state_.step);
  save_checkpoint(directory_.best(), model);
}

bool Trainer::Loop::saving_due() const {
  const bool scheduled =
      state_.step > 0 && config_.save_every > 0 && state_.step % config_.save_every == 0;
  return state_.step != saved_step_ && (scheduled || finished());
}

void Trainer::Loop::save() {
  progress_.update("saving a checkpoint at step " + std::to_string(state_.step));
  log_->sync();
  events_->sync();
  read_sums(nullptr);
  state_.log_bytes = log_->size();
  state_.event_bytes = events_->size();
  Checkpoint checkpoint;
  checkpoint.config = model_.config;
  append_frozen(checkpoint.model, parameters_);
  append_tensors(checkpoint.model, parameters_, parameters_.masters(), "");
  append_tensors(checkpoint.training, parameters_, optimizer_.exp_avg(), ".exp_avg");
  append_tensors(checkpoint.training, parameters_, optimizer_.exp_avg_sq(), ".exp_avg_sq");
  if (optimizer_.ema().defined())
    append_tensors(checkpoint.training, parameters_, optimizer_.ema(), ".ema");
  append_carried(checkpoint.training, task_);
  checkpoint.state = {{"run", state_.to_json()},
                      {"task", task_.state()},
                      {"config", run_config(model_, config_, task_)},
                      {"version", options_.version}};
  checkpoint.companions = task_.companions(state_.step);
  save_checkpoint(checkpoint_path(directory_.path(), state_.step), checkpoint);
  prune_checkpoints(directory_.path(), config_.keep);
  saved_step_ = state_.step;
}

void Trainer::Loop::stop() {
  if (saved_step_ != state_.step) save();
  progress_.finish();
  throw Error(ErrorKind::kInterrupted,
              "stopped at step " + std::to_string(state_.step) + " of " +
                  std::to_string(config_.steps) + " and saved " +
                  checkpoint_path(directory_.path(), state_.step).string() +
                  "; the same command continues the run");
}

bool Trainer::Loop::logging_due() const {
  return state_.step % config_.log_every == 0 || state_.step == config_.steps;
}

// The one time that the host waits for the device.
void Trainer::Loop::read_sums(double* grad_norm) {
  const torch::Tensor values = torch::stack({sums_.loss, sums_.weight, sums_.skipped,
                                             optimizer_.gradient_norm().to(torch::kFloat64)})
                                   .cpu();
  const auto value = values.accessor<double, 1>();
  state_.interval_loss = value[0];
  state_.interval_weight = value[1];
  state_.skipped = value[2];
  if (grad_norm) *grad_norm = value[3];
}

void Trainer::Loop::log_interval() {
  double grad_norm = 0;
  read_sums(&grad_norm);
  sums_.loss.zero_();
  sums_.weight.zero_();
  const double loss = state_.interval_loss / state_.interval_weight;
  const double tokens_per_second = tokens_meter_.rate(static_cast<double>(state_.tokens));
  tokens_meter_.start(static_cast<double>(state_.tokens));
  state_.last_loss = loss;
  const double lr = learning_rate(state_.step - 1);
  const int64_t memory = device_memory(options_.device).peak_bytes;
  log_->write({{"type", "train"},
               {"step", state_.step},
               {"loss", loss},
               {"bits", loss / std::numbers::ln2},
               {"lr", lr},
               {"grad_norm", grad_norm},
               {"tokens", state_.tokens},
               {"tokens_per_second", tokens_per_second},
               {"skipped", static_cast<int64_t>(state_.skipped)},
               {"memory_bytes", memory}});
  events_->scalar("train/loss", state_.step, loss);
  events_->scalar("train/bits", state_.step, loss / std::numbers::ln2);
  events_->scalar("train/lr", state_.step, lr);
  events_->scalar("train/grad_norm", state_.step, grad_norm);
  events_->scalar("train/tokens_per_second", state_.step, tokens_per_second);
  events_->scalar("train/skipped", state_.step, state_.skipped);
  events_->scalar("train/memory_gib", state_.step, static_cast<double>(memory) / (1 << 30));
  show_interval(loss, lr, tokens_per_second);
  require_progress();
}

void Trainer::Loop::show_interval(double loss, double lr, double tokens_per_second) {
  const std::string token = task_.token_name();
  const double step = static_cast<double>(state_.step);
  char text[256];
  std::snprintf(
      text, sizeof text, "step %lld/%lld  %s  lr %.2e  %s %ss/s  eta %s  %s",
      static_cast<long long>(state_.step), static_cast<long long>(config_.steps),
      task_.loss_text(loss).c_str(), lr, format_count(tokens_per_second).c_str(), token.c_str(),
      format_duration(steps_meter_.seconds_left(step, static_cast<double>(config_.steps))).c_str(),
      format_bytes(device_memory(options_.device).peak_bytes).c_str());
  std::string line = text;
  if (state_.skipped > 0)
    line += "  " + std::to_string(static_cast<int64_t>(state_.skipped)) + " skipped";
  progress_.update(line, state_.step == config_.steps);
}

void Trainer::Loop::require_progress() {
  skipped_in_a_row_ = state_.interval_weight > 0 ? 0 : skipped_in_a_row_ + config_.log_every;
  if (skipped_in_a_row_ < kMostSkippedInARow) return;
  throw runtime_failure(
      "no finite gradient in the last " + std::to_string(skipped_in_a_row_) + " steps up to step " +
      std::to_string(state_.step) +
      ": the run has diverged. Lower lr, lengthen warmup_steps or lower clip, and "
      "start anew");
}

TrainingResult Trainer::Loop::result() const {
  TrainingResult result;
  result.step = state_.step;
  result.skipped = static_cast<int64_t>(state_.skipped);
  result.loss = state_.last_loss;
  result.evaluation = state_.evaluation;
  result.best = state_.best;
  result.best_step = state_.best_step;
  result.checkpoint = checkpoint_path(directory_.path(), state_.step);
  result.best_model = state_.best ? directory_.best() : result.checkpoint;
  return result;
}

Trainer::Trainer(TrainableModel model, Task& task, TrainerConfig config, RunOptions options)
    : task_(task), device_(options.device) {
  make_deterministic();
  explain_out_of_memory(device_, task_.memory_advice(), [&] {
    loop_ = std::make_unique<Loop>(std::move(model), task, std::move(config), std::move(options));
  });
}

Trainer::~Trainer() = default;

TrainingResult Trainer::run() {
  TrainingResult result;
  explain_out_of_memory(device_, task_.memory_advice(), [&] { result = loop_->run(); });
  return result;
}

}  // namespace strandwave
