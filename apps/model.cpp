#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "core/base/error.h"
#include "core/checkpoint/checkpoint.h"
#include "core/checkpoint/hugging_face.h"

namespace strandwave::apps {
namespace {

void refuse_existing(const std::string& output, bool force) {
  if (!std::filesystem::exists(output)) return;
  if (!force) throw usage_error("-o " + output + " exists: choose another name or give --force");
  std::filesystem::remove_all(output);
}

void show(const std::string& path, bool tensors) {
  const LoadedModel loaded = load_model_with_state(path);
  std::cout << "model       " << loaded.directory.string() << "\nsha256      " << loaded.hash
            << "\nparameters  " << loaded.model->parameter_count() << "\nconfig      "
            << loaded.model->config().to_json().dump(2) << '\n';
  if (!loaded.state.empty()) std::cout << "state       " << loaded.state.dump(2) << '\n';
  if (!tensors) return;
  for (const auto& [name, tensor] : loaded.model->named_tensors())
    std::cout << name << '\t' << tensor.sizes() << '\n';
}

}  // namespace

void add_model(CLI::App& program) {
  CLI::App* model = program.add_subcommand("model", "Look at models, import and export them");
  model->require_subcommand(1);

  struct Options {
    std::string path, output;
    bool force = false, tensors = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* info = model->add_subcommand("info", "What a run or a model folder holds");
  info->add_option("MODEL", options->path, "Run, checkpoint or model folder")->required();
  info->add_flag("--tensors", options->tensors, "List the tensors with their shapes");
  info->callback([options] { show(options->path, options->tensors); });

  const auto add_conversion = [&](const char* name, const char* help, const char* input_help) {
    CLI::App* command = model->add_subcommand(name, help);
    command->add_option("MODEL", options->path, input_help)->required();
    command->add_option("-o,--output", options->output, "Folder to write")->required();
    command->add_flag("--force", options->force, "Replace the output folder");
    return command;
  };
  add_conversion("import", "Make a model folder of a Mamba model of Hugging Face or state-spaces",
                 "Folder with config.json and model.safetensors")
      ->callback([options] {
        const std::shared_ptr<SequenceModel> imported = import_model(options->path);
        refuse_existing(options->output, options->force);
        save_model(options->output, *imported,
                   {{"imported_from", std::filesystem::path(options->path).filename().string()}});
        std::cout << options->output << ": " << imported->parameter_count() << " parameters\n";
      });
  add_conversion("export", "Write a language model as Hugging Face's MambaForCausalLM reads it",
                 "Run, checkpoint or model folder")
      ->callback([options] {
        const std::shared_ptr<SequenceModel> loaded = load_model(options->path);
        refuse_existing(options->output, options->force);
        export_hugging_face(options->output, *loaded);
        std::cout << options->output << ": " << loaded->parameter_count() << " parameters\n";
      });
}

}  // namespace strandwave::apps
