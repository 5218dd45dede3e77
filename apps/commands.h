// The subcommands of the program. Each file adds its options to the CLI11 application; the callback
// that it registers does the work through the libraries.
#pragma once

#include <CLI/CLI.hpp>

namespace strandwave::apps {

void add_dna_pretrain(CLI::App& dna);
void add_dna_split(CLI::App& dna);
void add_dna_finetune(CLI::App& dna);
void add_dna_classify(CLI::App& dna);
void add_dna_evaluate(CLI::App& dna);
void add_model(CLI::App& program);
void add_report(CLI::App& program);
void add_bench(CLI::App& program);
void add_doctor(CLI::App& program);

}  // namespace strandwave::apps
