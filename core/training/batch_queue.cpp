#include "core/training/batch_queue.h"

#include <algorithm>
#include <utility>

namespace strandwave {

BatchQueue::BatchQueue(const Task& task, int64_t first_step, int64_t last_step,
                       int64_t accumulation, int64_t ahead, bool pin)
    : task_(task),
      accumulation_(accumulation),
      ahead_(static_cast<size_t>(std::max<int64_t>(1, ahead))),
      pin_(pin),
      thread_([this, first_step, last_step] { work(first_step, last_step); }) {}

BatchQueue::~BatchQueue() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

StepBatches BatchQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || failure_; });
  if (ready_.empty()) std::rethrow_exception(failure_);
  StepBatches step = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return step;
}

void BatchQueue::work(int64_t first_step, int64_t last_step) {
  try {
    const torch::NoGradGuard no_grad;  // counts for this thread only
    for (int64_t step = first_step; step < last_step && wait_for_room(); ++step) {
      StepBatches batches = prepare(step);
      const std::lock_guard lock(mutex_);
      ready_.push_back(std::move(batches));
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

StepBatches BatchQueue::prepare(int64_t step) const {
  StepBatches result;
  for (int64_t micro_batch = 0; micro_batch < accumulation_; ++micro_batch) {
    Batch batch = task_.batch(step, micro_batch);
    TORCH_CHECK(batch.weight >= 0, "the weight of a batch is ", batch.weight,
                ", not a number >= 0");
    batch.micro_batch = micro_batch;
    result.weight += batch.weight;
    result.tokens += batch.tokens;
    result.batches.push_back(pin_ ? batch.pinned() : std::move(batch));
  }
  return result;
}

bool BatchQueue::wait_for_room() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stop_ || ready_.size() < ahead_; });
  return !stop_;
}

}  // namespace strandwave
