#include "audio/io/clip_facts.h"

#include <set>
#include <string_view>
#include <unordered_set>

#include "core/base/error.h"

namespace strandwave::audio {
namespace {

// The samples before the padding, as text that can be compared and hashed.
std::string_view real_codes(const ClipDataset& dataset, size_t i) {
  const auto codes = dataset.codes(i);
  return {reinterpret_cast<const char*>(codes.data()), static_cast<size_t>(dataset.clip(i).real)};
}

struct TrainingClips {
  std::set<std::string> speakers;
  std::unordered_set<std::string_view> codes;
};

nlohmann::json split_facts(const ClipDataset& dataset, Split split, const TrainingClips& training) {
  int64_t samples = 0, known = 0, copies = 0;
  std::set<std::string> speakers;
  std::vector<int64_t> per_label(dataset.labels().size());
  const std::vector<size_t> clips = dataset.clips_of(split);
  for (const size_t i : clips) {
    const ClipInfo& clip = dataset.clip(i);
    samples += clip.real;
    if (!clip.speaker.empty()) speakers.insert(clip.speaker);
    if (clip.label >= 0) ++per_label[static_cast<size_t>(clip.label)];
    known += training.speakers.count(clip.speaker) > 0 ? 1 : 0;
    copies += training.codes.count(real_codes(dataset, i)) > 0 ? 1 : 0;
  }
  nlohmann::json labels = nlohmann::json::object();
  for (size_t label = 0; label < per_label.size(); ++label)
    labels[dataset.labels()[label]] = per_label[label];
  nlohmann::json facts = {{"split", to_string(split)},
                          {"clips", clips.size()},
                          {"samples", samples},
                          {"speakers", speakers.size()},
                          {"per_label", labels}};
  if (split == Split::kTrain) return facts;
  facts["clips_of_known_speakers"] = known;
  facts["copies"] = copies;
  return facts;
}

}  // namespace

nlohmann::json reading_facts(const ClipFiles& files, const ReadingReport& report) {
  nlohmann::json bad = nlohmann::json::array();
  for (const BadFile& file : report.bad)
    bad.push_back({{"name", file.name}, {"reason", file.reason}});
  nlohmann::json rates = nlohmann::json::object();
  for (const auto& [rate, count] : report.rates) rates[std::to_string(rate)] = count;
  return {{"files", report.files},
          {"ignored_files", files.ignored},
          {"bad_files", bad},
          {"quiet_files", report.quiet},
          {"rates", rates},
          {"several_channels", report.several_channels},
          {"padded", report.padded},
          {"cut", report.cut},
          {"sliced", report.sliced},
          {"labels_from", files.labels_from},
          {"speakers_from", files.speakers_from},
          {"split_by", files.split_by}};
}

void check_reading_facts(const nlohmann::json& facts, const std::string& where) {
  nlohmann::json form = reading_facts({}, {});
  form["clipped_samples"] = form["clipped_clips"] = 0;
  const auto same_kind = [](const nlohmann::json& a, const nlohmann::json& b) {
    return a.is_number() ? b.is_number_integer() : a.type() == b.type();
  };
  for (const auto& [key, value] : form.items())
    if (!facts.is_object() || !facts.contains(key) || !same_kind(value, facts.at(key)))
      throw input_error(where + ": its facts lack '" + key + "', or it is of another kind");
  for (const nlohmann::json& file : facts.at("bad_files"))
    if (!file.is_object() || !file.contains("name") || !file.contains("reason") ||
        !file.at("name").is_string() || !file.at("reason").is_string())
      throw input_error(where + ": its facts hold a bad file without name or reason");
  for (const nlohmann::json& name : facts.at("quiet_files"))
    if (!name.is_string()) throw input_error(where + ": its facts hold a quiet file without name");
  for (const nlohmann::json& count : facts.at("rates"))
    if (!count.is_number_integer())
      throw input_error(where + ": its facts hold a sampling rate without a number of files");
}

nlohmann::json dataset_facts(const ClipDataset& dataset) {
  TrainingClips training;
  int64_t samples = 0;
  for (size_t i = 0; i < dataset.size(); ++i) {
    const ClipInfo& clip = dataset.clip(i);
    samples += clip.real;
    if (clip.split != Split::kTrain) continue;
    if (!clip.speaker.empty()) training.speakers.insert(clip.speaker);
    training.codes.insert(real_codes(dataset, i));
  }
  nlohmann::json splits = nlohmann::json::array();
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest})
    splits.push_back(split_facts(dataset, split, training));
  return {{"clips", dataset.size()},
          {"samples", samples},
          {"sample_rate", dataset.format().sample_rate},
          {"splits", splits}};
}

}  // namespace strandwave::audio
