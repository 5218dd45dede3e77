// The kinds of benchmark.
#pragma once

#include <CLI/CLI.hpp>

namespace strandwave::apps {

void add_bench_train(CLI::App& bench);
void add_bench_operators(CLI::App& bench);
void add_bench_generate(CLI::App& bench);  // of the audio half; nothing in a build without it

}  // namespace strandwave::apps
