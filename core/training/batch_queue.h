// Prepares batches on a thread of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/training/task.h"

namespace strandwave {

// The micro-batches of one optimizer step, in host memory. The weights of all of them must be known
// before the first backward, so a step is what the queue hands out.
struct StepBatches {
  std::vector<Batch> batches;
  double weight = 0;  // sums over the batches
  int64_t tokens = 0;
};

// next() returns the steps first_step, first_step + 1, ..., last_step - 1 in order; the thread
// stays at most `ahead` steps (at least one) in front. pin: batches come in page-locked memory.
// What Task::batch throws, next() throws at that step.
class BatchQueue {
 public:
  BatchQueue(const Task& task, int64_t first_step, int64_t last_step, int64_t accumulation,
             int64_t ahead, bool pin);
  ~BatchQueue();  // waits for the batch in progress
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  StepBatches next();

 private:
  void work(int64_t first_step, int64_t last_step);
  StepBatches prepare(int64_t step) const;
  bool wait_for_room();  // false: stop

  const Task& task_;
  const int64_t accumulation_;
  const size_t ahead_;
  const bool pin_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StepBatches> ready_;  // guarded by mutex_, as all below
  std::exception_ptr failure_;
  bool stop_ = false;

  std::thread thread_;  // last: it uses the members above
};

}  // namespace strandwave
