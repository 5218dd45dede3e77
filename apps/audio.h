// What the rest of the program knows of the audio half; audio.cpp or audio_none.cpp, by CMake.
#pragma once

#include <string>

namespace strandwave::apps {

// Libraries and formats, or that there are none: for `strandwave doctor`.
std::string audio_support();

}  // namespace strandwave::apps
