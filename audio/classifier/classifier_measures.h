// How good a classifier of clips is.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "audio/classifier/audio_classifier.h"

namespace strandwave::audio {

// {"n", "accuracy", "macro_f1", "log_loss" (nats, mean), "ece" (15 bins), "recall": {label: share
// or
//  null}, "confusion": [[clips by truth and prediction]]}. Throws Error(kInput) without clips.
nlohmann::json classifier_measures(const std::vector<std::string>& labels,
                                   std::span<const int64_t> truth,
                                   const std::vector<std::vector<float>>& log_probabilities);

// The temperature at which the classifier's probabilities fit these clips best; 1 for none.
double fit_clip_temperature(std::span<const int64_t> truth,
                            const std::vector<std::vector<float>>& log_probabilities);

// log softmax(log_probabilities / temperature), clip by clip.
std::vector<std::vector<float>> at_temperature(std::vector<std::vector<float>> log_probabilities,
                                               double temperature);

// Position of the largest value, the first of equals.
int64_t best_class(const std::vector<float>& log_probabilities);

// Which of a classifier's classes the labels of some clips are: by their names, or by what
// `translation` (label -> class) says. Throws Error(kInput) that names each label without a class,
// and the nearest one.
std::vector<int64_t> classes_of_labels(const std::vector<std::string>& labels,
                                       const std::vector<std::string>& classes,
                                       const std::map<std::string, std::string>& translation = {});
// A file of lines "label<TAB>class". Throws Error(kInput) with the line.
std::map<std::string, std::string> read_translation(const std::filesystem::path& path);

}  // namespace strandwave::audio
