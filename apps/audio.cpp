#include <string>

#include "apps/audio.h"
#include "apps/commands.h"
#include "audio/io/audio_file.h"

namespace strandwave::apps {

void add_audio(CLI::App& program) {
  CLI::App* audio =
      program.add_subcommand("audio", "Raw waveforms: prepare, train, generate, score");
  audio->require_subcommand(1);
  add_audio_prepare(*audio);
  add_audio_train(*audio);
  add_audio_generate(*audio);
  add_audio_score(*audio);
}

std::string audio_support() { return audio::audio_file_support(); }

}  // namespace strandwave::apps
