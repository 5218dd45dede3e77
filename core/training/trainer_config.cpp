#include <limits>
#include <string>

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "core/training/trainer.h"

namespace strandwave {
namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename Number>
void require(bool good, const char* name, Number value, const std::string& expected) {
  if (good) return;
  throw usage_error(std::string("trainer: ") + name + " is " + nlohmann::json(value).dump() +
                    ", but must be " + expected);
}

}  // namespace

nlohmann::json TrainerConfig::to_json() const {
  return {
      {"steps", steps},
      {"accumulation", accumulation},
      {"precision", precision},
      {"recompute", recompute},
      {"seed", seed},
      {"lr", lr},
      {"min_lr", min_lr},
      {"warmup_steps", warmup_steps},
      {"beta1", beta1},
      {"beta2", beta2},
      {"eps", eps},
      {"weight_decay", weight_decay},
      {"clip", clip},
      {"ema_decay", ema_decay},
      {"log_every", log_every},
      {"eval_every", eval_every},
      {"save_every", save_every},
      {"keep", keep},
  };
}

TrainerConfig TrainerConfig::from_json(const nlohmann::json& config) {
  JsonObject object(config, "trainer");
  TrainerConfig result;
  result.steps = object.integer("steps", result.steps, 1, kMost);
  result.accumulation = object.integer("accumulation", result.accumulation, 1, kMost);
  result.precision = object.choice("precision", result.precision, {"fp32", "bf16"});
  result.recompute = object.boolean("recompute", result.recompute);
  result.seed = static_cast<uint64_t>(object.integer("seed", 0, 0, kMost));
  result.lr = object.number("lr", result.lr, 0, kInfinity);
  result.min_lr = object.number("min_lr", result.min_lr, 0, kInfinity);
  result.warmup_steps = object.integer("warmup_steps", result.warmup_steps, 0, kMost);
  result.beta1 = object.number("beta1", result.beta1, 0, 1);
  result.beta2 = object.number("beta2", result.beta2, 0, 1);
  result.eps = object.number("eps", result.eps, 0, kInfinity);
  result.weight_decay = object.number("weight_decay", result.weight_decay, 0, kInfinity);
  result.clip = object.number("clip", result.clip, 0, kInfinity);
  result.ema_decay = object.number("ema_decay", result.ema_decay, 0, 1);
  result.log_every = object.integer("log_every", result.log_every, 1, kMost);
  result.eval_every = object.integer("eval_every", result.eval_every, 0, kMost);
  result.save_every = object.integer("save_every", result.save_every, 0, kMost);
  result.keep = object.integer("keep", result.keep, 1, kMost);
  object.finish();
  result.validate();
  return result;
}

void TrainerConfig::validate() const {
  require(steps >= 1, "steps", steps, "at least 1");
  require(accumulation >= 1, "accumulation", accumulation, "at least 1");
  require(precision == "fp32" || precision == "bf16", "precision", precision, "fp32 or bf16");
  require(seed <= static_cast<uint64_t>(kMost), "seed", seed, "below 2^63");
  require(lr >= 0 && lr < kInfinity, "lr", lr, "a finite number >= 0");
  require(min_lr >= 0 && min_lr <= lr, "min_lr", min_lr, "from 0 to lr");
  require(warmup_steps >= 0 && warmup_steps <= steps, "warmup_steps", warmup_steps,
          "from 0 to steps (" + std::to_string(steps) + ")");
  require(beta1 >= 0 && beta1 < 1, "beta1", beta1, "from 0 to below 1");
  require(beta2 >= 0 && beta2 < 1, "beta2", beta2, "from 0 to below 1");
  require(eps > 0 && eps < kInfinity, "eps", eps, "a finite number above 0");
  require(weight_decay >= 0 && weight_decay < kInfinity, "weight_decay", weight_decay,
          "a finite number >= 0");
  require(clip >= 0 && clip < kInfinity, "clip", clip, "a finite number >= 0 (0: no clipping)");
  require(ema_decay >= 0 && ema_decay < 1, "ema_decay", ema_decay, "from 0 to below 1");
  require(log_every >= 1, "log_every", log_every, "at least 1");
  require(eval_every >= 0, "eval_every", eval_every, "at least 0 (0: after the last step)");
  require(save_every >= 0, "save_every", save_every, "at least 0 (0: after the last step)");
  require(keep >= 1, "keep", keep, "at least 1");
}

}  // namespace strandwave
