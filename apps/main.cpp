#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

#include "apps/program.h"

namespace {

// LibTorch's threads wait for work in a busy loop of libgomp, 300,000 rounds unless told otherwise,
// which takes the cores from other programs: two trainings at once on two cores took ten times as
// long per step as one alone, and 1.6 times with 1,000 rounds, which cost one alone nothing.
// libgomp reads the number in its initialiser, before any code of this program but what stands in
// .preinit_array. From there the program starts itself once more with the number set: 0.04 s, for
// LibTorch has been mapped but not initialised.
constexpr char kRounds[] = "GOMP_SPINCOUNT=1000";

// The C library is not initialised yet, and no sanitizer is: only system calls and plain loops.
#define STRANDWAVE_EARLY __attribute__((no_sanitize("address", "undefined")))

STRANDWAVE_EARLY bool begins(const char* text, const char* start) {
  while (*start != '\0' && *text == *start) ++text, ++start;
  return *start == '\0';
}

STRANDWAVE_EARLY void wait_gently(int /*argc*/, char** argv, char** environment) {
  constexpr size_t kMost = 4096;
  static const char* extended[kMost + 2];
  size_t count = 0;
  for (; environment[count] != nullptr; ++count) {
    if (count == kMost || begins(environment[count], "GOMP_SPINCOUNT=") ||
        begins(environment[count], "OMP_WAIT_POLICY="))
      return;
    extended[count] = environment[count];
  }
  extended[count] = kRounds;
  static char path[4096];
  const long length = syscall(SYS_readlink, "/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return;
  const char* name = path;
  for (const char* c = path; *c != '\0'; ++c)
    if (*c == '/') name = c + 1;
  // "ld.so strandwave ..." would start ld.so with the arguments of strandwave.
  if (begins(name, "ld")) return;
  syscall(SYS_execve, path, argv, extended);  // if that fails, all goes on as it was
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const early)(int, char**,
                                                                  char**) = wait_gently;

}  // namespace

int main(int argc, char** argv) { return strandwave::apps::run_program(argc, argv); }
