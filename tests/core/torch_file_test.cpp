#include "core/checkpoint/torch_file.h"

#include <caffe2/serialize/inline_container.h>
#include <gtest/gtest.h>
#include <torch/serialize.h>

#include <fstream>
#include <functional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/pickle.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    return error.what();
  }
  return "";
}

// A pickle written by hand: what a value needs of the protocol.
std::string text(const std::string& value) {
  return std::string("\x8c") + static_cast<char>(value.size()) + value;
}
std::string integer(int32_t value) {
  std::string bytes = "J";
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string numbers(const std::vector<int32_t>& values) {
  std::string bytes = "(";
  for (const int32_t value : values) bytes += integer(value);
  return bytes + "t";
}
// A tensor of storage "0" with `elements` elements of `type`.
std::string tensor(const std::string& type, int32_t elements, int32_t offset,
                   const std::vector<int32_t>& size, const std::vector<int32_t>& stride) {
  return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") +
         global("torch", type) + text("0") + text("cuda:0") + integer(elements) + "tQ" +
         integer(offset) + numbers(size) + numbers(stride) + "\x89" +
         global("collections", "OrderedDict") + ")RtR";
}
std::string dictionary(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string bytes = "}(";
  for (const auto& [key, value] : pairs) bytes += text(key) + value;
  return bytes + "u";
}
// state_dict(): an OrderedDict with an attribute.
std::string ordered(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string bytes = global("collections", "OrderedDict") + ")R(";
  for (const auto& [key, value] : pairs) bytes += text(key) + value;
  return bytes + "u" + dictionary({{"_metadata", "}"}}) + "b";
}

class TorchFileTest : public ::testing::Test {
 protected:
  std::string write(const std::string& value,
                    const std::vector<float>& storage = {0, 1, 2, 3, 4, 5}) {
    const std::string pickle = "\x80\x02" + value + ".";
    const std::string path = (folder_.path() / "file.pt").string();
    caffe2::serialize::PyTorchStreamWriter writer(path);
    writer.writeRecord("data.pkl", pickle.data(), pickle.size());
    writer.writeRecord("data/0", storage.data(), storage.size() * sizeof(float));
    writer.writeEndOfFile();
    return path;
  }
  std::string error_of(const std::string& value) {
    return message_of([&] { read_torch_file(write(value)); });
  }

  strandwave::testing::TemporaryFolder folder_;
};

TEST_F(TorchFileTest, ReadsStateDictsInTheirOrder) {
  const NamedTensors tensors =
      read_torch_file(write(ordered({{"b.weight", tensor("FloatStorage", 6, 0, {2, 3}, {3, 1})},
                                     {"a.transposed", tensor("FloatStorage", 6, 0, {3, 2}, {1, 3})},
                                     {"epoch", integer(3)},
                                     {"a.last", tensor("FloatStorage", 6, 5, {}, {})}})));
  ASSERT_EQ(tensors.size(), 3U);
  EXPECT_EQ(tensors[0].first, "b.weight");
  EXPECT_TRUE(torch::equal(tensors[0].second, torch::arange(6.0F).view({2, 3})));
  EXPECT_EQ(tensors[1].first, "a.transposed");
  EXPECT_TRUE(torch::equal(tensors[1].second, torch::arange(6.0F).view({2, 3}).t()));
  EXPECT_EQ(tensors[2].second.item<float>(), 5);
}

// Lightning: what else is in the file, objects of any class included, is passed over.
TEST_F(TorchFileTest, FindsTheStateDictOfACheckpoint) {
  const std::string hostile =
      global("os", "system") + text("touch " + folder_.path().string() + "/x") + "\x85R";
  const NamedTensors tensors = read_torch_file(
      write(dictionary({{"hyper_parameters", hostile},
                        {"state_dict", ordered({{"w", tensor("FloatStorage", 6, 1, {2}, {2})}})},
                        {"w", tensor("FloatStorage", 6, 0, {1}, {1})}})));
  ASSERT_EQ(tensors.size(), 1U);
  EXPECT_TRUE(torch::equal(tensors[0].second, torch::tensor({1.0F, 3.0F})));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "x"));
}

TEST_F(TorchFileTest, ReadsWhatLibTorchWrites) {
  c10::Dict<std::string, torch::Tensor> dict;
  dict.insert("real", torch::arange(4, torch::kDouble));
  dict.insert("complex", torch::complex(torch::ones({2}), torch::zeros({2})));
  dict.insert("half", torch::ones({3}, torch::kBFloat16));
  const std::vector<char> bytes = torch::pickle_save(dict);
  const std::string path = folder_.write("saved.pt", std::string(bytes.begin(), bytes.end()));
  const NamedTensors tensors = read_torch_file(path);
  ASSERT_EQ(tensors.size(), 3U);
  for (const auto& [name, value] : tensors) EXPECT_TRUE(torch::equal(value, dict.at(name))) << name;
}

TEST_F(TorchFileTest, DamagedFilesAreRefused) {
  EXPECT_NE(error_of(dictionary({{"w", tensor("FloatStorage", 6, 0, {7}, {1})}}))
                .find("tensor \"w\" reaches beyond its data"),
            std::string::npos);
  EXPECT_NE(error_of(dictionary({{"w", tensor("FloatStorage", 6, 0, {2, 2}, {1 << 30, 1})}}))
                .find("reaches beyond"),
            std::string::npos);
  EXPECT_NE(
      error_of(dictionary({{"w", tensor("FloatStorage", 6, -1, {2}, {1})}})).find("reaches beyond"),
      std::string::npos);
  EXPECT_NE(error_of(dictionary({{"w", tensor("DoubleStorage", 6, 0, {2}, {1})}}))
                .find("less data than it needs"),
            std::string::npos);
  EXPECT_NE(error_of(dictionary({{"w", tensor("QInt8Storage", 6, 0, {2}, {1})}}))
                .find("torch QInt8Storage"),
            std::string::npos);
  EXPECT_NE(error_of(dictionary({{"epoch", integer(1)}})).find("no state dict"), std::string::npos);
  EXPECT_NE(error_of(global("models", "ResNeXt") + ")\x81}b").find("(models ResNeXt)"),
            std::string::npos);
  EXPECT_NE(error_of("(K").find("cut off"), std::string::npos);
  EXPECT_NE(error_of("t").find("a mark is missing"), std::string::npos);
  EXPECT_NE(error_of("\xff").find("not known"), std::string::npos);
  EXPECT_NE(message_of([&] {
              read_torch_file(folder_.write("old.pt", "\x80\x02}q."));
            }).find("since PyTorch 1.6"),
            std::string::npos);
}

// Every prefix and every changed byte is read or refused, never a crash.
TEST_F(TorchFileTest, AnyDamageIsAnError) {
  const std::string path = write(ordered({{"w", tensor("FloatStorage", 6, 0, {2, 3}, {3, 1})}}));
  const std::string whole = read_file(path);
  for (size_t size = 0; size < whole.size(); size += 7)
    EXPECT_NE(message_of([&] { read_torch_file(folder_.write("cut.pt", whole.substr(0, size))); }),
              "");
  const size_t begin = whole.find(
                   "\x80\x02"
                   "ccollections"),
               end = whole.find("_metadata");
  ASSERT_LT(begin, end);
  for (size_t i = begin; i < end; ++i) {
    std::string changed = whole.substr(begin, end + 20 - begin);
    changed[i - begin] = static_cast<char>(changed[i - begin] ^ 0x15);
    try {
      const Pickle pickle(changed, "changed");
      pickle.root();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInput);
    }
  }
}

// Deep nesting uses no stack.
TEST_F(TorchFileTest, DeepNestingIsNoTrouble) {
  const std::string deep(1 << 20, '\x85');
  const Pickle pickle(")" + deep + ".", "deep");
  EXPECT_EQ(pickle.root().items.size(), 1U);
}

}  // namespace
}  // namespace strandwave
