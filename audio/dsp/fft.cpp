#include "audio/dsp/fft.h"

#include <fftw3.h>

#include <mutex>
#include <new>

namespace strandwave::audio {
namespace {

// Of FFTW's functions only the executing ones may run at the same time.
std::mutex& planner() {
  static std::mutex mutex;
  return mutex;
}

// FFTW's complex numbers have the layout of std::complex (its manual, "Complex numbers").
fftw_complex* as_fftw(std::complex<double>* values) {
  return reinterpret_cast<fftw_complex*>(values);
}

void* allocate(size_t bytes) {
  const std::lock_guard lock(planner());
  void* memory = fftw_malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

struct RealFft::Plan {
  fftw_plan plan;
};

void RealFft::Destroy::operator()(Plan* plan) const {
  const std::lock_guard lock(planner());
  fftw_destroy_plan(plan->plan);
  delete plan;
}

RealFft::Buffers::Buffers(const RealFft& fft)
    : size_(static_cast<size_t>(fft.size())),
      bins_(static_cast<size_t>(fft.bins())),
      input_(static_cast<double*>(allocate(size_ * sizeof(double)))),
      output_(static_cast<std::complex<double>*>(allocate(bins_ * sizeof(std::complex<double>)))) {}

void RealFft::Buffers::Free::operator()(void* memory) const {
  const std::lock_guard lock(planner());
  fftw_free(memory);
}

RealFft::RealFft(int size) : size_(size) {
  Buffers buffers(*this);  // as aligned as those that the plan will run on
  const std::lock_guard lock(planner());
  plan_.reset(
      new Plan{fftw_plan_dft_r2c_1d(size, buffers.input_.get(), as_fftw(buffers.output_.get()),
                                    FFTW_ESTIMATE | FFTW_PRESERVE_INPUT)});
}

void RealFft::transform(Buffers& buffers) const {
  fftw_execute_dft_r2c(plan_->plan, buffers.input_.get(), as_fftw(buffers.output_.get()));
}

}  // namespace strandwave::audio
