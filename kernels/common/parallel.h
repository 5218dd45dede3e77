// Threads of the CPU kernels: the only place of the project that starts any.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace strandwave {

// A non-owning reference to a callable, so that parallel_for needs no template in its .cpp.
template <typename Signature>
class FunctionRef;

template <typename Result, typename... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <typename Callable,
            typename = std::enable_if_t<!std::is_same_v<std::decay_t<Callable>, FunctionRef>>>
  FunctionRef(Callable&& callable)  // NOLINT: implicit on purpose
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<Callable>*>(object))(args...);
        }) {}

  Result operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

// Calls task(i) for every i in [0, tasks), on up to thread_count() threads, and returns when all
// are done. Which thread runs which task is not fixed: tasks must not depend on it, so results are
// the same with any number of threads. The first exception that a task throws is rethrown here.
// Inside a parallel_for the calls run serially.
// Enters the OpenMP runtime that LibTorch has loaded: at::parallel_for runs serially in code
// compiled without -fopenmp, and clang's -fopenmp would load a second runtime.
void parallel_for(int64_t tasks, FunctionRef<void(int64_t)> task);

// Threads that parallel_for and LibTorch's own CPU operators use. Default: all cores.
int thread_count();
void set_thread_count(int threads);

}  // namespace strandwave
