#include "audio/io/clip_reader.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <thread>

#include "audio/io/audio_file.h"
#include "core/base/error.h"

namespace strandwave::audio {
namespace {

// Of full scale. The quietest digit of the Free Spoken Digit Dataset reaches 0.0105, the clip "two"
// of Speech Commands in which nothing is heard 0.0022.
constexpr float kSilent = 1e-4F, kQuiet = 5e-3F;
constexpr size_t kMostNamed = 10;

// Calls work(i) for every i below `count` on several threads; the first exception of the lowest i
// is thrown again.
void in_parallel(size_t count, size_t threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next = 0;
  std::vector<std::exception_ptr> failures(count);
  const auto run = [&] {
    for (size_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min(threads, count); ++i) helpers.emplace_back(run);
  run();
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

// Why a file is of no use, or empty.
std::string problem_of(const std::vector<float>& samples) {
  if (samples.size() < 2) return "has one sample only";
  const bool silent = std::all_of(samples.begin(), samples.end(),
                                  [&](float x) { return std::abs(x - samples[0]) < kSilent; });
  return silent ? "is silent" : "";
}

bool is_quiet(const std::vector<float>& samples) {
  return std::all_of(samples.begin(), samples.end(), [](float x) { return std::abs(x) < kQuiet; });
}

// What reading one file came to.
struct FileResult {
  std::string problem;  // empty: it is good
  std::vector<WaveClip> clips;
  int rate = 0;  // of the file
  bool several_channels = false, quiet = false, padded = false, cut = false;
};

std::vector<WaveClip> sliced(std::vector<float> samples, size_t length) {
  std::vector<WaveClip> clips;
  for (size_t at = 0; at < samples.size(); at += length) {
    const size_t end = std::min(samples.size(), at + length);
    WaveClip clip;
    clip.samples.assign(samples.begin() + static_cast<std::ptrdiff_t>(at),
                        samples.begin() + static_cast<std::ptrdiff_t>(end));
    clip.real = static_cast<int64_t>(clip.samples.size());
    clips.push_back(std::move(clip));
  }
  return clips;
}

// Cuts or pads as the format says.
void set_length(const AudioFormat& format, std::vector<float> samples, FileResult& result) {
  const auto wanted = static_cast<size_t>(format.clip_length);
  const bool fits = wanted == 0 || samples.size() == wanted;
  if (!fits && format.length == LengthPolicy::kError) {
    result.problem = "has " + std::to_string(samples.size()) + " samples, not " +
                     std::to_string(wanted) + " (length policy error)";
    return;
  }
  if (!fits && format.length == LengthPolicy::kSlice) {
    result.clips = sliced(std::move(samples), wanted);
    return;
  }
  result.cut = !fits && samples.size() > wanted;
  if (result.cut) samples.resize(wanted);
  WaveClip clip;
  clip.real = static_cast<int64_t>(samples.size());
  result.padded = !fits && samples.size() < wanted && format.length == LengthPolicy::kPad;
  if (result.padded) samples.resize(wanted, 0.0F);
  clip.samples = std::move(samples);
  result.clips.push_back(std::move(clip));
}

FileResult read_file_clips(const ClipFile& file, size_t index, const AudioFormat& format) {
  FileResult result;
  try {
    const AudioFileFacts facts = audio_file_facts(file.path);
    result.rate = facts.sample_rate;
    result.several_channels = facts.channels > 1;
    Waveform wave = read_audio(file.path, {.target_rate = format.sample_rate});
    result.problem = problem_of(wave.samples);
    if (!result.problem.empty()) return result;
    result.quiet = is_quiet(wave.samples);
    apply_scale(format.scale, wave.samples);
    set_length(format, std::move(wave.samples), result);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInput) throw;
    // The message begins with the path, which the reader of a list knows by its shorter name.
    const std::string text = error.what(), path = file.path.string() + ": ";
    result.problem = text.rfind(path, 0) == 0 ? text.substr(path.size()) : text;
  }
  for (size_t piece = 0; piece < result.clips.size(); ++piece) {
    result.clips[piece].file = index;
    result.clips[piece].name =
        file.name + (result.clips.size() > 1 ? "#" + std::to_string(piece) : "");
  }
  return result;
}

size_t thread_count(const ClipReaderOptions& options) {
  if (options.threads > 0) return static_cast<size_t>(options.threads);
  return std::max(1U, std::thread::hardware_concurrency());
}

// The rate that all readable files share.
int common_rate(const std::vector<ClipFile>& files, size_t threads) {
  std::vector<int> rates(files.size());
  in_parallel(files.size(), threads, [&](size_t i) {
    try {
      rates[i] = audio_file_facts(files[i].path).sample_rate;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kInput) throw;  // else reading reports it
    }
  });
  std::map<int, std::pair<int64_t, size_t>> count;  // files, one of them
  for (size_t i = 0; i < rates.size(); ++i)
    if (rates[i] > 0) ++count.try_emplace(rates[i], 0, i).first->second.first;
  if (count.size() <= 1) return count.empty() ? 0 : count.begin()->first;
  std::string list;
  for (const auto& [rate, entry] : count)
    list += (list.empty() ? "" : ", ") + std::to_string(entry.first) + " of " +
            std::to_string(rate) + " (" + files[entry.second].name + ")";
  throw usage_error("the files have several sampling rates: " + list +
                    "; say with --rate to which of them, or to what other rate, all are brought");
}

void refuse_bad(const std::vector<BadFile>& bad, size_t files) {
  std::string list;
  for (size_t i = 0; i < std::min(bad.size(), kMostNamed); ++i)
    list += "\n  " + bad[i].name + ": " + bad[i].reason;
  if (bad.size() > kMostNamed)
    list += "\n  and " + std::to_string(bad.size() - kMostNamed) + " more";
  throw input_error(std::to_string(bad.size()) + " of " + std::to_string(files) +
                    " files cannot be used:" + list +
                    "\nMend or remove them, or leave them out with --bad-files skip");
}

void count(const FileResult& result, ReadingReport& report) {
  ++report.files;
  ++report.rates[result.rate];
  report.several_channels += result.several_channels ? 1 : 0;
  report.padded += result.padded ? 1 : 0;
  report.cut += result.cut ? 1 : 0;
  report.sliced += result.clips.size() > 1 ? 1 : 0;
}

}  // namespace

ReadingReport read_clips(const std::vector<ClipFile>& files, AudioFormat& format,
                         const ClipReaderOptions& options,
                         const std::function<void(WaveClip&&)>& sink) {
  const size_t threads = thread_count(options);
  // A rate of 0 after this: no file can be read, and each says why below.
  if (format.sample_rate == 0) format.sample_rate = common_rate(files, threads);
  ReadingReport report;
  const size_t batch = 16 * threads;
  for (size_t first = 0; first < files.size(); first += batch) {
    if (options.progress) options.progress(first, files.size());
    const size_t size = std::min(batch, files.size() - first);
    std::vector<FileResult> results(size);
    in_parallel(size, threads, [&](size_t i) {
      results[i] = read_file_clips(files[first + i], first + i, format);
    });
    for (size_t i = 0; i < size; ++i) {
      if (!results[i].problem.empty()) {
        report.bad.push_back({files[first + i].name, results[i].problem});
        continue;
      }
      count(results[i], report);
      if (results[i].quiet) report.quiet.push_back(files[first + i].name);
      for (WaveClip& clip : results[i].clips) sink(std::move(clip));
    }
  }
  if (options.progress) options.progress(files.size(), files.size());
  if (!report.bad.empty() && !options.skip_bad) refuse_bad(report.bad, files.size());
  if (report.files == 0)
    throw input_error("none of the " + std::to_string(files.size()) +
                      " files can be used; the first, " + report.bad[0].name + ", " +
                      report.bad[0].reason);
  return report;
}

}  // namespace strandwave::audio
