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
void add_audio(CLI::App& program);  // the group, with or without the audio half
void add_audio_prepare(CLI::App& audio);
void add_audio_train(CLI::App& audio);
void add_audio_generate(CLI::App& audio);
void add_audio_score(CLI::App& audio);
void add_audio_finetune(CLI::App& audio);
void add_audio_classify(CLI::App& audio);
void add_audio_evaluate(CLI::App& audio);
void add_audio_import(CLI::App& audio);
void add_model(CLI::App& program);
void add_report(CLI::App& program);
void add_bench(CLI::App& program);
void add_doctor(CLI::App& program);

}  // namespace strandwave::apps
