// The discrete Fourier transform of real signals (FFTW, double precision).
#pragma once

#include <complex>
#include <memory>
#include <span>

namespace strandwave::audio {

// X_k = sum_n x_n exp(-2 pi i k n / size), k = 0 ... size / 2. Plans are FFTW_ESTIMATE ones:
// measured plans, and with them the last bits of results, differ from run to run.
class RealFft {
 public:
  explicit RealFft(int size);  // at least 1
  int size() const { return size_; }
  int bins() const { return size_ / 2 + 1; }

  // Where one transform reads and writes. Each thread has its own.
  class Buffers {
   public:
    explicit Buffers(const RealFft& fft);
    std::span<double> input() { return {input_.get(), size_}; }
    std::span<const std::complex<double>> output() const { return {output_.get(), bins_}; }

   private:
    friend class RealFft;
    struct Free {
      void operator()(void* memory) const;
    };
    size_t size_, bins_;
    std::unique_ptr<double[], Free> input_;
    std::unique_ptr<std::complex<double>[], Free> output_;
  };

  // From input() to output(); the input is kept. From any number of threads at once.
  void transform(Buffers& buffers) const;

 private:
  struct Plan;
  struct Destroy {
    void operator()(Plan* plan) const;
  };
  int size_;
  std::unique_ptr<Plan, Destroy> plan_;
};

}  // namespace strandwave::audio
