// What the rest of the program knows of the audio half; audio.cpp or audio_none.cpp, by CMake.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/report/run_files.h"

namespace strandwave::apps {

// Libraries and formats, or that there are none: for `strandwave doctor`.
std::string audio_support();

// The report, if these are audio runs; nothing if none is. Throws Error(kUsage) for some of each.
std::optional<std::string> audio_report_page(const std::vector<report::RunFiles>& runs);

}  // namespace strandwave::apps
