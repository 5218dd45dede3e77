// What the messages of errors say.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/base/error.h"

namespace strandwave::test {

// The message of the Error (kInput unless said otherwise) that `action` throws; empty if it throws
// none.
template <typename Action>
std::string error_of(Action action, ErrorKind kind = ErrorKind::kInput) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

#define EXPECT_CONTAINS(text, part)                                                            \
  EXPECT_PRED2([](const std::string& t, const std::string& p) { return t.find(p) != t.npos; }, \
               text, std::string(part))

}  // namespace strandwave::test
