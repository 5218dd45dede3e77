#include "core/checkpoint/torch_file.h"

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>

#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/pickle.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;
using Kind = PickleValue::Kind;

constexpr size_t kMaxPickle = size_t{64} << 20;

std::optional<torch::ScalarType> type_of_storage(const std::string& global) {
  static const std::map<std::string, torch::ScalarType> kTypes = {
      {"torch FloatStorage", torch::kFloat},
      {"torch DoubleStorage", torch::kDouble},
      {"torch HalfStorage", torch::kHalf},
      {"torch BFloat16Storage", torch::kBFloat16},
      {"torch LongStorage", torch::kLong},
      {"torch IntStorage", torch::kInt},
      {"torch ShortStorage", torch::kShort},
      {"torch CharStorage", torch::kChar},
      {"torch ByteStorage", torch::kByte},
      {"torch BoolStorage", torch::kBool},
      {"torch ComplexFloatStorage", torch::kComplexFloat},
      {"torch ComplexDoubleStorage", torch::kComplexDouble}};
  const auto found = kTypes.find(global);
  if (found == kTypes.end()) return std::nullopt;
  return found->second;
}

class TorchFile {
 public:
  explicit TorchFile(const fs::path& path)
      : path_(path),
        archive_(path.string()),
        pickle_(record("data.pkl", kMaxPickle), path.string() + ": data.pkl") {}

  NamedTensors state_dict() {
    const PickleValue* dictionary = &pickle_.root();
    // LibTorch says of what type a dictionary is.
    if (pickle_.is_call_of(*dictionary, "torch.jit._pickle restore_type_tag") &&
        !pickle_.at(dictionary->items[1]).items.empty())
      dictionary = &pickle_.at(pickle_.at(dictionary->items[1]).items[0]);
    for (const char* name : {"state_dict", "model_state_dict"})
      if (const PickleValue* inner = entry(*dictionary, name); inner != nullptr) {
        dictionary = inner;
        break;
      }
    if (dictionary->kind == Kind::kCall && dictionary->pairs.empty())
      throw input_error(path_.string() + " holds a whole Python object (" + callable(*dictionary) +
                        ") and no state dict: save its state_dict() with torch.save");
    NamedTensors tensors;
    for (const auto& [key, value] : dictionary->pairs)
      if (const PickleValue& name = pickle_.at(key); name.kind == Kind::kText)
        if (auto tensor = tensor_of(pickle_.at(value), name.text))
          tensors.emplace_back(name.text, std::move(*tensor));
    if (tensors.empty())
      throw input_error(path_.string() + " holds no state dict: no tensor has a name in it");
    return tensors;
  }

 private:
  [[noreturn]] void fail(const std::string& tensor, const std::string& what) const {
    throw input_error(path_.string() + ": tensor \"" + tensor + "\" " + what);
  }

  std::string record(const std::string& name, size_t max_bytes) {
    const size_t size = archive_.getRecordSize(name);
    if (size > max_bytes)
      throw input_error(path_.string() + ": " + name + " has " + std::to_string(size) +
                        " bytes, at most " + std::to_string(max_bytes) + " are read");
    const auto [data, bytes] = archive_.getRecord(name);
    return {static_cast<const char*>(data.get()), bytes};
  }

  std::string callable(const PickleValue& call) const {
    return call.items.empty() ? "" : pickle_.at(call.items[0]).text;
  }

  const PickleValue* entry(const PickleValue& dictionary, const std::string& name) const {
    for (const auto& [key, value] : dictionary.pairs)
      if (pickle_.at(key).kind == Kind::kText && pickle_.at(key).text == name &&
          !pickle_.at(value).pairs.empty())
        return &pickle_.at(value);
    return nullptr;
  }

  // Nothing when the value is no tensor.
  std::optional<torch::Tensor> tensor_of(const PickleValue& value, const std::string& name) {
    if (pickle_.is_call_of(value, "torch._utils _rebuild_parameter")) {
      const PickleValue& arguments = pickle_.at(value.items[1]);
      if (arguments.items.empty()) fail(name, "is damaged");
      return tensor_of(pickle_.at(arguments.items[0]), name);
    }
    if (!pickle_.is_call_of(value, "torch._utils _rebuild_tensor_v2")) return std::nullopt;
    // storage, offset, size, stride, requires_grad, hooks
    const std::vector<size_t>& arguments = pickle_.at(value.items[1]).items;
    if (arguments.size() < 4) fail(name, "is damaged: its description is too short");
    const torch::Tensor storage = storage_of(pickle_.at(arguments[0]), name);
    const int64_t offset = pickle_.at(arguments[1]).integer;
    const std::vector<int64_t> size = numbers(pickle_.at(arguments[2]), name);
    const std::vector<int64_t> stride = numbers(pickle_.at(arguments[3]), name);
    check_extent(size, stride, offset, storage.numel(), name);
    return storage.as_strided(size, stride, offset).clone(torch::MemoryFormat::Contiguous);
  }

  std::vector<int64_t> numbers(const PickleValue& sequence, const std::string& name) const {
    std::vector<int64_t> values;
    for (const size_t item : sequence.items) {
      if (pickle_.at(item).kind != Kind::kInteger) fail(name, "is damaged: a size is no number");
      values.push_back(pickle_.at(item).integer);
    }
    return values;
  }

  void check_extent(const std::vector<int64_t>& size, const std::vector<int64_t>& stride,
                    int64_t offset, int64_t available, const std::string& name) const {
    constexpr int64_t kLimit = int64_t{1} << 40;
    const auto in_range = [](int64_t value) { return value >= 0 && value < kLimit; };
    bool fits = in_range(offset) && size.size() == stride.size() && size.size() <= 16;
    int64_t last = offset;
    bool empty = false;
    for (size_t i = 0; fits && i < size.size(); ++i) {
      fits = in_range(size[i]) && in_range(stride[i]);
      empty = empty || size[i] == 0;
      if (fits && size[i] > 1) {
        fits = stride[i] <= kLimit / size[i];
        last += (size[i] - 1) * (fits ? stride[i] : 0);
      }
    }
    if (!fits || (!empty && last >= available))
      fail(name, "reaches beyond its data: the file is damaged");
  }

  // A persistent id: ("storage", type, key, location, elements).
  torch::Tensor storage_of(const PickleValue& value, const std::string& name) {
    if (value.kind != Kind::kPersistent) fail(name, "has its data in no known form");
    const std::vector<size_t>& id = pickle_.at(value.items[0]).items;
    if (id.size() < 5 || pickle_.at(id[2]).kind != Kind::kText)
      fail(name, "has its data in no known form");
    const auto type = type_of_storage(pickle_.at(id[1]).text);
    if (!type) fail(name, "has a type that is not read: " + pickle_.at(id[1]).text);
    const std::string key = pickle_.at(id[2]).text;
    if (const auto found = storages_.find(key); found != storages_.end()) return found->second;
    const int64_t elements = pickle_.at(id[4]).integer;
    const size_t bytes = archive_.getRecordSize("data/" + key);
    const auto element_size = static_cast<int64_t>(c10::elementSize(*type));
    if (elements < 0 || elements > static_cast<int64_t>(bytes) / element_size)
      fail(name, "has less data than it needs: the file is damaged");
    const auto [data, read] = archive_.getRecord("data/" + key);
    torch::Tensor storage = torch::empty({elements}, *type);
    std::memcpy(storage.mutable_data_ptr(), data.get(), storage.nbytes());
    return storages_[key] = storage;
  }

  fs::path path_;
  caffe2::serialize::PyTorchStreamReader archive_;
  Pickle pickle_;
  std::map<std::string, torch::Tensor> storages_;
};

}  // namespace

NamedTensors read_torch_file(const fs::path& path) {
  {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    if (bytes.size() < 4 || std::memcmp(bytes.data(), "PK\x03\x04", 4) != 0)
      throw input_error(path.string() +
                        " is no file of torch.save since PyTorch 1.6: open it in Python and save "
                        "its state dict with torch.save");
  }
  try {
    return TorchFile(path).state_dict();
  } catch (const c10::Error& error) {
    throw input_error(path.string() + " is damaged or cut off: " + error.what_without_backtrace());
  }
}

}  // namespace strandwave
