#include "core/layers/mamba.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/selective_scan/selective_scan.h"

namespace strandwave {
namespace {

using torch::Tensor;
using OptionalTensor = std::optional<Tensor>;

// Which random stream a tensor is drawn from: part of what a seed means, never renumber.
enum InitialTensor : int64_t {
  kInProj = 0,
  kInProjBias = 1,
  kConvWeight = 2,
  kConvBias = 3,
  kXProj = 4,
  kDtProj = 5,
  kDtBias = 6,
  kOutProj = 7,
};

OptionalTensor optional(const Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

// (batch, length, n) -> (batch length, n), also for empty tensors.
Tensor rows(const Tensor& x) { return x.reshape({x.size(0) * x.size(1), x.size(2)}); }

Tensor linear_weight_gradient(const Tensor& dout, const Tensor& x) {
  return rows(dout).t().mm(rows(x));
}

struct Weights {
  Tensor in_proj, conv, x_proj, dt_proj, dt_bias, A_log, D, out_proj;
  OptionalTensor in_bias, conv_bias, out_bias, A_imag;

  int64_t d_inner() const { return A_log.size(0); }
  // Of a row of B, or of C: pairs where states are complex.
  int64_t state_values() const { return A_imag ? 2 * A_log.size(1) : A_log.size(1); }
  int64_t rank() const { return dt_proj.size(1); }
  Tensor A() const {
    const Tensor real = A_log.exp().neg();
    return A_imag ? at::complex(real, *A_imag) : real;
  }
  Tensor conv_rows() const { return conv.squeeze(1); }
};

// The slices of the projections, without copies.
struct Slices {
  Tensor x, z;      // of xz
  Tensor dt, B, C;  // of x_dbl
};

Slices slice(const Weights& w, const Tensor& xz, const Tensor& x_dbl) {
  const int64_t d_inner = w.d_inner();
  Slices s{xz.narrow(2, 0, d_inner), xz.narrow(2, d_inner, d_inner), {}, {}, {}};
  if (x_dbl.defined()) {
    s.dt = x_dbl.narrow(2, 0, w.rank());
    s.B = x_dbl.narrow(2, w.rank(), w.state_values());
    s.C = x_dbl.narrow(2, w.rank() + w.state_values(), w.state_values());
  }
  return s;
}

// The mixer as one autograd node: what is cheap to compute again is not kept.
class MambaInner : public torch::autograd::Function<MambaInner> {
 public:
  // Tensor arguments first, so that gradient i belongs to argument i.
  enum Argument {
    kX,
    kInWeight,
    kInBias,
    kConvW,
    kConvB,
    kXWeight,
    kDtWeight,
    kDtB,
    kALog,
    kAImag,
    kSkip,
    kOutWeight,
    kOutBias,
    kConvState,
    kSsmState,
    kArguments
  };

  static torch::autograd::variable_list forward(
      torch::autograd::AutogradContext* ctx, const Tensor& x, const Tensor& in_proj,
      const OptionalTensor& in_bias, const Tensor& conv, const OptionalTensor& conv_bias,
      const Tensor& x_proj, const Tensor& dt_proj, const Tensor& dt_bias, const Tensor& A_log,
      const OptionalTensor& A_imag, const Tensor& D, const Tensor& out_proj,
      const OptionalTensor& out_bias, const OptionalTensor& conv_state,
      const OptionalTensor& ssm_state, const OptionalTensor& cu_seqlens,
      bool recompute_projections) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Weights w{in_proj, conv,     x_proj,  dt_proj,   dt_bias,  A_log,
                    D,       out_proj, in_bias, conv_bias, out_bias, A_imag};
    const Tensor xz = at::linear(x, in_proj, in_bias);
    const Slices in = slice(w, xz, {});
    auto [u, final_conv] = causal_conv1d_forward(in.x, w.conv_rows(), conv_bias, conv_state,
                                                 cu_seqlens, /*silu=*/true, /*reverse=*/false);
    const Tensor x_dbl = at::linear(u, x_proj);
    const Slices s = slice(w, xz, x_dbl);
    auto [y, final_ssm, unused] = selective_scan_forward(
        u, at::linear(s.dt, dt_proj), w.A(), s.B, s.C, D, s.z, dt_bias, ssm_state, cu_seqlens,
        /*delta_softplus=*/true, /*reverse=*/false, /*save_checkpoints=*/false);
    Tensor out = at::linear(y, out_proj, out_bias);

    const auto value = [](const OptionalTensor& t) { return t.value_or(Tensor()); };
    ctx->save_for_backward({x, in_proj, value(in_bias), conv, value(conv_bias), x_proj, dt_proj,
                            dt_bias, A_log, value(A_imag), D, out_proj, value(out_bias),
                            value(conv_state), value(ssm_state), value(cu_seqlens),
                            recompute_projections ? Tensor() : xz, x_dbl});
    ctx->set_materialize_grads(false);
    return {out, final_conv, final_ssm};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    torch::autograd::variable_list result(kArguments + 2);  // cu_seqlens, recompute_projections
    if (!grads[0].defined() && !grads[1].defined() && !grads[2].defined()) return result;
    TORCH_CHECK(!torch::GradMode::is_enabled(),
                "the Mamba layer has no double backward: create_graph is not supported");
    const Weights w{saved[kInWeight],
                    saved[kConvW],
                    saved[kXWeight],
                    saved[kDtWeight],
                    saved[kDtB],
                    saved[kALog],
                    saved[kSkip],
                    saved[kOutWeight],
                    optional(saved[kInBias]),
                    optional(saved[kConvB]),
                    optional(saved[kOutBias]),
                    optional(saved[kAImag])};
    const Tensor& x = saved[kX];
    const OptionalTensor conv_state = optional(saved[kConvState]);
    const OptionalTensor ssm_state = optional(saved[kSsmState]);
    const OptionalTensor cu_seqlens = optional(saved[kArguments]);
    const Tensor& x_dbl = saved[kArguments + 2];
    const Tensor xz = saved[kArguments + 1].defined() ? saved[kArguments + 1]
                                                      : at::linear(x, w.in_proj, w.in_bias);
    const Slices s = slice(w, xz, x_dbl);
    const Tensor dout = grads[0].defined() ? grads[0] : at::zeros_like(x);

    // What forward dropped.
    const Tensor A = w.A();
    const Tensor u = std::get<0>(causal_conv1d_forward(s.x, w.conv_rows(), w.conv_bias, conv_state,
                                                       cu_seqlens, true, false));
    const Tensor delta = at::linear(s.dt, w.dt_proj);
    auto [y, unused, checkpoints] =
        selective_scan_forward(u, delta, A, s.B, s.C, w.D, s.z, w.dt_bias, ssm_state, cu_seqlens,
                               true, false, /*save_checkpoints=*/true);

    result[kOutWeight] = linear_weight_gradient(dout, y);
    if (w.out_bias) result[kOutBias] = bias_gradient(dout, *w.out_bias);
    y.reset();
    SelectiveScanGradients scan = selective_scan_backward(
        at::matmul(dout, w.out_proj), optional(grads[2]), u, delta, A, s.B, s.C, w.D, s.z,
        w.dt_bias, ssm_state, cu_seqlens, checkpoints, true, false);
    checkpoints.reset();
    if (w.A_imag) {  // A = -exp(A_log) + i A_imag
      result[kALog] = at::real(scan.A).mul(at::real(A));
      result[kAImag] = at::imag(scan.A).contiguous();
    } else {
      result[kALog] = scan.A.mul_(A);
    }
    result[kSkip] = scan.D;
    result[kDtB] = scan.delta_bias;
    result[kSsmState] = scan.initial_state;

    result[kDtWeight] = linear_weight_gradient(scan.delta, s.dt);
    const Tensor dx_dbl = at::cat({at::matmul(scan.delta, w.dt_proj), scan.B, scan.C}, 2);
    scan.delta.reset();
    result[kXWeight] = linear_weight_gradient(dx_dbl, u);
    const Tensor du = at::addmm(rows(scan.u), rows(dx_dbl), w.x_proj).view(u.sizes());
    scan.u.reset();

    CausalConv1dGradients conv =
        causal_conv1d_backward(du, optional(grads[1]), s.x, w.conv_rows(), w.conv_bias, conv_state,
                               cu_seqlens, true, false);
    result[kConvW] = conv.weight.unsqueeze(1);
    result[kConvB] = conv.bias;
    result[kConvState] = conv.initial_state;

    const Tensor dxz = at::cat({conv.x, scan.z}, 2);
    result[kInWeight] = linear_weight_gradient(dxz, x);
    if (w.in_bias) result[kInBias] = bias_gradient(dxz, *w.in_bias);
    result[kX] = at::matmul(dxz, w.in_proj);
    return result;
  }

 private:
  // Summed and handed over in the type of the bias, which is exact beside bf16 weights.
  static Tensor bias_gradient(const Tensor& dout, const Tensor& bias) {
    return at::sum(rows(dout), {0}, /*keepdim=*/false, bias.scalar_type());
  }
};

// dt + log(1 - exp(-dt)): its softplus is dt, log-uniform in [dt_min, dt_max].
Tensor initial_dt_bias(const MambaConfig& config, int64_t d_inner, const RandomStream& stream) {
  Tensor bias = torch::empty({d_inner}, torch::kFloat);
  auto values = bias.accessor<float, 1>();
  const double low = std::log(config.dt_min);
  const double high = std::log(config.dt_max);
  for (int64_t i = 0; i < d_inner; ++i) {
    const double uniform = stream.uniform(static_cast<uint64_t>(i));
    const double dt = std::max(std::exp(low + uniform * (high - low)), config.dt_init_floor);
    values[i] = static_cast<float>(dt + std::log(-std::expm1(-dt)));
  }
  return bias;
}

void check_state(const MixerState& state) {
  for (const char* name : {"conv", "ssm"})
    TORCH_CHECK(state.tensors.count(name) == 1, "mamba: the state has no tensor \"", name, "\"");
}

}  // namespace

MambaConfig MambaConfig::from_json(const nlohmann::json& options) {
  JsonObject object(options, "mamba layer");
  MambaConfig c;
  c.d_state = object.integer("d_state", c.d_state, 1, 256);
  c.d_conv = object.integer("d_conv", c.d_conv, 2, 4);
  c.expand = object.integer("expand", c.expand, 1, 64);
  c.dt_rank = object.integer("dt_rank", c.dt_rank, 0, 65536);
  c.dt_min = object.number("dt_min", c.dt_min, 1e-12, 1e3);
  c.dt_max = object.number("dt_max", c.dt_max, c.dt_min, 1e3);
  c.dt_init_floor = object.number("dt_init_floor", c.dt_init_floor, 1e-12, 1e3);
  c.conv_bias = object.boolean("conv_bias", c.conv_bias);
  c.bias = object.boolean("bias", c.bias);
  c.complex = object.boolean("complex", c.complex);
  c.complex_init = object.choice("complex_init", c.complex_init, {"n", "lin"});
  object.finish();
  if (!c.complex && options.contains("complex_init"))
    throw usage_error("mamba layer: \"complex_init\" needs \"complex\": true");
  return c;
}

nlohmann::json MambaConfig::to_json() const {
  nlohmann::json json = {
      {"d_state", d_state}, {"d_conv", d_conv},       {"expand", expand},
      {"dt_rank", dt_rank}, {"dt_min", dt_min},       {"dt_max", dt_max},
      {"bias", bias},       {"conv_bias", conv_bias}, {"dt_init_floor", dt_init_floor}};
  if (complex) {  // absent otherwise: configurations of real layers stay as they were
    json["complex"] = true;
    json["complex_init"] = complex_init;
  }
  return json;
}

Mamba::Mamba(const MambaConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed)
    : config_(config),
      d_model_(d_model),
      dt_rank_(config.dt_rank > 0 ? config.dt_rank : (d_model + 15) / 16) {
  const int64_t inner = d_inner();
  const int64_t n = config.d_state;
  const auto stream = [&](int64_t tensor) {
    return initialization_stream(seed, layer_index + 1, tensor);
  };
  const auto uniform = [&](at::IntArrayRef shape, int64_t fan_in, int64_t tensor) {
    return uniform_tensor(shape, 1.0 / std::sqrt(static_cast<double>(fan_in)), stream(tensor));
  };
  const auto group = [&](const char* name, Tensor weight, Tensor bias) {
    return register_module(name,
                           std::make_shared<ParameterGroup>(std::move(weight), std::move(bias)));
  };
  if (config.complex) {
    const double step = config.complex_init == "lin" ? std::numbers::pi : 1;
    A_log_ = register_parameter("A_log", torch::full({inner, n}, std::log(0.5), torch::kFloat));
    A_imag_ = register_parameter(
        "A_imag", (torch::arange(n, torch::kDouble) * step).to(torch::kFloat).repeat({inner, 1}));
  } else {
    A_log_ = register_parameter(
        "A_log",
        torch::arange(1, n + 1, torch::kDouble).log().to(torch::kFloat).repeat({inner, 1}));
  }
  D_ = register_parameter("D", torch::ones({inner}));
  in_proj_ = group("in_proj", uniform({2 * inner, d_model}, d_model, kInProj),
                   config.bias ? torch::zeros({2 * inner}) : Tensor());
  conv1d_ = group("conv1d", uniform({inner, 1, config.d_conv}, config.d_conv, kConvWeight),
                  config.conv_bias ? uniform({inner}, config.d_conv, kConvBias) : Tensor());
  x_proj_ = group(
      "x_proj", uniform({dt_rank_ + (config.complex ? 4 : 2) * n, inner}, inner, kXProj), Tensor());
  dt_proj_ = group("dt_proj", uniform({inner, dt_rank_}, dt_rank_, kDtProj),
                   initial_dt_bias(config, inner, stream(kDtBias)));
  out_proj_ = group("out_proj", uniform({d_model, inner}, inner, kOutProj),
                    config.bias ? torch::zeros({d_model}) : Tensor());
}

MixerTraits Mamba::traits() const {
  return {.has_state = true, .has_step = true, .packed = true, .context_parallel = false};
}

MixerOutput Mamba::forward(const torch::Tensor& x, const MixerInput& input) {
  TORCH_CHECK(x.dim() == 3 && x.size(2) == d_model_, "mamba: the input must be (batch, length, ",
              d_model_, "), got ", x.sizes());
  TORCH_CHECK(x.scalar_type() == in_proj_->weight.scalar_type(), "mamba: the input is ",
              x.scalar_type(), ", the weights are ", in_proj_->weight.scalar_type());
  OptionalTensor conv_state, ssm_state, cu_seqlens;
  if (input.initial_state != nullptr) {
    check_state(*input.initial_state);
    conv_state = input.initial_state->tensors.at("conv");
    ssm_state = input.initial_state->tensors.at("ssm");
  }
  if (input.layout != nullptr) cu_seqlens = input.layout->cu_seqlens();
  // GEMMs take their bias in their own type.
  const auto gemm_bias = [&](const Tensor& bias) {
    return bias.defined() ? OptionalTensor(bias.to(x.scalar_type())) : std::nullopt;
  };
  const auto out = MambaInner::apply(x, in_proj_->weight, gemm_bias(in_proj_->bias),
                                     conv1d_->weight, optional(conv1d_->bias), x_proj_->weight,
                                     dt_proj_->weight, dt_proj_->bias, A_log_, optional(A_imag_),
                                     D_, out_proj_->weight, gemm_bias(out_proj_->bias), conv_state,
                                     ssm_state, cu_seqlens, input.recompute_projections);
  MixerOutput output{out[0], {}};
  if (!input.want_final_state) return output;
  MixerState final_state{{{"conv", out[1]}, {"ssm", out[2]}}, {}};
  final_state.positions =
      cu_seqlens ? cu_seqlens->diff()
                 : torch::full({x.size(0)}, x.size(1), x.options().dtype(torch::kLong));
  if (input.initial_state != nullptr && input.initial_state->positions.defined())
    final_state.positions = final_state.positions + input.initial_state->positions;
  output.final_state = std::move(final_state);
  return output;
}

MixerState Mamba::allocate_state(int64_t sequences, int64_t /*max_length*/,
                                 torch::TensorOptions options) const {
  const torch::ScalarType type = exact_type(c10::typeMetaToScalarType(options.dtype()));
  const auto exact = options.dtype(type);
  const auto states = options.dtype(config_.complex ? c10::toComplexType(type) : type);
  return {{{"conv", torch::zeros({sequences, config_.d_conv - 1, d_inner()}, exact)},
           {"ssm", torch::zeros({sequences, d_inner(), config_.d_state}, states)}},
          torch::zeros({sequences}, options.dtype(torch::kLong))};
}

torch::Tensor Mamba::step(const torch::Tensor& x, MixerState& state) {
  const torch::NoGradGuard no_grad;
  MixerInput input;
  input.initial_state = &state;
  input.want_final_state = true;
  const MixerOutput out = forward(x.unsqueeze(1), input);
  for (auto& [name, tensor] : state.tensors) tensor.copy_(out.final_state->tensors.at(name));
  state.positions.add_(1);
  return out.y.squeeze(1);
}

}  // namespace strandwave
