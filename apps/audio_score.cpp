#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <numbers>
#include <numeric>
#include <optional>

#include "apps/audio_model_options.h"
#include "apps/commands.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "audio/io/clip_files.h"
#include "audio/io/encode_file.h"
#include "audio/io/wav_stream.h"
#include "audio/next_sample_scores.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  std::string model, output = "-", by = "file", label = "none";
  std::vector<std::string> files;
  int64_t chunk = 1 << 16;
  double frame_seconds = 0.01;
  std::optional<int> raw_rate;
  bool force = false, no_origin = false;
};

// Lines as they become known: to stdout at once, to a file when all is done.
class Lines {
 public:
  explicit Lines(const std::string& path) {
    if (path != "-") file_.emplace(path);
  }
  void write(const std::string& line) {
    if (file_)
      file_->write(line);
    else
      std::cout << line << std::flush;
  }
  void finish() {
    if (file_) file_->commit();
  }

 private:
  std::optional<AtomicFile> file_;
};

// Bits of one recording: its line, or the lines of its frames as they are complete.
class Recording {
 public:
  Recording(std::string name, const Options& options, int sample_rate, Lines& lines)
      : name_(std::move(name)),
        by_frame_(options.by == "frame"),
        sample_rate_(sample_rate),
        frame_(std::max<int64_t>(1, std::llround(options.frame_seconds * sample_rate))),
        lines_(lines) {}

  void add(std::span<const float> nats) {
    for (const float value : nats) {
      bits_ += value / std::numbers::ln2;
      ++samples_;
      if (by_frame_ && samples_ == frame_) write_frame();
    }
  }
  void finish() {
    if (by_frame_) {
      if (samples_ > 0) write_frame();
      return;
    }
    lines_.write(name_ + "\t" + std::to_string(samples_) + "\t" +
                 format_number("%.6f", bits_ / static_cast<double>(samples_)) + "\n");
  }
  int64_t samples() const { return first_ + samples_; }

 private:
  void write_frame() {
    lines_.write(name_ + "\t" + format_number("%.6f", static_cast<double>(first_) / sample_rate_) +
                 "\t" + std::to_string(samples_) + "\t" +
                 format_number("%.6f", bits_ / static_cast<double>(samples_)) + "\n");
    first_ += samples_;
    samples_ = 0;
    bits_ = 0;
  }

  std::string name_;
  bool by_frame_;
  int sample_rate_;
  int64_t frame_, first_ = 0, samples_ = 0;
  double bits_ = 0;
  Lines& lines_;
};

// Goes through codes piece by piece; a model that carries no state reads them at once.
void score_codes(audio::Sashimi& model, int64_t label, std::span<const uint8_t> codes,
                 int64_t chunk, Recording& recording) {
  audio::RecordingScorer scorer(model, label);
  const size_t piece = model.has_state() ? static_cast<size_t>(chunk) : codes.size();
  for (size_t at = 0; at < codes.size(); at += piece) {
    throw_if_interrupted();
    recording.add(scorer.score(codes.subspan(at, std::min(piece, codes.size() - at))));
  }
}

// Standard input as it comes: a frame's line is out before the next frame's samples are read.
void score_stream(const Options& options, const audio::LoadedAudioModel& loaded, int64_t label,
                  Lines& lines) {
  const audio::AudioFormat& format = loaded.format;
  audio::WavStream stream(std::cin, "standard input", options.raw_rate);
  if (stream.sample_rate() != format.sample_rate)
    throw input_error("standard input has " + std::to_string(stream.sample_rate()) +
                      " samples per second, the model " + std::to_string(format.sample_rate) +
                      ": convert it on the way (sox - -r " + std::to_string(format.sample_rate) +
                      " -t wav -), or give a file, which is resampled");
  Recording recording("-", options, format.sample_rate, lines);
  if (format.scale != audio::Scale::kNone || !loaded.model->has_state()) {
    warn(format.scale != audio::Scale::kNone
             ? "the model scales recordings by their extremes (scale " + to_string(format.scale) +
                   "): standard input is read to its end first"
             : "a layer of the model carries no state: standard input is read to its end first");
    std::vector<float> all, part(1 << 16);
    while (const size_t count = stream.read(part))
      all.insert(all.end(), part.begin(), part.begin() + static_cast<ptrdiff_t>(count));
    if (all.empty()) throw input_error("standard input holds no samples");
    score_codes(*loaded.model, label, audio::encode_samples(all, format), options.chunk, recording);
  } else {
    audio::RecordingScorer scorer(*loaded.model, label);
    std::vector<float> part(static_cast<size_t>(
        options.by == "frame"
            ? std::max<int64_t>(1, std::llround(options.frame_seconds * format.sample_rate))
            : options.chunk));
    while (const size_t count = stream.read(part)) {
      throw_if_interrupted();
      recording.add(scorer.score(audio::encode_samples(std::span(part).first(count), format)));
    }
    if (recording.samples() == 0) throw input_error("standard input holds no samples");
  }
  recording.finish();
}

void score_files(const Options& options, const audio::LoadedAudioModel& loaded, int64_t label,
                 Lines& lines) {
  std::vector<audio::ClipFile> files;
  for (const std::string& path : options.files) {
    audio::ClipFileOptions reading;
    reading.label = reading.speaker = "none";
    const audio::ClipFiles found = audio::find_clip_files(path, reading);
    files.insert(files.end(), found.files.begin(), found.files.end());
  }
  Progress progress(stderr, options.common.quiet);
  RateMeter meter;
  meter.start(0);
  int64_t samples = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::vector<uint8_t> codes = audio::encode_file(files[i].path, loaded.format);
    Recording recording(files[i].path.string(), options, loaded.format.sample_rate, lines);
    score_codes(*loaded.model, label, codes, options.chunk, recording);
    recording.finish();
    samples += static_cast<int64_t>(codes.size());
    progress.update("file " + std::to_string(i + 1) + "/" + std::to_string(files.size()) + "  " +
                    format_count(meter.rate(static_cast<double>(samples))) + " samples/s");
  }
}

void run(const Options& options) {
  refuse_existing_file(options.output, options.force);
  const bool stream = options.files == std::vector<std::string>{"-"};
  if (!stream && std::count(options.files.begin(), options.files.end(), "-") > 0)
    throw usage_error("- is standard input: score it alone");
  if (options.raw_rate && !stream)
    throw usage_error("--raw is for standard input: give - as the only file");
  const c10::Device device = options.common.prepare();
  const audio::LoadedAudioModel loaded = audio::load_audio_model(options.model);
  audio::require_samples_of_8_bits(loaded, options.model);
  const int64_t label =
      options.label == "none" ? -1 : class_number(loaded.classes(), options.label);
  const SignalGuard signals;
  Lines lines(options.output);
  if (!options.no_origin)
    lines.write("##strandwave=" STRANDWAVE_VERSION "\n##command=" + command_line() +
                "\n##model=" + loaded.hash + "\n");
  lines.write(options.by == "frame" ? "file\tstart\tsamples\tbits_per_sample\n"
                                    : "file\tsamples\tbits_per_sample\n");
  explain_out_of_memory(device, "lower --chunk", [&] {
    loaded.model->to(device);
    loaded.model->eval();
    if (stream)
      score_stream(options, loaded, label, lines);
    else
      score_files(options, loaded, label, lines);
  });
  lines.finish();
}

}  // namespace

void add_audio_score(CLI::App& audio) {
  CLI::App* command =
      audio.add_subcommand("score", "Bits per sample of recordings under a trained model");
  auto options = std::make_shared<Options>();
  command->add_option("MODEL", options->model, "Run, checkpoint or model folder of audio train")
      ->required();
  command
      ->add_option("FILES", options->files,
                   "Audio files, folders or manifests; - is WAV from standard input, as it comes")
      ->required();
  command->add_option("--by", options->by, "A line per file, or per frame of --frame seconds")
      ->check(CLI::IsMember({"file", "frame"}))
      ->capture_default_str();
  command->add_option("--frame", options->frame_seconds, "Seconds of a frame")
      ->check(positive_number())
      ->capture_default_str();
  command->add_option("--class", options->label, "Class of the recordings, of a model with classes")
      ->capture_default_str();
  command
      ->add_option("--chunk", options->chunk,
                   "Samples that the model reads at once; the state is carried, so that the result "
                   "does not depend on it")
      ->check(positive_number())
      ->capture_default_str();
  command
      ->add_option("--raw", options->raw_rate,
                   "Standard input is bare 16-bit little-endian mono of so many samples per second")
      ->check(positive_number());
  command->add_option("-o,--output", options->output, "TSV to write; - is stdout")
      ->capture_default_str();
  command->add_flag("--force", options->force, "Overwrite the output file");
  command->add_flag("--no-PG", options->no_origin,
                    "Leave the lines with version, command and model hash out");
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
