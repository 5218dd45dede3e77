#include "audio/next_sample_report.h"

#include <cstdio>
#include <utility>

#include "audio/baselines.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/progress.h"

namespace strandwave::audio {
namespace {

// Sums per class label, for the table of classes.
struct ByClass {
  std::vector<SampleBits> bits;
  std::vector<int64_t> clips;
};

nlohmann::json classes_json(const Sashimi& model, const std::vector<AudioClip>& clips,
                            const std::vector<SampleBits>& bits) {
  const std::vector<std::string>& names = model.config().classes;
  ByClass sums{std::vector<SampleBits>(names.size()), std::vector<int64_t>(names.size())};
  for (size_t i = 0; i < clips.size(); ++i) {
    if (clips[i].label < 0) continue;
    sums.bits[static_cast<size_t>(clips[i].label)].add(bits[i]);
    ++sums.clips[static_cast<size_t>(clips[i].label)];
  }
  nlohmann::json list = nlohmann::json::array();
  for (size_t label = 0; label < names.size(); ++label)
    if (sums.clips[label] > 0)
      list.push_back({{"name", names[label]},
                      {"clips", sums.clips[label]},
                      {"bits_per_sample", sums.bits[label].per_real_sample()}});
  return list;
}

nlohmann::json baselines_json(const AudioFormat& format, const std::vector<AudioClip>& training,
                              const std::vector<AudioClip>& clips, const NextSampleTest& test) {
  SampleBaselines baselines(format.companding);
  for (const AudioClip& clip : training)
    baselines.learn(test.pad_loss ? clip.codes : clip.codes.first(static_cast<size_t>(clip.real)));
  baselines.finish();
  std::vector<SampleBits> sums(SampleBaselines::names().size());
  for (const AudioClip& clip : clips) {
    const std::vector<ClipBits> bits = baselines.bits(clip.codes, clip.real);
    for (size_t i = 0; i < bits.size(); ++i)
      sums[i].add({bits[i].real, bits[i].all, clip.real, static_cast<int64_t>(clip.codes.size())});
  }
  nlohmann::json list = nlohmann::json::array();
  for (size_t i = 0; i < sums.size(); ++i)
    list.push_back({{"name", SampleBaselines::names()[i]},
                    {"bits_per_sample", sums[i].per_real_sample()},
                    {"bits_per_sample_all", sums[i].per_sample()}});
  return list;
}

std::string hash_of(const std::vector<AudioClip>& clips) {
  Sha256 hash;
  for (const AudioClip& clip : clips) {
    const std::string border = std::to_string(clip.codes.size()) + ":";
    hash.update(std::as_bytes(std::span(border)));
    hash.update(std::as_bytes(clip.codes));
  }
  return hash.hex_digest();
}

// The first setting in which two measures differ, those that a user chooses first; empty: none.
std::string difference(const nlohmann::json& first, const nlohmann::json& second) {
  for (const char* key : {"format", "pad_loss", "chunk", "carry_state", "samples", "codes"}) {
    const nlohmann::json a = first.value(key, nlohmann::json());
    const nlohmann::json b = second.value(key, nlohmann::json());
    if (a == b) continue;
    if (!a.is_object() || !b.is_object())
      return std::string(key) + " is " + a.dump() + " in the one and " + b.dump() + " in the other";
    for (const auto& [name, value] : a.items())
      if (const nlohmann::json other = b.value(name, nlohmann::json()); other != value)
        return name + " is " + value.dump() + " in the one and " + other.dump() + " in the other";
  }
  return "";
}

}  // namespace

nlohmann::json test_next_sample(Sashimi& model, const AudioFormat& format,
                                const std::vector<AudioClip>& training,
                                const std::vector<AudioClip>& clips, const NextSampleTest& test) {
  if (clips.empty()) throw usage_error("there is no clip to test on: the data have no such split");
  if (test.progress) test.progress("testing on " + std::to_string(clips.size()) + " clips");
  const std::vector<SampleBits> bits = bits_of_clips(model, clips, test.scoring);
  SampleBits sum;
  for (const SampleBits& one : bits) sum.add(one);
  if (test.progress) test.progress("baselines");
  nlohmann::json result = {{"kind", "next_sample"},
                           {"split", test.split},
                           {"clips", clips.size()},
                           {"samples", sum.real_samples},
                           {"padding_samples", sum.all_samples - sum.real_samples},
                           {"bits_per_sample", sum.per_real_sample()},
                           {"bits_per_sample_all", sum.per_sample()},
                           {"baselines", baselines_json(format, training, clips, test)},
                           {"measure",
                            {{"format", format.to_json()},
                             {"pad_loss", test.pad_loss},
                             {"chunk", test.scoring.chunk},
                             {"carry_state", test.scoring.carry_state},
                             {"samples", sum.all_samples},
                             {"codes", hash_of(clips)}}}};
  if (!model.config().classes.empty()) result["classes"] = classes_json(model, clips, bits);
  return result;
}

std::string lost_to_baselines(const nlohmann::json& result) {
  const double model = result.at("bits_per_sample");
  std::string names;
  for (const nlohmann::json& baseline : result.at("baselines")) {
    const double bits = baseline.at("bits_per_sample");
    if (bits > model) continue;
    char text[64];
    std::snprintf(text, sizeof text, " (%.4f bits per sample)", bits);
    names += (names.empty() ? "" : ", ") + baseline.at("name").get<std::string>() + text;
  }
  if (names.empty()) return "";
  char text[64];
  std::snprintf(text, sizeof text, "%.4f", model);
  return "the model predicts worse, at " + std::string(text) + ", than " + names +
         ": train for longer or on more data";
}

void require_comparable(const nlohmann::json& first, const std::string& first_name,
                        const nlohmann::json& second, const std::string& second_name) {
  const std::string text = difference(first.at("measure"), second.at("measure"));
  if (text.empty()) return;
  throw usage_error("bits per sample of " + first_name + " and " + second_name +
                    " cannot be compared: " + text +
                    ". Test both on the same clips with the same format and chunks");
}

}  // namespace strandwave::audio
