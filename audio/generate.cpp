#include "audio/generate.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>
#include <utility>

#include "audio/generated_folder.h"
#include "audio/io/companding.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/base/json_config.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/checkpoint/tensor_file.h"

namespace strandwave::audio {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSamplesBetweenLooks = 256;  // at signals and the progress line
constexpr const char* kSettings = "generation.json";
constexpr const char* kUnfinished = "unfinished.safetensors";

// What a class is called in a file name.
std::string safe(std::string name) {
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-') c = '-';
  return name;
}

std::string number_text(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

class Generation {
 public:
  Generation(Generator& generator, const AudioFormat& format, const GenerationRequest& request)
      : generator_(generator),
        format_(format),
        request_(request),
        folder_(prepared()),
        manifest_(GeneratedManifest::read(folder_)) {}

  GenerationResult run() {
    result_.kept = count_kept();
    for (int64_t first = 0; first < request_.clips; first += request_.batch) {
      const int64_t streams = std::min(request_.batch, request_.clips - first);
      if (complete(first, streams)) continue;
      make_batch(first, streams);
    }
    fs::remove(folder_ / kUnfinished);
    if (result_.made > 0 || !fs::exists(folder_ / kGeneratedPage))
      write_generated_page(folder_, {folder_}, format_.sample_rate, facts());
    return result_;
  }

 private:
  nlohmann::json settings() const;
  fs::path prepared() const;
  bool complete(int64_t first, int64_t streams) const;
  int64_t count_kept() const;
  void make_batch(int64_t first, int64_t streams);
  void resume(ClipStreams& streams, int64_t first) const;
  void save_and_stop(const ClipStreams& streams, int64_t first) const;
  void tell(const ClipStreams& streams, int64_t first, const RateMeter& meter) const;
  void write_clip(const ClipStreams& streams, int64_t stream, int64_t clip, double log_likelihood);
  std::string label(int64_t clip) const;
  std::vector<report::Fact> facts() const;

  Generator& generator_;
  const AudioFormat& format_;
  const GenerationRequest& request_;
  fs::path folder_;
  GeneratedManifest manifest_;
  GenerationResult result_;
};

nlohmann::json Generation::settings() const {
  std::vector<std::string> classes;
  for (const int64_t label : request_.classes)
    classes.push_back(label < 0 ? "" : request_.class_names[static_cast<size_t>(label)]);
  const std::vector<uint8_t>& prefix = request_.streams.prefix;
  return {{"model", request_.model_hash},
          {"seed", request_.streams.seed},
          {"samples", request_.streams.length},
          {"temperature", request_.streams.sampling.temperature},
          {"top_p", request_.streams.sampling.top_p},
          {"guidance", request_.streams.guidance},
          {"classes", classes},
          {"prefix_samples", prefix.size()},
          {"prefix", prefix.empty() ? "" : sha256_hex(std::as_bytes(std::span(prefix)))},
          {"batch", request_.batch},
          {"container", request_.container},
          {"encoding", encoding_names()[static_cast<size_t>(request_.encoding)]}};
}

// The folder, which belongs to these settings.
fs::path Generation::prepared() const {
  const fs::path& folder = request_.folder;
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder))
    throw runtime_failure("cannot create the folder " + folder.string() + ": " +
                          (error ? error.message() : "a file has this name"));
  const nlohmann::json wanted = settings();
  if (!fs::exists(folder / kSettings)) {
    if (!fs::is_empty(folder))
      throw usage_error("the folder " + folder.string() +
                        " holds other files and no generation (no generation.json): choose another "
                        "one");
    write_file_atomically(folder / kSettings, wanted.dump(2) + "\n");
    return folder;
  }
  const nlohmann::json former = read_json_file(folder / kSettings);
  const nlohmann::json changes = nlohmann::json::diff(former, wanted);
  if (changes.empty()) return folder;
  const GeneratedManifest old = GeneratedManifest::read(folder);
  // A generation that ended before its first clip binds nobody.
  const bool holds_something = !old.clips().empty() || fs::exists(folder / kUnfinished);
  if (!request_.force && holds_something) {
    const std::string key = changes[0].at("path").get<std::string>();
    const nlohmann::json::json_pointer pointer(key);
    const auto value = [&](const nlohmann::json& set) {
      return set.contains(pointer) ? set.at(pointer).dump() : std::string("absent");
    };
    throw usage_error("the clips in " + folder.string() +
                      " were made with other settings: " + (key.empty() ? "" : key.substr(1)) +
                      " is " + value(former) + " there and " + value(wanted) +
                      " now. Choose another folder, or give --force to replace them");
  }
  for (const auto& [clip, line] : old.clips()) fs::remove(folder / line.file);
  for (const char* name : {kGeneratedManifest, kGeneratedPage, kUnfinished})
    fs::remove(folder / name);
  write_file_atomically(folder / kSettings, wanted.dump(2) + "\n");
  return folder;
}

bool Generation::complete(int64_t first, int64_t streams) const {
  for (int64_t clip = first; clip < first + streams; ++clip)
    if (!manifest_.present(clip)) return false;
  return true;
}

int64_t Generation::count_kept() const {
  int64_t kept = 0;
  for (int64_t clip = 0; clip < request_.clips; ++clip) kept += manifest_.present(clip) ? 1 : 0;
  return kept;
}

void Generation::make_batch(int64_t first, int64_t streams) {
  std::vector<int64_t> classes;
  for (int64_t clip = first; clip < first + streams && !request_.classes.empty(); ++clip)
    classes.push_back(request_.classes[static_cast<size_t>(clip) % request_.classes.size()]);
  ClipStreams growing(generator_, first, streams, classes, request_.streams);
  resume(growing, first);
  const int64_t start = growing.position();
  RateMeter meter;
  meter.start(static_cast<double>(start));
  while (!growing.done()) {
    growing.advance(kSamplesBetweenLooks);
    tell(growing, first, meter);
    if (interrupted() != 0) save_and_stop(growing, first);
  }
  result_.seconds += meter.seconds();
  result_.sound_seconds +=
      static_cast<double>((growing.position() - start) * streams) / format_.sample_rate;
  const std::vector<double> likelihoods = growing.log_likelihoods();
  for (int64_t i = 0; i < streams; ++i)
    if (!manifest_.present(first + i))
      write_clip(growing, i, first + i, likelihoods[static_cast<size_t>(i)]);
  manifest_.write(request_.streams.seed, request_.version, request_.command, request_.model_hash);
}

// From where an interrupted process left this batch.
void Generation::resume(ClipStreams& streams, int64_t first) const {
  const fs::path path = folder_ / kUnfinished;
  if (!fs::exists(path)) return;
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [name, tensor] : read_tensors(path)) tensors.emplace(name, tensor);
  const auto batch = tensors.find("batch");
  if (batch == tensors.end() || batch->second.numel() != 2) return;
  if (batch->second[0].item<int64_t>() != first ||
      batch->second[1].item<int64_t>() != streams.streams())
    return;  // of a run with another number of clips
  streams.restore(tensors, path.string());
}

void Generation::save_and_stop(const ClipStreams& streams, int64_t first) const {
  NamedTensors tensors = {{"batch", torch::tensor({first, streams.streams()}, torch::kLong)}};
  for (const auto& [name, tensor] : streams.tensors()) tensors.emplace_back(name, tensor.cpu());
  write_tensors(folder_ / kUnfinished, tensors);
  throw Error(ErrorKind::kInterrupted, "stopped at sample " + std::to_string(streams.position()) +
                                           " of clips " + std::to_string(first) + " to " +
                                           std::to_string(first + streams.streams() - 1) +
                                           "; the same command goes on from there");
}

void Generation::tell(const ClipStreams& streams, int64_t first, const RateMeter& meter) const {
  if (!request_.progress) return;
  const auto position = static_cast<double>(streams.position());
  const double rate = meter.rate(position) * static_cast<double>(streams.streams());
  request_.progress(
      "clips " + std::to_string(first) + "-" + std::to_string(first + streams.streams() - 1) +
      " of " + std::to_string(request_.clips) + ": sample " + std::to_string(streams.position()) +
      "/" + std::to_string(request_.streams.length) + "  " + format_count(rate) +
      " samples/s, real-time factor " + number_text("%.3g", rate / format_.sample_rate) + "  eta " +
      format_duration(meter.seconds_left(position, static_cast<double>(request_.streams.length))));
}

std::string Generation::label(int64_t clip) const {
  if (request_.classes.empty()) return "";
  const int64_t label = request_.classes[static_cast<size_t>(clip) % request_.classes.size()];
  return label < 0 ? "" : request_.class_names[static_cast<size_t>(label)];
}

void Generation::write_clip(const ClipStreams& streams, int64_t stream, int64_t clip,
                            double log_likelihood) {
  const std::vector<uint8_t> codes = streams.codes(stream);
  Waveform waveform;
  waveform.sample_rate = format_.sample_rate;
  waveform.samples.resize(codes.size());
  decode(format_.companding, codes, waveform.samples);
  const std::string name = label(clip);
  char number[32];
  std::snprintf(number, sizeof number, "%05lld", static_cast<long long>(clip));
  GeneratedClip line{number + (name.empty() ? "" : "_" + safe(name)) + "." + request_.container,
                     name, log_likelihood};
  write_audio(folder_ / line.file, waveform, request_.encoding);
  manifest_.set(clip, std::move(line));
  ++result_.made;
}

std::vector<report::Fact> Generation::facts() const {
  const auto seconds =
      static_cast<double>(request_.streams.length) / static_cast<double>(format_.sample_rate);
  std::vector<report::Fact> list = {
      {"clips", std::to_string(request_.clips), number_text("%.3g s each", seconds)},
      {"sample rate", std::to_string(format_.sample_rate) + " Hz", to_string(format_.companding)},
      {"temperature", number_text("%.3g", request_.streams.sampling.temperature),
       number_text("top-p %.3g", request_.streams.sampling.top_p)},
      {"seed", std::to_string(request_.streams.seed), ""},
      {"model", request_.model_hash.substr(0, 12), "sha256"}};
  if (request_.streams.guidance != 1)
    list.push_back({"guidance", number_text("%.3g", request_.streams.guidance), ""});
  return list;
}

}  // namespace

GenerationResult generate_clips(Generator& generator, const AudioFormat& format,
                                const GenerationRequest& request) {
  if (request.clips < 1 || request.batch < 1)
    throw usage_error("clips and batch must be 1 or more");
  return Generation(generator, format, request).run();
}

}  // namespace strandwave::audio
