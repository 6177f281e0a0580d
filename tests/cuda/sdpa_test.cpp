// Which attention is cuDNN's. This program has no cuDNN; tests/cudnn_plans has.
#include "ops/cuda/sdpa.h"

#include <gmock/gmock.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

#include "support/attention.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

/// What is logged as long as this lives.
class LoggedLines {
 public:
  LoggedLines() : before_(spdlog::default_logger()) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)));
    spdlog::set_pattern("%v");
  }
  ~LoggedLines() { spdlog::set_default_logger(before_); }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::shared_ptr<spdlog::logger> before_;
};

Attention attention(DType dtype, std::int64_t d = 64) {
  return Attention({"", Isa::avx2, {}}, dtype, {.kv = 2, .g = 2, .d = d}, {5, 3});
}

std::string reason_for(const AttentionForward& op) {
  const LoggedLines logged;
  Sdpa sdpa("");
  EXPECT_EQ(sdpa.choose(op, 1 << 20).plan, nullptr);
  return logged.text();
}

/// v of `Attention` lies at an odd address.
AttentionForward aligned_op(Attention& a) {
  AttentionForward op = a.forward_op();
  op.v = op.k;
  op.longest = 5;
  return op;
}

TEST(Sdpa, WithoutCudnnTheOwnKernelIsTakenAndTheLogSaysWhyOnce) {
  Attention a = attention(DType::bf16);
  const LoggedLines logged;
  Sdpa sdpa("");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(sdpa.choose(aligned_op(a), 1 << 20).plan, nullptr);
  EXPECT_EQ(logged.text(),
            "attention_forward: by headgate's own kernel: headgate was built without cuDNN\n");
  AttentionBackward backward = a.backward_op();
  backward.v = backward.k;
  EXPECT_EQ(sdpa.choose(backward, 1 << 20).plan, nullptr);
  EXPECT_THAT(logged.text(), HasSubstr("attention_backward: by headgate's own kernel"));
}

TEST(Sdpa, SaysWhatIsNotForCudnn) {
  Attention bf16 = attention(DType::bf16), f32 = attention(DType::f32);
  EXPECT_THAT(reason_for(aligned_op(f32)), HasSubstr("cuDNN's is for bf16"));
  Attention odd = attention(DType::bf16, 12);
  EXPECT_THAT(reason_for(aligned_op(odd)), HasSubstr("a multiple of 8 elements"));
  EXPECT_THAT(reason_for(bf16.forward_op()), HasSubstr("multiples of 16 bytes"));
  AttentionForward op = aligned_op(bf16);
  op.longest = 1;
  EXPECT_THAT(reason_for(op), HasSubstr("no document has two tokens"));
  op.keys = bf16.memory.integers({0, 5, 5, 8}).view({2, 2});
  EXPECT_THAT(reason_for(op), HasSubstr("a part of the micro-batch's tokens"));
}

TEST(Sdpa, DoesWhatTheEnvironmentWishes) {
  Attention a = attention(DType::bf16);
  const LoggedLines logged;
  EXPECT_EQ(Sdpa("own").choose(aligned_op(a), 1 << 20).plan, nullptr);
  EXPECT_THAT(logged.text(), HasSubstr("HEADGATE_ATTENTION says so"));
  EXPECT_NO_THROW(Sdpa("cudnn"));
  EXPECT_NO_THROW(Sdpa("cudnn-unordered"));
  EXPECT_THROW(Sdpa("flash"), Error);
}

TEST(Sdpa, FewShapesStandForMany) {
  const auto shape = [](const std::vector<std::int32_t>& lengths, std::int64_t longest) {
    Attention a({"", Isa::avx2, {}}, DType::bf16, {.kv = 2, .g = 2, .d = 8}, lengths);
    const SdpaShape result = sdpa_shape(a.q, a.k, a.v, a.documents, longest, false);
    EXPECT_EQ(result.heads, 4);
    EXPECT_EQ(result.k_stride, 16);
    EXPECT_EQ(result.v_stride, 27);
    return std::tuple(result.batch, result.length, result.tokens, result.ragged);
  };
  EXPECT_EQ(shape({100}, 300), std::tuple(1, 100, 100, false));
  EXPECT_EQ(shape({50, 50, 50}, 50), std::tuple(3, 50, 150, false));
  EXPECT_EQ(shape({50, 40, 60}, 60), std::tuple(4, 64, 150, true));
  EXPECT_EQ(shape({9, 1, 70, 20, 50}, 70), std::tuple(8, 128, 150, true));
}

}  // namespace
}  // namespace hg::test
