// The one exception that the library throws for what a user can cause and mend.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace strandwave {

enum class ErrorKind {
  kInput,        // a file, a record, a value in a file is wrong: exit code 1
  kRuntime,      // the run failed: disk full, out of memory, no GPU: exit code 1
  kUsage,        // the command or a setting makes no sense: exit code 2
  kInterrupted,  // stopped by a signal after saving: exit code 75
};

// The message says what, where (path, record, line) and what to do, with expected and actual value.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

inline Error input_error(const std::string& message) { return {ErrorKind::kInput, message}; }
inline Error runtime_failure(const std::string& message) { return {ErrorKind::kRuntime, message}; }
inline Error usage_error(const std::string& message) { return {ErrorKind::kUsage, message}; }

}  // namespace strandwave
