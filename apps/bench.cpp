#include "apps/bench.h"

#include "apps/commands.h"

namespace strandwave::apps {

void add_bench(CLI::App& program) {
  CLI::App* bench =
      program.add_subcommand("bench", "Measure operators, training steps and generation");
  bench->require_subcommand(1);
  add_bench_train(*bench);
  add_bench_operators(*bench);
  add_bench_generate(*bench);
}

}  // namespace strandwave::apps
