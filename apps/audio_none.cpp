// A build without the audio half.
#include "apps/audio.h"
#include "apps/bench.h"
#include "apps/commands.h"
#include "core/base/error.h"

namespace strandwave::apps {

void add_audio(CLI::App& program) {
  CLI::App* audio =
      program.add_subcommand("audio", "Raw waveforms: not in this build (STRANDWAVE_AUDIO=OFF)");
  audio->allow_extras();
  audio->callback([] {
    throw usage_error(
        "this program was built without its audio half: configure it with -DSTRANDWAVE_AUDIO=ON");
  });
}

void add_bench_generate(CLI::App&) {}

std::optional<std::string> audio_report_page(const std::vector<report::RunFiles>&) {
  return std::nullopt;
}

std::string audio_support() { return "none: this program was built with STRANDWAVE_AUDIO=OFF"; }

}  // namespace strandwave::apps
