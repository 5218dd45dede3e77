#include "core/checkpoint/tensor_file.h"

#include <array>
#include <cstring>
#include <utility>

#include "core/base/error.h"
#include "core/base/safetensors.h"

namespace strandwave {
namespace {

struct TypeName {
  torch::ScalarType type;
  const char* name;
};
constexpr std::array<TypeName, 14> kTypes = {{{torch::kBool, "BOOL"},
                                              {torch::kByte, "U8"},
                                              {torch::kChar, "I8"},
                                              {torch::kShort, "I16"},
                                              {torch::kUInt16, "U16"},
                                              {torch::kHalf, "F16"},
                                              {torch::kBFloat16, "BF16"},
                                              {torch::kInt, "I32"},
                                              {torch::kUInt32, "U32"},
                                              {torch::kFloat, "F32"},
                                              {torch::kComplexFloat, "C64"},
                                              {torch::kDouble, "F64"},
                                              {torch::kLong, "I64"},
                                              {torch::kUInt64, "U64"}}};

torch::ScalarType type_of(const std::string& name) {
  for (const TypeName& known : kTypes)
    if (name == known.name) return known.type;
  throw usage_error("no tensor type for \"" + name + "\"");
}

std::string name_of(torch::ScalarType type, const std::string& tensor) {
  for (const TypeName& known : kTypes)
    if (type == known.type) return known.name;
  throw usage_error("tensor \"" + tensor + "\" has type " + c10::toString(type) +
                    ", which safetensors files do not have");
}

}  // namespace

torch::Tensor to_tensor(const SafetensorsEntry& entry) {
  torch::Tensor tensor = torch::empty(entry.shape, type_of(entry.dtype));
  if (!entry.bytes.empty())
    std::memcpy(tensor.mutable_data_ptr(), entry.bytes.data(), entry.bytes.size());
  return tensor;
}

NamedTensors read_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  NamedTensors tensors;
  for (const auto& [name, entry] : file.entries()) tensors.emplace_back(name, to_tensor(entry));
  return tensors;
}

void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::vector<torch::Tensor> held;  // the bytes that the entries point to
  std::vector<std::pair<std::string, SafetensorsEntry>> entries;
  for (const auto& [name, tensor] : tensors) {
    held.push_back(tensor.detach().cpu().resolve_conj().contiguous());
    const torch::Tensor& t = held.back();
    entries.emplace_back(
        name, SafetensorsEntry{name_of(t.scalar_type(), name),
                               t.sizes().vec(),
                               {static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()}});
  }
  write_safetensors(path, entries, metadata);
}

}  // namespace strandwave
