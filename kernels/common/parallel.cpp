#include "kernels/common/parallel.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <exception>
#include <mutex>

// The entry points of libgomp that a compiler's `#pragma omp parallel` calls.
extern "C" {
void GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);
int omp_in_parallel();
}

namespace strandwave {
namespace {

struct Work {
  FunctionRef<void(int64_t)> task;
  int64_t tasks;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
};

void run(void* data) {
  Work& work = *static_cast<Work*>(data);
  try {
    for (int64_t i = work.next++; i < work.tasks; i = work.next++) work.task(i);
  } catch (...) {
    work.next = work.tasks;
    const std::lock_guard lock(work.mutex);
    if (!work.error) work.error = std::current_exception();
  }
}

}  // namespace

void parallel_for(int64_t tasks, FunctionRef<void(int64_t)> task) {
  const int64_t threads = std::min<int64_t>(tasks, thread_count());
  if (threads <= 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < tasks; ++i) task(i);
    return;
  }
  Work work{task, tasks, {}, {}, {}};
  GOMP_parallel(&run, &work, static_cast<unsigned>(threads), 0);
  if (work.error) std::rethrow_exception(work.error);
}

int thread_count() { return at::get_num_threads(); }

void set_thread_count(int threads) { at::set_num_threads(threads); }

}  // namespace strandwave
