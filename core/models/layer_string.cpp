#include "core/models/layer_string.h"

#include <cctype>

#include "core/base/error.h"

namespace strandwave {
namespace {

constexpr size_t kMaxLayers = 10'000;
constexpr int kMaxNesting = 32;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::string parse() {
    std::string layers = stack(0);
    if (position_ < text_.size()) fail("there is no \"(\" for this \")\"");
    return layers;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw usage_error("layer string \"" + std::string(text_) + "\", position " +
                      std::to_string(position_ + 1) + ": " + message);
  }

  void skip_spaces() {
    while (position_ < text_.size() && text_[position_] == ' ') ++position_;
  }

  std::string stack(int depth) {
    if (depth > kMaxNesting) fail("more than 32 nested parentheses");
    std::string layers;
    for (skip_spaces(); position_ < text_.size() && text_[position_] != ')'; skip_spaces()) {
      const std::string once = item(depth);
      const size_t count = repeats();
      if (once.size() * count > kMaxLayers - layers.size()) fail("more than 10000 layers");
      for (size_t i = 0; i < count; ++i) layers += once;
    }
    return layers;
  }

  std::string item(int depth) {
    const char c = text_[position_];
    if (c == '{' || c == '}') fail("\"{count}\" must follow a layer or a group");
    if (std::isgraph(static_cast<unsigned char>(c)) == 0) fail("this character cannot be a layer");
    ++position_;
    if (c != '(') return {c};
    const std::string group = stack(depth + 1);
    if (position_ == text_.size()) fail("\")\" is missing");
    ++position_;
    return group;
  }

  size_t repeats() {
    skip_spaces();
    if (position_ == text_.size() || text_[position_] != '{') return 1;
    const size_t start = ++position_;
    size_t count = 0;
    for (; position_ < text_.size() &&
           std::isdigit(static_cast<unsigned char>(text_[position_])) != 0;
         ++position_) {
      count = count * 10 + static_cast<size_t>(text_[position_] - '0');
      if (count > kMaxLayers) fail("a count is at most 10000");
    }
    if (position_ == start || position_ == text_.size() || text_[position_] != '}')
      fail("expected \"{count}\", as in M{8}");
    ++position_;
    return count;
  }

  std::string_view text_;
  size_t position_ = 0;
};

}  // namespace

std::string expand_layer_string(std::string_view stack) { return Parser(stack).parse(); }

}  // namespace strandwave
