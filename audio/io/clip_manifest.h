// The table that names clips.
#pragma once

#include <filesystem>

#include "audio/io/clip_files.h"

namespace strandwave::audio {

// See find_clip_files(). Lines that begin with '#' and empty lines are skipped; columns that are
// not mentioned there are left alone.
ClipFiles read_clip_manifest(const std::filesystem::path& path);

}  // namespace strandwave::audio
