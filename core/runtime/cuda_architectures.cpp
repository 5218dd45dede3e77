#include "core/runtime/cuda_architectures.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string_view>

namespace strandwave {
namespace {

bool one_runs_on(std::string_view name, int major, int minor) {
  const size_t dash = name.find('-');
  const std::string_view ending = dash == std::string_view::npos ? "" : name.substr(dash);
  int number = 0;
  const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc()) return true;
  const int capability = 10 * major + minor;
  if (rest < name.data() + std::min(dash, name.size())) return capability == number;
  const bool machine_code = ending != "-virtual" && number / 10 == major && number % 10 <= minor;
  const bool ptx = ending != "-real" && number <= capability;
  return machine_code || ptx;
}

}  // namespace

bool runs_on_capability(const std::string& architectures, int major, int minor) {
  std::istringstream names(architectures);
  for (std::string name; std::getline(names, name, ',');)
    if (one_runs_on(name, major, minor)) return true;
  return false;
}

std::string kernel_problem(const std::string& architectures, int gpu, const std::string& name,
                           int major, int minor) {
  if (runs_on_capability(architectures, major, minor)) return {};
  const std::string number = std::to_string(major) + std::to_string(minor);
  return "cuda:" + std::to_string(gpu) + " (" + name + ", compute capability " +
         std::to_string(major) + "." + std::to_string(minor) +
         ") cannot run this program's kernels, which were built for " + architectures +
         ": build the preset `cuda` with -DCMAKE_CUDA_ARCHITECTURES=" + number +
         ", or use --device cpu";
}

}  // namespace strandwave
