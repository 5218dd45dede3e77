// The report on audio runs: which sections there are and what stands in them.
#pragma once

#include <string>
#include <vector>

#include "core/report/run_files.h"

namespace strandwave::audio {

// Whether the run, or the file of figures, is one of `audio train`.
bool is_audio_run(const report::RunFiles& run);

// A self-contained HTML page on one run or several: bits per sample beside baselines, the course of
// training, commands, settings, versions. Throws Error(kUsage) when the tests of the runs do not
// measure the same (require_comparable).
std::string audio_report(std::vector<report::RunFiles> runs);

}  // namespace strandwave::audio
