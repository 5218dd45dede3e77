// Reads Python pickles as data: nothing in them is ever run or looked up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strandwave {

// A value of a pickle. References are numbers of values (Pickle::at), so that shared and recursive
// objects are no trouble.
struct PickleValue {
  enum class Kind {
    kNone,
    kInteger,     // integer; also booleans
    kReal,        // real
    kText,        // text; also bytes
    kSequence,    // items: a tuple, list or set
    kDictionary,  // pairs
    kGlobal,      // text "module name": a class or function
    kCall,        // items {callable, arguments}: what calling it would make; pairs set on it
    kPersistent,  // items {id}: an object kept outside the pickle
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<size_t> items;
  std::vector<std::pair<size_t, size_t>> pairs;
};

class Pickle {
 public:
  // Protocols 0 to 5 as far as torch.save uses them. Throws Error(kInput) naming `where` and the
  // position when the bytes are cut off, damaged, or use what is not known here.
  Pickle(std::string_view bytes, const std::string& where);

  const PickleValue& at(size_t value) const { return values_.at(value); }
  const PickleValue& root() const { return values_.at(root_); }
  // A call of the global `name` ("module name").
  bool is_call_of(const PickleValue& value, std::string_view name) const;

 private:
  std::vector<PickleValue> values_;
  size_t root_ = 0;

  friend class PickleReader;
};

}  // namespace strandwave
