# shellcheck shell=bash
# Sourced by the scripts beside it: where the project lies, and how they speak.
set -euo pipefail
export LC_ALL=C.UTF-8

project_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache_dir=${STRANDWAVE_CACHE:-$project_dir/.cache}

say() { printf '%s\n' "$*" >&2; }
# Errors: what is wrong and what to do. Exit code 2: wrong usage, or a need that is not met.
fail() { say "$(basename "$0"): $1"; exit "${2:-1}"; }

# The comment at the head of the calling script is its help text.
print_help() { sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//p}' "$0"; }

# Compilers need up to 1.5 GB each, so memory limits the jobs as much as cores do.
parallel_jobs() {
  local cores kilobytes limit
  cores=$(nproc)
  kilobytes=$(awk '/^MemTotal/ {print $2}' /proc/meminfo)
  if [ -r /sys/fs/cgroup/memory.max ]; then
    limit=$(cat /sys/fs/cgroup/memory.max)
    [ "$limit" = max ] || kilobytes=$((limit / 1024 < kilobytes ? limit / 1024 : kilobytes))
  fi
  # A 4 GB machine reports a little less than 4 GB; it still gets two jobs.
  local by_memory=$(((kilobytes + 524288) / 2097152))
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# build PRESET [TARGET...]: configures build/PRESET and builds the targets, or everything.
build() {
  local preset=$1 target
  shift
  local targets=()
  for target in "$@"; do targets+=(--target "$target"); done
  (cd "$project_dir" && cmake --preset "$preset" >&2 &&
    cmake --build "build/$preset" -j "$(parallel_jobs)" "${targets[@]}" >&2)
}

# The Python of the virtual environment, or any other when LibTorch came from elsewhere.
project_python() {
  if [ -x "$project_dir/.venv/bin/python3" ]; then
    echo "$project_dir/.venv/bin/python3"
  else
    command -v python3 || fail "python3 was not found. Run scripts/setup." 2
  fi
}
