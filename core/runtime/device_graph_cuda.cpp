#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include "core/runtime/device_graph.h"

namespace strandwave {

struct DeviceGraph::Recorded {
  c10::Device device;
  at::cuda::CUDAGraph graph;
};

bool DeviceGraph::available(c10::Device device) { return device.is_cuda(); }

DeviceGraph::DeviceGraph(c10::Device device, const std::function<void()>& work)
    : recorded_(new Recorded{device, at::cuda::CUDAGraph()}) {
  const c10::cuda::CUDAGuard device_guard(device);
  c10::cuda::device_synchronize();
  {
    // The default stream cannot be recorded.
    const c10::cuda::CUDAStreamGuard stream_guard(
        c10::cuda::getStreamFromPool(/*isHighPriority=*/false, c10::cuda::current_device()));
    recorded_->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      try {
        recorded_->graph.capture_end();
      } catch (const c10::Error&) {  // says only that there is nothing to replay
      }
      throw;
    }
    recorded_->graph.capture_end();
  }
  // That of the recording stream lies in the graph's memory: nobody else may take it.
  at::cuda::clearCublasWorkspaces();
}

DeviceGraph::~DeviceGraph() = default;

void DeviceGraph::replay() {
  const c10::cuda::CUDAGuard device_guard(recorded_->device);
  recorded_->graph.replay();
}

}  // namespace strandwave
