#include "core/checkpoint/pickle.h"

#include <bit>
#include <map>

#include "core/base/error.h"

namespace strandwave {

// The stack machine that a pickle is a program for. Opcodes: Lib/pickletools.py of CPython.
class PickleReader {
 public:
  PickleReader(std::string_view bytes, const std::string& where, Pickle& pickle)
      : bytes_(bytes), where_(where), values_(pickle.values_) {}

  size_t run() {
    while (true) {
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') return pop();
      if (!structure(opcode) && !scalar(opcode) && !memory(opcode))
        fail("the operation " + std::to_string(opcode) + " is not known");
    }
  }

 private:
  using Kind = PickleValue::Kind;

  [[noreturn]] void fail(const std::string& what) const {
    throw input_error(where_ + ": at byte " + std::to_string(position_) + " of the pickle " + what);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - position_) fail("the data is cut off");
    const std::string_view part = bytes_.substr(position_, count);
    position_ += count;
    return part;
  }

  // Little-endian.
  uint64_t number(int size) {
    const std::string_view part = take(static_cast<uint64_t>(size));
    uint64_t value = 0;
    for (int i = size - 1; i >= 0; --i)
      value = value << 8 | static_cast<unsigned char>(part[static_cast<size_t>(i)]);
    return value;
  }

  std::string line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) fail("a line does not end");
    std::string text(bytes_.substr(position_, end - position_));
    position_ = end + 1;
    return text;
  }

  static PickleValue of(Kind kind) {
    PickleValue value;
    value.kind = kind;
    return value;
  }
  size_t add(PickleValue value) {
    values_.push_back(std::move(value));
    return values_.size() - 1;
  }
  bool push(PickleValue value) {
    stack_.push_back(add(std::move(value)));
    return true;
  }
  bool push_integer(int64_t value) {
    PickleValue made = of(Kind::kInteger);
    made.integer = value;
    return push(std::move(made));
  }
  bool push_text(std::string_view text) {
    PickleValue made = of(Kind::kText);
    made.text = text;
    return push(std::move(made));
  }
  bool push_sequence(std::vector<size_t> items) {
    PickleValue made = of(Kind::kSequence);
    made.items = std::move(items);
    return push(std::move(made));
  }

  size_t pop() {
    if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size()))
      fail("a value is missing");
    const size_t value = stack_.back();
    stack_.pop_back();
    return value;
  }
  size_t& top() {
    if (stack_.empty()) fail("a value is missing");
    return stack_.back();
  }
  // What was pushed since the last mark.
  std::vector<size_t> pop_to_mark() {
    if (marks_.empty() || marks_.back() > stack_.size()) fail("a mark is missing");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<size_t> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<size_t> pop_many(size_t count) {
    std::vector<size_t> items(count);
    for (size_t i = count; i > 0; --i) items[i - 1] = pop();
    return items;
  }
  bool set_pairs(const std::vector<size_t>& items, PickleValue& target) {
    if (items.size() % 2 != 0) fail("a key has no value");
    for (size_t i = 0; i < items.size(); i += 2) target.pairs.emplace_back(items[i], items[i + 1]);
    return true;
  }
  bool push_call(size_t callable, size_t arguments) {
    PickleValue made = of(Kind::kCall);
    made.items = {callable, arguments};
    return push(std::move(made));
  }
  bool push_global(const std::string& module, const std::string& name) {
    PickleValue made = of(Kind::kGlobal);
    made.text = module + " " + name;
    return push(std::move(made));
  }
  bool push_persistent(size_t id) {
    PickleValue made = of(Kind::kPersistent);
    made.items = {id};
    return push(std::move(made));
  }
  std::string text_of(size_t value) const {
    if (values_[value].kind != Kind::kText) fail("a name is no text");
    return values_[value].text;
  }

  bool structure(unsigned char opcode) {
    switch (opcode) {
      case 0x80:  // protocol
        take(1);
        return true;
      case 0x95:  // frame
        take(8);
        return true;
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case ')':
        return push_sequence({});
      case ']':
      case 0x8f:  // empty list, empty set
        return push_sequence({});
      case '}':
        return push(of(Kind::kDictionary));
      case 't':
      case 'l':
      case 0x91:  // tuple, list, frozen set
        return push_sequence(pop_to_mark());
      case 0x85:
      case 0x86:
      case 0x87:
        return push_sequence(pop_many(opcode - 0x84U));
      case 'd': {
        const std::vector<size_t> items = pop_to_mark();
        push(of(Kind::kDictionary));
        return set_pairs(items, values_[top()]);
      }
      case 'a': {
        const size_t item = pop();
        values_[top()].items.push_back(item);
        return true;
      }
      case 'e':
      case 0x90: {  // append, add to a set
        const std::vector<size_t> items = pop_to_mark();
        std::vector<size_t>& to = values_[top()].items;
        to.insert(to.end(), items.begin(), items.end());
        return true;
      }
      case 's': {
        const std::vector<size_t> items = pop_many(2);
        return set_pairs(items, values_[top()]);
      }
      case 'u': {
        const std::vector<size_t> items = pop_to_mark();
        return set_pairs(items, values_[top()]);
      }
      case 'R':
      case 0x81: {  // call, new object
        const size_t arguments = pop();
        return push_call(pop(), arguments);
      }
      case 0x92: {  // new object with keyword arguments
        pop();
        const size_t arguments = pop();
        return push_call(pop(), arguments);
      }
      case 'b':  // state of the object below it
        pop();
        top();
        return true;
      case 'c': {
        const std::string module = line();
        return push_global(module, line());
      }
      case 0x93: {
        const std::string name = text_of(pop());
        return push_global(text_of(pop()), name);
      }
      case 'Q':
        return push_persistent(pop());
      case '0':
        pop();
        return true;
      case '1':
        pop_to_mark();
        return true;
      case '2':
        stack_.push_back(top());
        return true;
      default:
        return false;
    }
  }

  bool scalar(unsigned char opcode) {
    switch (opcode) {
      case 'N':
        return push({});
      case 0x88:
        return push_integer(1);
      case 0x89:
        return push_integer(0);
      case 'J':
        return push_integer(static_cast<int32_t>(number(4)));
      case 'K':
        return push_integer(static_cast<int64_t>(number(1)));
      case 'M':
        return push_integer(static_cast<int64_t>(number(2)));
      case 0x8a:
        return push_integer(long_integer(static_cast<int>(number(1))));
      case 'G': {
        uint64_t bits = 0;  // big-endian
        for (const char c : take(8)) bits = bits << 8 | static_cast<unsigned char>(c);
        PickleValue made = of(Kind::kReal);
        made.real = std::bit_cast<double>(bits);
        return push(std::move(made));
      }
      case 'X':
      case 'T':
      case 'B':
        return push_text(take(number(4)));
      case 0x8c:
      case 'U':
      case 'C':
        return push_text(take(number(1)));
      case 0x8d:
      case 0x8e:
      case 0x96:
        return push_text(take(number(8)));
      default:
        return false;
    }
  }

  // Two's complement of `size` bytes.
  int64_t long_integer(int size) {
    if (size > 8) fail("a number is too large");
    if (size == 0) return 0;
    const int unused = 64 - 8 * size;
    return static_cast<int64_t>(number(size) << unused) >> unused;
  }

  bool memory(unsigned char opcode) {
    switch (opcode) {
      case 'q':
        memo_[number(1)] = top();
        return true;
      case 'r':
        memo_[number(4)] = top();
        return true;
      case 0x94:
        memo_.emplace(memo_.size(), top());
        return true;
      case 'h':
        return recall(number(1));
      case 'j':
        return recall(number(4));
      default:
        return false;
    }
  }
  bool recall(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) fail("an object is missing");
    stack_.push_back(found->second);
    return true;
  }

  std::string_view bytes_;
  const std::string& where_;
  std::vector<PickleValue>& values_;
  size_t position_ = 0;
  std::vector<size_t> stack_, marks_;
  std::map<uint64_t, size_t> memo_;
};

Pickle::Pickle(std::string_view bytes, const std::string& where) {
  root_ = PickleReader(bytes, where, *this).run();
}

bool Pickle::is_call_of(const PickleValue& value, std::string_view name) const {
  return value.kind == PickleValue::Kind::kCall && !value.items.empty() &&
         at(value.items[0]).kind == PickleValue::Kind::kGlobal && at(value.items[0]).text == name;
}

}  // namespace strandwave
