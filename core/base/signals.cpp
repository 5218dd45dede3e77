#include "core/base/signals.h"

#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>
#include <string>

#include "core/base/error.h"

namespace strandwave {
namespace {

constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGUSR1};

volatile std::sig_atomic_t received = 0;
bool guarded = false;
std::array<struct sigaction, kSignals.size()> former;

void on_signal(int signal) {
  if (received != 0) _exit(128 + signal);
  received = signal;
}

}  // namespace

SignalGuard::SignalGuard() {
  if (guarded) throw std::logic_error("a SignalGuard lives already");
  guarded = true;
  received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // reads and writes in progress go on
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &former[i]);
}

SignalGuard::~SignalGuard() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &former[i], nullptr);
  received = 0;
  guarded = false;
}

int interrupted() { return received; }

void throw_if_interrupted() {
  if (received == 0) return;
  const int signal = received;
  const std::string name = signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGUSR1";
  throw Error(ErrorKind::kInterrupted, "stopped by " + name);
}

}  // namespace strandwave
