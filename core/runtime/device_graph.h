// Work of a GPU that is recorded once and then repeated by one launch (CUDA graphs): for many small
// kernels, whose launches would take longer than they do.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace strandwave {

class DeviceGraph {
 public:
  // Whether work on `device` can be recorded.
  static bool available(c10::Device device);

  // Records what `work` launches on the current stream of `device`; none of it runs yet. `work`
  // must have run once before (tables and libraries are then set up), must not wait for the device
  // and must read and write what it shares with others at addresses that outlive this.
  // Throws what `work` throws, and c10::Error for work that cannot be recorded.
  DeviceGraph(c10::Device device, const std::function<void()>& work);
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;

  // Runs it on the current stream: the same kernels, on what is at those addresses now.
  void replay();

 private:
  struct Recorded;
  std::unique_ptr<Recorded> recorded_;
};

}  // namespace strandwave
