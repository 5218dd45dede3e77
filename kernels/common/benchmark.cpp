#include "kernels/common/benchmark.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

namespace strandwave::benchmark {
namespace {

constexpr int kLeastRepetitions = 5;
constexpr int kMostRepetitions = 1000;
constexpr int kRounds = 4;  // the two sides of a ratio take turns so often
constexpr int64_t kMebibyte = int64_t{1} << 20;
constexpr int64_t kFlushBytes = 256 * kMebibyte;  // above any L2 cache
constexpr int64_t kCopyBytes = 512 * kMebibyte;

using MakeCases = std::function<std::vector<Case>(c10::Device)>;

std::map<std::string, MakeCases>& registry() {
  static std::map<std::string, MakeCases> operators;
  return operators;
}

std::string full_name(const std::string& op, const Case& c) { return op + "." + c.name; }

std::vector<std::pair<std::string, Case>> selected(const Options& options) {
  std::vector<std::pair<std::string, Case>> cases;
  for (const auto& [op, make] : registry()) {
    for (Case& c : make(options.device)) {
      const std::string text = full_name(op, c) + " " + c.shape + " " + c.dtype;
      if (text.find(options.filter) != std::string::npos) cases.emplace_back(op, std::move(c));
    }
  }
  return cases;
}

// Times calls on one device.
class Clock {
 public:
  explicit Clock(c10::Device device) : device_(device) {
    if (device.is_cpu()) return;
    guard_.emplace(device.type());
    if (!device.has_index()) device_ = guard_->getDevice();
    flush_ = at::empty({kFlushBytes}, at::TensorOptions(device_).dtype(at::kByte));
  }

  std::string device() const { return device_.str(); }

  // Appends the seconds of `calls` calls.
  void measure(const std::function<void()>& call, int calls, std::vector<double>& seconds) {
    device_.is_cpu() ? measure_wall(call, calls, seconds) : measure_events(call, calls, seconds);
  }

 private:
  static void measure_wall(const std::function<void()>& call, int calls,
                           std::vector<double>& seconds) {
    for (int i = 0; i < calls; ++i) {
      const auto start = std::chrono::steady_clock::now();
      call();
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      seconds.push_back(elapsed.count());
    }
  }

  void measure_events(const std::function<void()>& call, int calls, std::vector<double>& seconds) {
    const c10::Stream stream = guard_->getStream(device_);
    std::vector<std::pair<c10::Event, c10::Event>> events;
    for (int i = 0; i < calls; ++i) {
      auto& [start, stop] =
          events.emplace_back(c10::Event(device_.type(), c10::EventFlag::BACKEND_DEFAULT),
                              c10::Event(device_.type(), c10::EventFlag::BACKEND_DEFAULT));
      flush_.zero_();
      start.record(stream);
      call();
      stop.record(stream);
    }
    for (const auto& [start, stop] : events) {
      stop.synchronize();
      seconds.push_back(start.elapsedTime(stop) * 1e-3);
    }
  }

  c10::Device device_;
  std::optional<c10::impl::VirtualGuardImpl> guard_;
  at::Tensor flush_;
};

double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - static_cast<double>(below);
  return sorted[below] + part * (sorted[above] - sorted[below]);
}

Timing summarise(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {quantile(seconds, 0.5), quantile(seconds, 0.1), quantile(seconds, 0.9),
          static_cast<int>(seconds.size())};
}

// Warms up and returns how many calls fill `seconds`.
int repetitions(Clock& clock, const std::function<void()>& call, double seconds) {
  std::vector<double> warm;
  clock.measure(call, 2, warm);
  const double calls = seconds / std::max(warm.back(), 1e-7);
  return static_cast<int>(std::clamp<double>(calls, kLeastRepetitions, kMostRepetitions));
}

// The timings of one or two callables, which take turns.
std::vector<Timing> measure(Clock& clock, const std::vector<std::function<void()>>& sides,
                            double seconds) {
  std::vector<int> calls;
  for (const auto& side : sides) calls.push_back(repetitions(clock, side, seconds));
  std::vector<std::vector<double>> times(sides.size());
  for (int round = 0; round < kRounds; ++round)
    for (size_t i = 0; i < sides.size(); ++i)
      clock.measure(sides[i], (calls[i] + kRounds - 1) / kRounds, times[i]);
  std::vector<Timing> timings;
  for (auto& side : times) timings.push_back(summarise(std::move(side)));
  return timings;
}

Ceilings measure_ceilings(Clock& clock, const Options& options) {
  const at::TensorOptions on_device(options.device);
  const at::Tensor from = at::ones({kCopyBytes}, on_device.dtype(at::kByte));
  const at::Tensor to = at::empty_like(from);
  const double copy = measure(clock, {[&] { to.copy_(from); }}, options.seconds)[0].median;

  const int64_t n = options.device.is_cpu() ? 1024 : 8192;
  const at::Tensor a =
      at::ones({n, n}, on_device.dtype(options.device.is_cpu() ? at::kFloat : at::kBFloat16));
  const double gemm = measure(clock, {[&] { at::mm(a, a); }}, options.seconds)[0].median;
  const auto size = static_cast<double>(n);
  return {2.0 * kCopyBytes / copy, 2.0 * size * size * size / gemm};
}

Result measure_case(Clock& clock, const std::string& op, const Case& c, const Ceilings& ceilings,
                    double seconds) {
  const Work work = c.prepare();
  std::vector<std::function<void()>> sides = {work.run};
  if (work.reference) sides.push_back(work.reference);
  const std::vector<Timing> timings = measure(clock, sides, seconds);

  Result result;
  result.name = full_name(op, c);
  result.shape = c.shape;
  result.dtype = c.dtype;
  result.device = clock.device();
  result.time = timings[0];
  result.bytes_per_second = c.bytes / timings[0].median;
  result.flops_per_second = c.flops / timings[0].median;
  result.bandwidth_share = result.bytes_per_second / ceilings.bytes_per_second;
  result.flops_share = result.flops_per_second / ceilings.flops_per_second;
  if (work.reference) {
    result.reference_name = c.reference_name;
    result.reference_time = timings[1];
    result.ratio = timings[1].median / timings[0].median;
  }
  return result;
}

}  // namespace

StaticRegistration::StaticRegistration(std::string name, MakeCases make) {
  registry().insert_or_assign(std::move(name), std::move(make));
}

std::vector<std::string> list(const Options& options) {
  std::vector<std::string> names;
  for (const auto& [op, c] : selected(options))
    names.push_back(full_name(op, c) + " " + c.shape + " " + c.dtype);
  return names;
}

Report run(const Options& options, const std::function<void(const Result&)>& done) {
  Report report;
  const auto cases = selected(options);
  if (cases.empty()) return report;
  Clock clock(options.device);
  report.ceilings = measure_ceilings(clock, options);
  for (const auto& [op, c] : cases) {
    report.results.push_back(measure_case(clock, op, c, report.ceilings, options.seconds));
    if (done) done(report.results.back());
  }
  return report;
}

}  // namespace strandwave::benchmark
