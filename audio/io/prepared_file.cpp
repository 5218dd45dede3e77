// The file that `audio prepare` writes (docs/formats.md): safetensors, mapped when it is read.
#include <cstring>
#include <sstream>

#include "audio/io/clip_dataset.h"
#include "audio/io/clip_facts.h"
#include "core/base/error.h"
#include "core/base/json_config.h"

namespace strandwave::audio {
namespace {

constexpr const char* kFormatName = "strandwave clips";
constexpr const char* kVersion = "1";

template <typename T>
SafetensorsEntry entry_of(const std::vector<T>& values, const char* dtype) {
  return {dtype, {static_cast<int64_t>(values.size())}, std::as_bytes(std::span(values))};
}

template <typename T>
std::vector<T> values_of(const SafetensorsFile& file, const std::string& name, const char* dtype,
                         size_t count) {
  const SafetensorsEntry& entry = file.entry(name);
  if (entry.dtype != dtype || entry.bytes.size() != count * sizeof(T))
    throw input_error(file.path().string() + ": '" + name + "' should hold " +
                      std::to_string(count) + " numbers of type " + dtype);
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
  return values;
}

std::string joined_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

std::vector<std::string> lines_of(const SafetensorsFile& file, const std::string& name,
                                  size_t count) {
  const SafetensorsEntry& entry = file.entry(name);
  std::istringstream text(
      std::string(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  if (lines.size() != count)
    throw input_error(file.path().string() + ": '" + name + "' should hold " +
                      std::to_string(count) + " lines and holds " + std::to_string(lines.size()));
  return lines;
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

// File names need not be UTF-8; JSON must.
std::string json_text(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string metadata(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found != file.metadata().end()) return found->second;
  throw input_error(file.path().string() + ": is no prepared set of clips: its metadata lack '" +
                    key + "'. Make one with: strandwave audio prepare DATA -o FILE");
}

}  // namespace

void ClipDataset::save(const std::filesystem::path& path) const {
  std::vector<int64_t> lengths, real;
  std::vector<int32_t> labels;
  std::vector<uint8_t> splits;
  std::vector<std::string> names, speakers;
  for (const ClipInfo& clip : clips_) {
    lengths.push_back(clip.length);
    real.push_back(clip.real);
    labels.push_back(static_cast<int32_t>(clip.label));
    splits.push_back(static_cast<uint8_t>(clip.split));
    names.push_back(one_line(clip.name));
    speakers.push_back(one_line(clip.speaker));
  }
  const std::string name_text = joined_lines(names), speaker_text = joined_lines(speakers);
  const auto text_entry = [](const std::string& text) {
    return SafetensorsEntry{
        "U8", {static_cast<int64_t>(text.size())}, std::as_bytes(std::span(text))};
  };
  const std::span<const uint8_t> codes = mapped_ ? mapped_codes_ : std::span(owned_);
  write_safetensors(path,
                    {{"codes", {"U8", {static_cast<int64_t>(codes.size())}, std::as_bytes(codes)}},
                     {"lengths", entry_of(lengths, "I64")},
                     {"real_lengths", entry_of(real, "I64")},
                     {"labels", entry_of(labels, "I32")},
                     {"splits", entry_of(splits, "U8")},
                     {"names", text_entry(name_text)},
                     {"speakers", text_entry(speaker_text)}},
                    {{"format", kFormatName},
                     {"version", kVersion},
                     {"audio", json_text(format_.to_json())},
                     {"labels", json_text(labels_)},
                     {"facts", json_text(facts_)},
                     {"sha256", hash_}});
}

void ClipDataset::read_prepared(const std::filesystem::path& path) {
  const std::string where = path.string();
  mapped_ = std::make_unique<SafetensorsFile>(path);
  if (metadata(*mapped_, "format") != kFormatName)
    throw input_error(where + ": is no prepared set of clips");
  if (metadata(*mapped_, "version") != kVersion)
    throw input_error(where + ": is of version " + metadata(*mapped_, "version") +
                      "; this program reads version " + kVersion + ": prepare the data again");
  format_ = AudioFormat::from_json(parse_json(metadata(*mapped_, "audio"), where), where);
  const nlohmann::json labels = parse_json(metadata(*mapped_, "labels"), where);
  if (!labels.is_array()) throw input_error(where + ": 'labels' is no list");
  for (const nlohmann::json& label : labels) {
    if (!label.is_string()) throw input_error(where + ": a label is no text");
    labels_.push_back(label);
  }
  facts_ = parse_json(metadata(*mapped_, "facts"), where);
  check_reading_facts(facts_, where);
  const SafetensorsEntry& codes = mapped_->entry("codes");
  if (codes.dtype != "U8") throw input_error(where + ": 'codes' should be bytes (U8)");
  mapped_codes_ = {reinterpret_cast<const uint8_t*>(codes.bytes.data()), codes.bytes.size()};
  read_prepared_clips();
  hash_ = content_hash();
  if (hash_ != metadata(*mapped_, "sha256"))
    throw input_error(where + ": is damaged: its content has the sha256 " + hash_ +
                      ", and it says " + metadata(*mapped_, "sha256"));
  facts_.update(dataset_facts(*this));
}

void ClipDataset::read_prepared_clips() {
  const std::string where = mapped_->path().string();
  const size_t count = mapped_->entry("splits").bytes.size();
  const auto lengths = values_of<int64_t>(*mapped_, "lengths", "I64", count);
  const auto real = values_of<int64_t>(*mapped_, "real_lengths", "I64", count);
  const auto labels = values_of<int32_t>(*mapped_, "labels", "I32", count);
  const auto splits = values_of<uint8_t>(*mapped_, "splits", "U8", count);
  const auto names = lines_of(*mapped_, "names", count);
  const auto speakers = lines_of(*mapped_, "speakers", count);
  uint64_t offset = 0;
  for (size_t i = 0; i < count; ++i) {
    const bool fits = lengths[i] > 0 && real[i] > 0 && real[i] <= lengths[i] &&
                      static_cast<uint64_t>(lengths[i]) <= mapped_codes_.size() - offset;
    const bool known =
        labels[i] >= -1 && labels[i] < static_cast<int64_t>(labels_.size()) && splits[i] < kSplits;
    if (!fits || !known)
      throw input_error(where + ": clip " + std::to_string(i) + " (" + names[i] +
                        ") has an impossible length, label or split");
    offsets_.push_back(offset);
    clips_.push_back(
        {names[i], labels[i], speakers[i], static_cast<Split>(splits[i]), real[i], lengths[i]});
    offset += static_cast<uint64_t>(lengths[i]);
  }
  if (offset != mapped_codes_.size())
    throw input_error(where + ": holds " + std::to_string(mapped_codes_.size()) +
                      " samples where its clips have " + std::to_string(offset));
}

}  // namespace strandwave::audio
