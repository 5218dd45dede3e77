#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "core/base/error.h"
#include "core/checkpoint/checkpoint.h"
#include "core/checkpoint/hugging_face.h"

namespace strandwave::apps {
namespace {

namespace fs = std::filesystem;

// Whether `inner` is `outer` or lies in it; both are canonical.
bool within(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

fs::path canonical(const std::string& path) {
  const fs::path whole = fs::weakly_canonical(path);
  return whole.has_filename() ? whole : whole.parent_path();  // without the slash at the end
}

bool is_model_folder(const fs::path& path) {
  return fs::exists(path / "config.json") && (fs::exists(path / "model.safetensors") ||
                                              fs::exists(path / "model.safetensors.index.json"));
}

// Says whether a folder may take the name `output`. What lies there is replaced only when the new
// one is complete.
void check_output(const std::string& output, const std::string& input, bool force) {
  const fs::path to = canonical(output);
  const fs::path from = canonical(input);
  if (within(to, from) || within(from, to))
    throw usage_error("-o " + output + " and the input " + input +
                      " must not be the same folder or lie in one another");
  if (!fs::exists(to)) return;
  if (!force) throw usage_error("-o " + output + " exists: choose another name or give --force");
  if (!is_model_folder(to))
    throw usage_error("-o " + output +
                      " holds no model, so --force does not replace it: choose another name");
}

// Any kind of model: nothing of it is built.
void show(const std::string& path, bool tensors) {
  const ModelFiles files = read_model(path);
  int64_t parameters = 0;
  for (const auto& [name, tensor] : files.content.model) parameters += tensor.numel();
  std::cout << "model       " << files.directory.string() << "\nsha256      " << files.hash
            << "\nkind        " << model_kind(files.content.config) << "\nparameters  "
            << parameters << "\nconfig      " << files.content.config.dump(2) << '\n';
  if (!files.content.state.empty())
    std::cout << "state       " << files.content.state.dump(2) << '\n';
  if (!tensors) return;
  for (const auto& [name, tensor] : files.content.model)
    std::cout << name << '\t' << tensor.sizes() << '\n';
}

}  // namespace

void add_model(CLI::App& program) {
  CLI::App* model = program.add_subcommand("model", "Look at models, import and export them");
  model->require_subcommand(1);

  struct Options {
    std::string path, output, precision = "bf16";
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
    command->add_flag("--force", options->force, "Replace the model in the output folder");
    return command;
  };
  add_conversion("import", "Make a model folder of a Mamba model of Hugging Face or state-spaces",
                 "Folder with config.json and model.safetensors")
      ->callback([options] {
        check_output(options->output, options->path, options->force);
        const std::shared_ptr<SequenceModel> imported = import_model(options->path);
        save_model(options->output, *imported,
                   {{"imported_from", std::filesystem::path(options->path).filename().string()}});
        std::cout << options->output << ": " << imported->parameter_count() << " parameters\n";
      });
  CLI::App* convert =
      add_conversion("convert", "Copy a model in another precision, without what training needs",
                     "Run, checkpoint or model folder");
  convert
      ->add_option("--precision", options->precision,
                   "Of the matrices: bf16 (half the size) or fp32")
      ->check(CLI::IsMember({"bf16", "fp32"}))
      ->capture_default_str();
  convert->callback([options] {
    check_output(options->output, options->path, options->force);
    const LoadedModel loaded = load_model_with_state(options->path);
    save_model(options->output, *loaded.model, loaded.state,
               options->precision == "bf16" ? torch::kBFloat16 : torch::kFloat, loaded.companions);
    std::cout << options->output << ": " << loaded.model->parameter_count()
              << " parameters, matrices in " << options->precision << '\n';
  });
  add_conversion("export", "Write a language model as Hugging Face's MambaForCausalLM reads it",
                 "Run, checkpoint or model folder")
      ->callback([options] {
        check_output(options->output, options->path, options->force);
        const std::shared_ptr<SequenceModel> loaded = load_model(options->path);
        export_hugging_face(options->output, *loaded, options->force);
        std::cout << options->output << ": " << loaded->parameter_count() << " parameters\n";
      });
}

}  // namespace strandwave::apps
