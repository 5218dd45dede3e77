// Stopping on request: a signal sets a flag, the program stops where it can do so cleanly.
#pragma once

namespace strandwave {

// While one lives, SIGINT, SIGTERM and SIGUSR1 only set the flag below, and a second signal ends
// the process at once with the exit code 128 + signal. The former handlers return with its end. One
// at a time: a second one throws std::logic_error.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;
};

// The signal that arrived under the current guard, 0 when none did or no guard lives.
int interrupted();
// Throws Error(kInterrupted) naming the signal once one has arrived.
void throw_if_interrupted();

}  // namespace strandwave
