#include "audio/models/sashimi_import.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/checkpoint/torch_file.h"

namespace strandwave::audio {
namespace {

using torch::Tensor;
using Tensors = std::map<std::string, Tensor>;

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts = {""};
  for (const char c : name)
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

std::optional<size_t> number(const std::string& text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > 100'000)
    return std::nullopt;
  return value;
}

// The names inside a block, from both versions to ours.
std::string block_name(std::string name) {
  replace_all(name, "norm.norm.", "norm.");
  replace_all(name, "layer.layer.", "layer.");
  replace_all(name, "kernel.kernel.", "kernel.");
  replace_all(name, "layer.output_linear.0.", "layer.output_linear.");
  replace_all(name, "layer.ff.0.0.", "layer.fc1.");
  replace_all(name, "layer.ff.0.", "layer.fc1.");
  replace_all(name, "layer.ff.2.", "layer.fc2.");
  for (const auto& [from, to] : std::map<std::string, std::string>{{"log_dt", "inv_dt"},
                                                                   {"inv_w_real", "A_real"},
                                                                   {"log_w_real", "A_real"},
                                                                   {"w_imag", "A_imag"}})
    if (name.ends_with("kernel." + from)) name.replace(name.size() - from.size(), from.size(), to);
  if (name.ends_with("kernel.L")) name.replace(name.size() - 1, 1, "l_kernel");
  if (name.starts_with("layer.")) name.replace(0, 5, "mixer");
  return name;
}

// A pool or a residual block of the file: its tensors by our names.
using Part = Tensors;
bool is_pool(const Part& part) { return part.count("bias") != 0; }

// The lists of a file, in their order.
struct Lists {
  std::vector<Part> down, centre;
  std::vector<std::vector<Part>> up;  // one list per stage (nested) or one for all (flat)
};

Part& part_at(std::vector<Part>& list, size_t index) {
  if (list.size() <= index) list.resize(index + 1);
  return list[index];
}

class Importer {
 public:
  Importer(const std::filesystem::path& path, const ReleasedModel& options)
      : path_(path.string()), options_(options) {
    for (auto& [name, tensor] : read_torch_file(path)) sort_in(name, tensor);
  }

  std::shared_ptr<Sashimi> import() {
    const Tensor& encoder = need(outer_, "encoder.weight", "the file");
    need(outer_, "decoder.weight", "the file");
    config_.vocab_size = encoder.size(0);
    config_.d_model = encoder.size(1);
    config_.skips = std::any_of(lists_.down.begin(), lists_.down.end(),
                                [](const Part& part) { return !is_pool(part); })
                        ? SashimiConfig::Skips::kLayers
                        : SashimiConfig::Skips::kPools;
    arrange();
    AudioFormat format = options_.format;
    if (format.clip_length == 0) format.clip_length = clip_length_;
    config_.audio = format.to_json();
    config_.validate(path_);
    auto model = std::make_shared<Sashimi>(config_, /*seed=*/0);
    model->load_tensors(fitted(*model), path_);
    return model;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw input_error(path_ + ": " + what); }

  const Tensor& need(const Tensors& tensors, const std::string& name,
                     const std::string& where) const {
    const auto found = tensors.find(name);
    if (found == tensors.end()) fail(where + " has no tensor " + name + ": it is no SaShiMi");
    return found->second;
  }

  // Puts a tensor of the file where it belongs.
  void sort_in(const std::string& original, const Tensor& tensor) {
    std::string name = original;
    for (const char* prefix : {"module.", "model."})
      if (name.starts_with(prefix)) name.erase(0, std::string(prefix).size());
    if (name.starts_with("encoder.")) {
      outer_["encoder.weight"] = tensor;
      return;
    }
    if (name.starts_with("decoder.")) {
      outer_["decoder." + split(name).back()] = tensor;
      return;
    }
    if (name.starts_with("norm.")) {
      outer_[name] = tensor;
      return;
    }
    const std::vector<std::string> parts = split(name);
    const auto first = parts.size() > 2 ? number(parts[1]) : std::nullopt;
    if (!first) fail("the tensor " + original + " does not belong to a SaShiMi");
    const auto second = number(parts[2]);
    size_t skip = parts[0].size() + parts[1].size() + 2;
    Part* part = nullptr;
    if (parts[0] == "d_layers") part = &part_at(lists_.down, *first);
    if (parts[0] == "c_layers") part = &part_at(lists_.centre, *first);
    if (parts[0] == "u_layers") {
      if (lists_.up.size() <= (second ? *first : 0)) lists_.up.resize(second ? *first + 1 : 1);
      part = second ? &part_at(lists_.up[*first], *second) : &part_at(lists_.up[0], *first);
      if (second) skip += parts[2].size() + 1;
    }
    if (part == nullptr) fail("the tensor " + original + " does not belong to a SaShiMi");
    const std::string rest = name.substr(skip);
    if (rest.starts_with("linear.")) {
      (*part)[rest.substr(7)] = tensor;
      return;
    }
    const std::string own = block_name(rest);
    if (own == "mixer.kernel.Q")
      fail("the tensor " + original +
           " says that this file is older than version 3 of the public code (A = Lambda - P Q*), "
           "which is not read");
    // Tables that version 3 kept beside its parameters.
    if (own.ends_with("kernel.omega") || own.ends_with("kernel.z")) return;
    // Version 3 counts the imaginary parts the other way round.
    (*part)[own] = rest.ends_with(".w_imag") ? -tensor : tensor;
  }

  // The lists by stage, our names, and the configuration that fits.
  void arrange() {
    std::vector<Part> flat_up;
    for (const std::vector<Part>& list : lists_.up)
      flat_up.insert(flat_up.end(), list.begin(), list.end());
    std::vector<std::vector<Part>> down = ending_with_pools(lists_.down);
    std::vector<std::vector<Part>> up = beginning_with_pools(flat_up);
    if (down.size() != up.size())
      fail("it has " + std::to_string(down.size()) + " poolings on the way in and " +
           std::to_string(up.size()) + " on the way out");
    config_.pool.clear();
    int64_t width = config_.d_model;
    for (size_t i = 0; i < down.size(); ++i) {
      const std::string stage = "stages." + std::to_string(i) + ".";
      Part pool = down[i].back();
      down[i].pop_back();
      std::vector<Part>& outward = up[up.size() - 1 - i];
      const Tensor& weight = pool_weight(pool);
      const int64_t inner = weight.size(0);
      if (weight.size(1) % width != 0 || inner % width != 0)
        fail("pooling " + std::to_string(i) + " does not fit a width of " + std::to_string(width));
      config_.pool.push_back(weight.size(1) / width);
      config_.expand = inner / width;
      config_.weight_norm = pool.count("weight_v") != 0;
      take(stage + "down_pool.", pool);
      take(stage + "up_pool.", outward.front());
      outward.erase(outward.begin());
      config_.stages.push_back(stage_of(outward, width));
      take(stage + "layers.", outward);
      take(stage + "down_layers.", down[i]);
      width = inner;
    }
    config_.stages.push_back(stage_of(lists_.centre, width));
    take("stages." + std::to_string(down.size()) + ".layers.", lists_.centre);
    for (const auto& [name, tensor] : outer_) tensors_[name] = tensor;
  }

  // Stages of the way in end with their pooling.
  std::vector<std::vector<Part>> ending_with_pools(const std::vector<Part>& list) const {
    std::vector<std::vector<Part>> stages;
    std::vector<Part> current;
    for (const Part& part : list) {
      current.push_back(part);
      if (is_pool(part)) stages.push_back(std::exchange(current, {}));
    }
    if (!current.empty()) fail("the way in does not end with a pooling");
    return stages;
  }

  // Those of the way out begin with it.
  std::vector<std::vector<Part>> beginning_with_pools(const std::vector<Part>& list) const {
    std::vector<std::vector<Part>> stages;
    for (const Part& part : list) {
      if (is_pool(part)) stages.emplace_back();
      if (stages.empty()) fail("the way out does not begin with a pooling");
      stages.back().push_back(part);
    }
    return stages;
  }

  const Tensor& pool_weight(const Part& pool) const {
    const auto normed = pool.find("weight_v");
    const Tensor& weight =
        normed != pool.end() ? normed->second : need(pool, "weight", "a pooling");
    if (weight.dim() < 2) fail("a pooling's matrix has no two dimensions");
    return weight;
  }

  StageConfig stage_of(const std::vector<Part>& blocks, int64_t width) {
    StageConfig stage;
    if (blocks.empty()) fail("a stage has no layers");
    const bool feeds_forward = blocks.size() > 1 && blocks[1].count("mixer.fc1.weight") != 0;
    const size_t period = feeds_forward ? 2 : 1;
    if (blocks.size() % period != 0) fail("a stage ends within a layer");
    stage.layers = static_cast<int64_t>(blocks.size() / period);
    stage.blocks.push_back(state_space(blocks[0], width));
    if (feeds_forward) {
      const int64_t hidden = blocks[1].at("mixer.fc1.weight").size(0);
      stage.blocks.push_back(
          {"mlp",
           {{"activation", "gelu"},
            {"hidden_factor", static_cast<double>(hidden) / static_cast<double>(width)},
            {"bias", true}}});
    }
    config_.norm = blocks[0].count("norm.m") != 0 ? NormKind::kScalar : NormKind::kLayer;
    return stage;
  }

  LayerConfig state_space(const Part& block, int64_t width) {
    const Tensor& C = need(block, "mixer.kernel.C", "a layer");
    const Tensor& B = need(block, "mixer.kernel.B", "a layer");
    const Tensor& linear = need(block, "mixer.output_linear.weight", "a layer");
    if (C.dim() < 2 || B.dim() < 3) fail("a layer's C or B has too few dimensions");
    const int64_t copies = B.size(-3);
    LayerConfig layer{block.count("mixer.kernel.P") != 0 ? "s4" : "s4d",
                      {{"d_state", 2 * C.size(-2)},
                       {"n_ssm", copies == width ? 0 : copies},
                       {"dt_transform", options_.dt_transform},
                       {"postact", linear.size(0) == 2 * width ? "glu" : "none"}}};
    if (layer.kind == "s4d") return layer;
    const Tensor& length = need(block, "mixer.kernel.l_kernel", "a layer");
    if (length.numel() != 1) fail("a kernel's length is no number");
    layer.options["l_kernel"] = length.to(torch::kLong).item<int64_t>();
    if (config_.stages.empty()) clip_length_ = layer.options["l_kernel"];
    return layer;
  }

  void take(const std::string& prefix, const Part& part) {
    for (const auto& [name, tensor] : part)
      if (!name.ends_with("kernel.l_kernel")) tensors_[prefix + name] = tensor;
  }
  void take(const std::string& prefix, const std::vector<Part>& blocks) {
    for (size_t i = 0; i < blocks.size(); ++i) take(prefix + std::to_string(i) + ".", blocks[i]);
  }

  // In the model's shapes: a dimension of 1 more or less (convolutions of width 1) means nothing.
  NamedTensors fitted(const Sashimi& model) const {
    Tensors shapes;
    for (const auto& [name, tensor] : model.named_tensors()) shapes[name] = tensor;
    NamedTensors result;
    for (const auto& [name, tensor] : tensors_) {
      const auto wanted = shapes.find(name);
      const bool fits =
          wanted != shapes.end() && tensor.squeeze().sizes() == wanted->second.squeeze().sizes();
      result.emplace_back(name, fits ? tensor.reshape(wanted->second.sizes()) : tensor);
    }
    return result;
  }

  std::string path_;
  ReleasedModel options_;
  Tensors outer_, tensors_;
  Lists lists_;
  SashimiConfig config_;
  int64_t clip_length_ = 0;
};

}  // namespace

std::shared_ptr<Sashimi> import_sashimi(const std::filesystem::path& path,
                                        const ReleasedModel& options) {
  return Importer(path, options).import();
}

}  // namespace strandwave::audio
