#include "core/cpu_info.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "core/check.h"

namespace hg {
namespace {

/// Sets HEADGATE_ISA while it lives.
class IsaVariable {
 public:
  explicit IsaVariable(const char* value) {
    if (const char* before = std::getenv("HEADGATE_ISA")) before_ = before;
    value != nullptr ? setenv("HEADGATE_ISA", value, 1) : unsetenv("HEADGATE_ISA");
  }
  ~IsaVariable() {
    before_ ? setenv("HEADGATE_ISA", before_->c_str(), 1) : unsetenv("HEADGATE_ISA");
  }
  IsaVariable(const IsaVariable&) = delete;
  IsaVariable& operator=(const IsaVariable&) = delete;

 private:
  std::optional<std::string> before_;
};

CpuInfo detect_with(const char* value) {
  const IsaVariable variable(value);
  return detect_cpu();
}

TEST(DetectCpu, TheVariableCapsWhatIsReported) {
  const CpuInfo all = detect_with(nullptr), avx2 = detect_with("avx2"),
                avx512 = detect_with("avx512"), amx = detect_with("amx");
  EXPECT_EQ(avx2.isa, Isa::avx2);
  EXPECT_FALSE(avx2.avx512_bf16 || avx2.amx_bf16);
  EXPECT_EQ(avx512.isa, all.isa);  // either both have it or neither
  EXPECT_FALSE(avx512.amx_bf16);
  EXPECT_EQ(amx.isa, all.isa);
  EXPECT_EQ(amx.amx_bf16, all.amx_bf16);
  EXPECT_EQ(avx2.model, all.model);
  EXPECT_FALSE(all.model.empty());
}

TEST(DetectCpu, AnUnknownValueIsAnError) {
  try {
    detect_with("avx1024");
    FAIL() << "avx1024 went through";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "HEADGATE_ISA is 'avx1024', expected avx2, avx512 or amx");
  }
  EXPECT_THROW(detect_with(""), Error);
}

TEST(CpuInfo, PrintsWhatItHas) {
  EXPECT_EQ(CpuInfo{}.to_string(), "AVX2");
  EXPECT_EQ(
      (CpuInfo{.model = "", .isa = Isa::avx512, .avx512_bf16 = true, .amx_bf16 = true}).to_string(),
      "AVX-512, AVX512-BF16, AMX-BF16");
}

}  // namespace
}  // namespace hg
