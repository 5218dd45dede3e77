#include "core/layers/state_space.h"

#include <cmath>

#include "core/base/error.h"
#include "core/layers/hippo.h"
#include "core/layers/parameters.h"

namespace strandwave {
namespace {

using torch::Tensor;

// Which random stream a tensor is drawn from: part of what a seed means, never renumber. S4
// adds one.
enum InitialTensor : int64_t { kInvDt = 0, kC = 1 };

Tensor as_double(const Tensor& tensor) { return tensor.to(torch::kDouble); }

// (..., 2) float32 -> (...) complex128.
Tensor as_complex(const Tensor& pairs) { return torch::view_as_complex(as_double(pairs)); }

// Rows of real numbers such that (pairs of the state * row) summed is twice Re(sum c h).
Tensor real_row(const Tensor& c) { return 2 * torch::view_as_real(c.conj().resolve_conj()); }

// Gives `held` a value, where it stands if it can: recorded steps (DeviceGraph) read there.
void renew(Tensor& held, const Tensor& value) {
  const bool fits = held.defined() && held.sizes() == value.sizes() &&
                    held.device() == value.device() && held.scalar_type() == value.scalar_type();
  if (fits)
    held.copy_(value);
  else
    held = value.contiguous();
}

Tensor initial_dt(const StateSpaceConfig& config, int64_t channels, const RandomStream& stream) {
  const double low = std::log(config.dt_min), high = std::log(config.dt_max);
  Tensor values = torch::empty({channels, 1});
  for (int64_t i = 0; i < channels; ++i) {
    const double log_dt = low + stream.uniform(static_cast<uint64_t>(i)) * (high - low);
    const double dt = std::exp(log_dt);
    values[i] = config.dt_transform == "exp" ? log_dt : dt + std::log(-std::expm1(-dt));
  }
  return values;
}

}  // namespace

StateSpaceConfig StateSpaceConfig::read(JsonObject& object, bool diagonal) {
  StateSpaceConfig c;
  c.d_state = object.integer("d_state", c.d_state, 2, 1024);
  if (c.d_state % 2 != 0)
    throw usage_error(object.where() + ": d_state must be even (conjugate pairs), got " +
                      std::to_string(c.d_state));
  c.init = object.choice("init", c.init, state_matrix_names());
  c.dt_min = object.number("dt_min", c.dt_min, 1e-12, 1e3);
  c.dt_max = object.number("dt_max", c.dt_max, 1e-12, 1e3);
  if (c.dt_max < c.dt_min)
    throw usage_error(object.where() + ": dt_max must be at least dt_min, got " +
                      nlohmann::json(c.dt_max).dump() + " below " +
                      nlohmann::json(c.dt_min).dump());
  c.dt_transform = object.choice("dt_transform", c.dt_transform, {"exp", "softplus"});
  c.discretization = diagonal
                         ? object.choice("discretization", c.discretization, {"zoh", "bilinear"})
                         : object.choice("discretization", "bilinear", {"bilinear"});
  c.n_ssm = object.integer("n_ssm", c.n_ssm, 0, 1 << 20);
  if (!diagonal) c.l_kernel = object.integer("l_kernel", c.l_kernel, 0, int64_t{1} << 32);
  return c;
}

StateSpace::StateSpace(const StateSpaceConfig& config, int64_t channels, int64_t layer_index,
                       uint64_t seed, int64_t first_stream)
    : config_(config), channels_(channels) {
  const int64_t copies = config.n_ssm > 0 ? config.n_ssm : channels;
  if (channels % copies != 0)
    throw usage_error("n_ssm must divide the " + std::to_string(channels) +
                      " channels of its layer, got " + std::to_string(copies));
  const auto stream = [&](int64_t tensor) {
    return initialization_stream(seed, layer_index + 1, first_stream + tensor);
  };
  const InitialStateMatrix initial = initial_state_matrix(config.init, config.d_state);
  const int64_t n = config.d_state / 2;
  const auto rows = [&](const Tensor& row) { return row.to(torch::kFloat).repeat({copies, 1}); };
  inv_dt_ = register_parameter("inv_dt", initial_dt(config, channels, stream(kInvDt)));
  A_real_ = register_parameter("A_real", rows((-torch::real(initial.A)).log()));
  A_imag_ = register_parameter("A_imag", rows(-torch::imag(initial.A)));
  B_ = register_parameter(
      "B", torch::view_as_real(initial.B).to(torch::kFloat).repeat({1, copies, 1, 1}));
  C_ = register_parameter("C", normal_tensor({1, channels, n, 2}, std::sqrt(0.5), stream(kC)));
}

torch::Tensor StateSpace::per_channel(const torch::Tensor& of_ssm) const {
  std::vector<int64_t> repeats(static_cast<size_t>(of_ssm.dim()), 1);
  repeats[0] = channels_ / of_ssm.size(0);
  return repeats[0] == 1 ? of_ssm : of_ssm.repeat(repeats);
}

torch::Tensor StateSpace::rounded(const torch::Tensor& values) const {
  return values.to(complex_type()).to(torch::kComplexDouble);
}

torch::Tensor StateSpace::dt() const {
  const Tensor value = as_double(inv_dt_);
  return config_.dt_transform == "exp" ? value.exp() : torch::softplus(value);
}

torch::Tensor StateSpace::A() const {
  return per_channel(torch::complex(-as_double(A_real_).exp(), -as_double(A_imag_)));
}

torch::Tensor StateSpace::B() const { return per_channel(as_complex(B_).squeeze(0)); }

torch::Tensor StateSpace::C() const { return as_complex(C_).squeeze(0); }

void StateSpace::initialise_C(const torch::Tensor& values) {
  const torch::NoGradGuard no_grad;
  C_.copy_(torch::view_as_real(values).unsqueeze(0));
}

torch::Tensor StateSpace::allocate_state(int64_t sequences, torch::TensorOptions options) const {
  cache_.of.clear();
  return torch::zeros({sequences, channels_, config_.d_state / 2}, options.dtype(complex_type()));
}

StateSpaceOutput StateSpace::forward(const torch::Tensor& u, const torch::Tensor& D,
                                     const torch::Tensor& initial_state, bool want_final_state) {
  if (torch::GradMode::is_enabled()) cache_.of.clear();
  const std::vector<int64_t> shape = {u.size(0), channels_, config_.d_state / 2};
  TORCH_CHECK(
      !initial_state.defined() || (initial_state.sizes() == shape && initial_state.is_complex()),
      "a state space of ", channels_, " channels needs a complex initial state of shape ",
      at::IntArrayRef(shape), ", got ", initial_state.sizes());
  if (u.size(1) > 0) return run(u, D, initial_state, want_final_state);
  if (!want_final_state) return {u, {}};
  return {u, initial_state.defined() ? initial_state
                                     : torch::zeros(shape, u.options().dtype(complex_type()))};
}

const StateSpace::StepCache& StateSpace::step_cache() const {
  std::vector<std::pair<const void*, int64_t>> now;
  for (const Tensor& parameter : parameters())
    now.emplace_back(parameter.data_ptr(), parameter.is_inference() ? 0 : parameter._version());
  if (cache_.of == now) return cache_;
  const StepConstants constants = step_constants();
  renew(cache_.a, constants.a);
  renew(cache_.b, constants.b);
  renew(cache_.c, real_row(constants.c));
  if (constants.q.defined()) {
    renew(cache_.q, real_row(constants.q));
    renew(cache_.w, constants.w);
  }
  cache_.of = std::move(now);
  return cache_;
}

torch::Tensor StateSpace::step(const torch::Tensor& u, const torch::Tensor& D,
                               torch::Tensor& state) const {
  const torch::NoGradGuard no_grad;
  const StepCache& k = step_cache();
  const auto sum = [](const Tensor& h, const Tensor& row) {
    return (torch::view_as_real(h) * row).sum(at::IntArrayRef{-2, -1});
  };
  const Tensor input = as_double(u);
  // In complex128, rounded once: a rounded A_bar would turn the phase a little further every step.
  Tensor h = state * k.a;
  if (k.q.defined()) h.sub_(k.w * sum(state, k.q).unsqueeze(-1));
  h.add_(k.b * input.unsqueeze(-1));
  state.copy_(h);
  return (sum(h, k.c) + input * D).to(u.scalar_type());
}

torch::Tensor pair_sum(const torch::Tensor& x, const torch::Tensor& y) {
  return 2 * torch::real((x * y).sum(-1));
}

}  // namespace strandwave
