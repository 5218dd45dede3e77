#include "audio/training_samples.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <vector>

#include "audio/generate.h"
#include "audio/generated_folder.h"

namespace strandwave::audio {

namespace fs = std::filesystem;

void write_training_samples(const std::shared_ptr<Sashimi>& model, const AudioFormat& format,
                            int64_t step, const TrainingSamples& samples) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%09lld", static_cast<long long>(step));
  GenerationRequest request;
  request.folder = samples.folder / name;
  request.clips = request.batch = samples.clips;
  request.class_names = model->config().classes;
  request.classes.resize(request.class_names.size());
  std::iota(request.classes.begin(), request.classes.end(), int64_t{0});
  request.streams.length = samples.length;
  request.streams.seed = samples.seed;
  request.model_hash = name;
  request.force = true;  // a run that goes on may show other clips
  const std::unique_ptr<Generator> generator = make_generator(model);
  generate_clips(*generator, format, request);

  std::vector<fs::path> steps;
  for (const auto& entry : fs::directory_iterator(samples.folder))
    if (entry.is_directory() && entry.path().filename().string().starts_with("step-"))
      steps.push_back(entry.path());
  std::sort(steps.rbegin(), steps.rend());
  write_generated_page(samples.folder, steps, format.sample_rate, {});
}

}  // namespace strandwave::audio
