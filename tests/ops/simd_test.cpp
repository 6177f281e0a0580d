#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/check.h"
#include "core/random.h"
#include "ops/simd_probe.h"
#include "support/tensors.h"

namespace hg::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Distance in units in the last place; both must have the same sign.
std::int64_t ulps(float a, float b) {
  return std::abs(std::int64_t{std::bit_cast<std::int32_t>(a)} - std::bit_cast<std::int32_t>(b));
}

/// Calls fn.operator()<isa>() on what this machine can run.
template <class Fn>
void for_isas(Fn&& fn) {
  for (const Isa isa : isas()) {
    isa == Isa::avx2 ? fn.template operator()<Isa::avx2>() : fn.template operator()<Isa::avx512>();
  }
}

TEST(Simd, ExpIsWithinTwoUlps) {
  std::vector<float> x, y;
  for (float v = -87.3F; v <= 88.3F; v += 1e-4F) x.push_back(v);
  for (float v = 1e-38F; v < 1; v *= 1.01F) x.insert(x.end(), {v, -v});
  y.resize(x.size());
  for_isas([&]<Isa isa>() {
    SimdProbe<isa>::exp(x, y);
    std::int64_t worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      worst = std::max(worst, ulps(y[i], static_cast<float>(std::exp(double{x[i]}))));
    }
    EXPECT_LE(worst, 2);
  });
}

TEST(Simd, ExpAtTheEdges) {
  const std::vector<float> x{0.0F,
                             -0.0F,
                             1e-40F,
                             -1e-40F,
                             -87.4F,
                             -100.0F,
                             -kInfinity,
                             100.0F,
                             kInfinity,
                             kNaN,
                             -kNaN,
                             88.3F,
                             std::bit_cast<float>(0x7f800001U)};
  std::vector<float> y(x.size());
  for_isas([&]<Isa isa>() {
    SimdProbe<isa>::exp(x, y);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(y[i], 1.0F) << i;
    // Where the result would be denormal, and below.
    for (std::size_t i = 4; i < 7; ++i) EXPECT_EQ(std::bit_cast<std::uint32_t>(y[i]), 0U) << i;
    EXPECT_EQ(y[7], y[11]);
    EXPECT_EQ(y[8], y[11]);
    EXPECT_TRUE(std::isfinite(y[11]) && y[11] > 2e38F);
    EXPECT_TRUE(std::isnan(y[9]) && std::isnan(y[10]) && std::isnan(y[12]));
  });
}

TEST(Simd, SigmoidIsWithinThreeUlps) {
  std::vector<float> x{-kInfinity, -200.0F, kInfinity, 200.0F, 0.0F, kNaN}, y;
  const std::size_t special = x.size();
  for (float v = -80; v < 80; v += 1e-3F) x.push_back(v);
  y.resize(x.size());
  for_isas([&]<Isa isa>() {
    SimdProbe<isa>::sigmoid(x, y);
    EXPECT_NEAR(y[0], 0, 1e-38);
    EXPECT_NEAR(y[1], 0, 1e-38);
    EXPECT_EQ(y[2], 1);
    EXPECT_EQ(y[3], 1);
    EXPECT_EQ(y[4], 0.5F);
    EXPECT_TRUE(std::isnan(y[5]));
    std::int64_t worst = 0;
    for (std::size_t i = special; i < x.size(); ++i) {
      worst = std::max(worst, ulps(y[i], static_cast<float>(1 / (1 + std::exp(-double{x[i]})))));
    }
    EXPECT_LE(worst, 3);
  });
}

TEST(Simd, SquareRootIsExact) {
  std::vector<float> x{0.0F, 1e-40F, 2.0F, kInfinity}, y(4);
  for_isas([&]<Isa isa>() {
    SimdProbe<isa>::sqrt(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], std::sqrt(x[i]));
  });
}

TEST(Simd, RoundingEqualsTheScalarType) {
  std::vector<float> x;
  for (std::uint32_t high = 0; high < 0x10000U; ++high) {
    for (const std::uint32_t low : {0x0000U, 0x0001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      x.push_back(std::bit_cast<float>(high << 16 | low));
    }
  }
  std::vector<bf16> y(x.size());
  std::vector<float> back(x.size());
  for_isas([&]<Isa isa>() {
    SimdProbe<isa>::round(x, y);
    SimdProbe<isa>::widen(y, back);
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(y[i].bits, bf16(x[i]).bits) << std::hexfloat << x[i];
      ASSERT_EQ(std::bit_cast<std::uint32_t>(back[i]), std::uint32_t{y[i].bits} << 16);
    }
  });
}

TEST(Simd, TailsAreLikeWholeVectorsAndWriteNothingBehind) {
  const RandomStream stream(5, "tails");
  std::vector<float> x(40), whole(40);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = stream.normal(i);
  for_isas([&]<Isa isa>() {
    SimdProbe<isa>::exp(x, whole);
    for (std::size_t n = 0; n < x.size(); ++n) {
      std::vector<float> y(x.size(), -1);
      std::vector<bf16> narrow(x.size(), bf16(-1));
      SimdProbe<isa>::exp(std::span(x).first(n), std::span(y).first(n));
      SimdProbe<isa>::round(std::span(x).first(n), std::span(narrow).first(n));
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_EQ(y[i], i < n ? whole[i] : -1);
        EXPECT_EQ(narrow[i].bits, i < n ? bf16(x[i]).bits : bf16(-1).bits);
      }
    }
  });
}

/// A page of memory with one behind it that nobody may touch.
class GuardedPage {
 public:
  GuardedPage() {
    constexpr int kPrivate = MAP_PRIVATE | MAP_ANONYMOUS;
    memory_ = mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, kPrivate, -1, 0);
    HG_CHECK(memory_ != MAP_FAILED && mprotect(end(), kBytes, PROT_NONE) == 0, "no guarded page");
  }
  ~GuardedPage() { munmap(memory_, 2 * kBytes); }
  GuardedPage(const GuardedPage&) = delete;
  GuardedPage& operator=(const GuardedPage&) = delete;

  /// Its last `n` elements.
  template <class T>
  std::span<T> last(std::size_t n) const {
    return {static_cast<T*>(end()) - n, n};
  }

 private:
  static constexpr std::size_t kBytes = 4096;
  void* end() const { return static_cast<std::byte*>(memory_) + kBytes; }
  void* memory_;
};

TEST(Simd, TailsTouchNothingBehindTheirLastElement) {
  const GuardedPage from, narrow, back;  // a touch kills the process
  for_isas([&]<Isa isa>() {
    for (std::size_t n = 1; n < 40; ++n) {
      const auto x = from.last<float>(n), y = back.last<float>(n);
      for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i) - 7;
      SimdProbe<isa>::round(x, narrow.last<bf16>(n));
      SimdProbe<isa>::widen(narrow.last<bf16>(n), y);
      for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(y[i], x[i]);
    }
  });
}

TEST(Simd, ReductionsCoverEveryLane) {
  for_isas([&]<Isa isa>() {
    const auto lanes = static_cast<std::size_t>(SimdProbe<isa>::lanes());
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      std::vector<float> x(lanes, -3);
      x[lane] = 5;
      EXPECT_EQ(SimdProbe<isa>::reduce_max(x), 5);
      EXPECT_EQ(SimdProbe<isa>::reduce_add(x), 5 - 3 * static_cast<float>(lanes - 1));
    }
  });
}

}  // namespace
}  // namespace hg::test
