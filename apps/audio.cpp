#include <algorithm>
#include <string>

#include "apps/audio.h"
#include "apps/commands.h"
#include "audio/audio_report.h"
#include "audio/io/audio_file.h"
#include "core/base/error.h"

namespace strandwave::apps {

void add_audio(CLI::App& program) {
  CLI::App* audio = program.add_subcommand(
      "audio",
      "Raw waveforms: prepare, train, generate, score, finetune, classify, evaluate, import");
  audio->require_subcommand(1);
  add_audio_prepare(*audio);
  add_audio_train(*audio);
  add_audio_generate(*audio);
  add_audio_score(*audio);
  add_audio_finetune(*audio);
  add_audio_classify(*audio);
  add_audio_evaluate(*audio);
  add_audio_import(*audio);
}

std::string audio_support() { return audio::audio_file_support(); }

std::optional<std::string> audio_report_page(const std::vector<report::RunFiles>& runs) {
  const auto of_audio = std::count_if(runs.begin(), runs.end(), &audio::is_audio_run);
  if (of_audio == 0) return std::nullopt;
  if (of_audio < static_cast<std::ptrdiff_t>(runs.size()))
    throw usage_error(
        "some of these runs are of audio and some are not: make a report of each kind");
  return audio::audio_report(runs);
}

}  // namespace strandwave::apps
