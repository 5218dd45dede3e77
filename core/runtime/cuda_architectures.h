// Which GPUs compiled CUDA code runs on.
#pragma once

#include <string>

namespace strandwave {

// Whether code built for `architectures` (CMake's names: "75,86-real,90a-real,120-virtual") runs on
// a GPU of compute capability major.minor: machine code ("-real") on the same major and no lower
// minor number, PTX ("-virtual") on that capability and every later one, either way for names
// without an ending, and names with a letter (90a) on just that capability. Names that are no
// numbers ("all") count as fitting. Source: CUDA C++ Programming Guide, "Compatibility" of cubins
// and PTX.
bool runs_on_capability(const std::string& architectures, int major, int minor);

// What to say and do when code built for `architectures` does not run on GPU number `gpu` called
// `name`; "" when it does.
std::string kernel_problem(const std::string& architectures, int gpu, const std::string& name,
                           int major, int minor);

}  // namespace strandwave
