#include "core/runtime/accelerator.h"

#include <ATen/Context.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "core/base/error.h"
#include "core/runtime/accelerator_common.h"

namespace strandwave {

c10::Device parse_device(const std::string& text) {
  if (text == "cpu") return c10::Device(c10::kCPU);
  if (text == "auto" && !cuda_available()) return c10::Device(c10::kCPU);
  const bool cuda = text == "cuda" || text == "auto";
  int index = 0;
  if (!cuda) {
    const std::string prefix = "cuda:";
    const bool numbered = text.size() > prefix.size() && text.size() < prefix.size() + 4 &&
                          text.compare(0, prefix.size(), prefix) == 0 &&
                          text.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
    if (!numbered)
      throw usage_error("device '" + text + "' is unknown: use auto, cpu, cuda or cuda:N");
    index = std::stoi(text.substr(prefix.size()));
  }
  if (!built_with_cuda())
    throw runtime_failure("device '" + text +
                          "' was asked for, but this program was built without CUDA: "
                          "build the preset `cuda`, or use --device cpu");
  if (!cuda_available())
    throw runtime_failure("device '" + text +
                          "' was asked for, but no GPU with a working driver is "
                          "visible: check `nvidia-smi`, or use --device cpu");
  if (index >= at::globalContext().getAcceleratorHooksInterface().deviceCount())
    throw runtime_failure("device '" + text + "' was asked for, but this machine has fewer GPUs");
  const std::string problem = kernel_problem(index);
  if (!problem.empty()) throw runtime_failure(problem);
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

DeviceMemory host_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {usage.ru_maxrss * int64_t{1024},
          static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE)};
}

std::string host_description() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "CPU";
}

void make_deterministic() {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
  at::globalContext().setDeterministicAlgorithms(true, false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  at::globalContext().setBenchmarkCuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
}

}  // namespace strandwave
