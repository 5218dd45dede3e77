// Which clips train a model and which judge it.
#pragma once

#include "audio/io/clip_files.h"

namespace strandwave::audio {

// Sets the split of every file and clips.split_by. Throws Error as find_clip_files() says.
void divide_clip_files(ClipFiles& clips, const ClipFileOptions& options);

}  // namespace strandwave::audio
