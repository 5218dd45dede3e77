#include "core/base/error.h"
#include "core/runtime/device_graph.h"

namespace strandwave {

struct DeviceGraph::Recorded {};

bool DeviceGraph::available(c10::Device) { return false; }

DeviceGraph::DeviceGraph(c10::Device, const std::function<void()>&) {
  throw runtime_failure("this build cannot record work of a device: it has no CUDA kernels");
}

DeviceGraph::~DeviceGraph() = default;

void DeviceGraph::replay() {}

}  // namespace strandwave
