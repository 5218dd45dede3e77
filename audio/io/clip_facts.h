// What there is to say about a set of clips: ClipDataset::facts().
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "audio/io/clip_dataset.h"

namespace strandwave::audio {

// How the files were found and read.
nlohmann::json reading_facts(const ClipFiles& files, const ReadingReport& report);
// Throws Error(kInput) unless these are of that form, as in a prepared file that nobody changed.
void check_reading_facts(const nlohmann::json& facts, const std::string& where);
// What the clips are and how they are divided.
nlohmann::json dataset_facts(const ClipDataset& dataset);

}  // namespace strandwave::audio
