#include "core/runtime/out_of_memory.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <new>

#include "core/base/error.h"

namespace strandwave {
namespace {

std::string message_of(const std::function<void()>& work) {
  try {
    explain_out_of_memory(c10::Device(c10::kCPU), "lower --batch", work);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kRuntime);
    return error.what();
  }
  return "";
}

TEST(OutOfMemoryTest, EveryKindIsExplained) {
  const std::function<void()> kinds[] = {
      [] { throw std::bad_alloc(); },
      [] { torch::empty({int64_t{1} << 60}, torch::kUInt8); },
      [] { TORCH_CHECK(false, "CUDA error: out of memory"); },
      [] { TORCH_CHECK(false, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED"); },
      [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory."); },
  };
  for (const auto& kind : kinds) {
    const std::string message = message_of(kind);
    EXPECT_NE(message.find("out of memory on cpu ("), std::string::npos) << message;
    EXPECT_NE(message.find("lower --batch"), std::string::npos) << message;
  }
}

TEST(OutOfMemoryTest, OtherErrorsPass) {
  EXPECT_THROW(message_of([] { TORCH_CHECK(false, "shapes differ"); }), c10::Error);
  EXPECT_THROW(message_of([] { throw std::logic_error("x"); }), std::logic_error);
  EXPECT_EQ(message_of([] { throw runtime_failure("disk"); }), "disk");
  EXPECT_EQ(message_of([] {}), "");
}

}  // namespace
}  // namespace strandwave
