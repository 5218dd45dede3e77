// Measurements of operators: a registry of cases, and the one way to time them.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <string>
#include <vector>

namespace strandwave::benchmark {

// What is timed. Each callable does the whole work of one call on the case's device, on the current
// stream, and may leave it running there. It owns its inputs (captured tensors) and leaves them as
// they are, so that every call does the same.
struct Work {
  std::function<void()> run;
  std::function<void()> reference;  // optional: the other side of a ratio, measured alternately
};

struct Case {
  std::string name;               // of the part measured: "forward", "backward"
  std::string shape;              // "batch 8, length 2048, channels 1536"
  std::string dtype;              // "bf16"
  double bytes = 0;               // least traffic with memory of one call, 0 where it says nothing
  double flops = 0;               // of one call, 0 where it says nothing
  std::string reference_name;     // what Work::reference is: "ATen", "loop over time"
  std::function<Work()> prepare;  // allocates the inputs; called just before the case is measured
};

// Registers the cases of one operator from file scope of its *_benchmark.cpp; `make` returns those
// that make sense on a device (none: an empty list) and allocates nothing large.
//
//   std::vector<Case> cases(c10::Device device) { ... }
//   const StaticRegistration registration("causal_conv1d", cases);
class StaticRegistration {
 public:
  StaticRegistration(std::string name, std::function<std::vector<Case>(c10::Device)> make);
};

struct Options {
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  std::string filter;  // measures the cases whose "operator.case shape dtype" contains it; "": all
  double seconds = 0.5;  // of measuring per side of a case, at least 5 repetitions
};

// Seconds per call.
struct Timing {
  double median = 0;
  double p10 = 0;
  double p90 = 0;
  int repetitions = 0;
};

// What this device reaches, measured in the same run: copying 512 MiB (bytes read and written) and
// a square GEMM of ATen (bfloat16, 8192, on CUDA; float32, 1024, on the CPU).
struct Ceilings {
  double bytes_per_second = 0;
  double flops_per_second = 0;
};

struct Result {
  std::string name;  // "causal_conv1d.forward"
  std::string shape;
  std::string dtype;
  std::string device;  // "cpu", "cuda:0"
  Timing time;
  double bytes_per_second = 0;  // by the median; 0 where the case states none
  double flops_per_second = 0;
  double bandwidth_share = 0;  // of Ceilings::bytes_per_second
  double flops_share = 0;      // of Ceilings::flops_per_second
  std::string reference_name;  // "" without a reference, and then the next two are empty as well
  Timing reference_time;
  double ratio = 0;  // reference_time.median / time.median: above 1 we are faster
};

struct Report {
  Ceilings ceilings;
  std::vector<Result> results;
};

// "operator.case shape dtype" of every case that `options` selects, in order of registration names.
std::vector<std::string> list(const Options& options);

// Measures them one after the other; `done` sees each result as soon as it is there.
// On CUDA each call lies between two events and follows an overwriting of the L2 cache, which also
// hides the cost of launching; on the CPU by the wall clock, caches as the last call left them.
Report run(const Options& options, const std::function<void(const Result&)>& done = {});

}  // namespace strandwave::benchmark
