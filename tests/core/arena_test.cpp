#include "core/arena.h"

#include <gtest/gtest.h>

#include <cstring>

namespace hg {
namespace {

std::uintptr_t address(const ConstTensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.data());
}

TEST(Arena, MeasuresTheHighestFillAndWhatWasLive) {
  Arena arena("test");
  arena.allocate("weights", DType::f32, {300});  // 1200 bytes, 1280 with alignment
  {
    const ArenaScope scope(arena);
    arena.allocate("rows", DType::bf16, {64});
    arena.allocate("rows", DType::bf16, {64});
    arena.allocate("logits", DType::f32, {16});
  }
  arena.allocate("small", DType::f32, {1});
  EXPECT_EQ(arena.capacity(), 0U);
  EXPECT_EQ(arena.used(), 1280U + 256);
  EXPECT_EQ(arena.high_water(), 1280U + 256 + 256 + 256);
  const auto entries = arena.high_water_entries();
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].label, "weights");
  EXPECT_EQ(entries[0].bytes, 1280U);
  EXPECT_EQ(entries[1].label, "rows");
  EXPECT_EQ(entries[1].bytes, 512U);
  EXPECT_EQ(entries[2].label, "logits");
}

TEST(Arena, MeasuredSizeIsEnough) {
  const auto step = [](Arena& arena) {
    const ArenaScope scope(arena);
    for (const std::int64_t n : {3, 1000, 77}) arena.allocate("x", DType::f32, {n, 1000});
  };
  Arena measured("test"), arena("test");
  step(measured);
  arena.reserve(measured.high_water());
  step(arena);
  EXPECT_EQ(arena.high_water(), measured.high_water());
  EXPECT_EQ(arena.used(), 0U);
}

TEST(Arena, HandsOutAlignedMemoryAndTakesItBack) {
  Arena arena("test");
  arena.reserve(1 << 20);
  const Tensor first = arena.allocate("a", DType::bf16, {3});
  const auto mark = arena.mark();
  const Tensor second = arena.allocate("b", DType::f32, {5, 7});
  std::memset(first.data(), 1, static_cast<std::size_t>(first.bytes()));
  std::memset(second.data(), 2, static_cast<std::size_t>(second.bytes()));
  EXPECT_EQ(address(first) % 256, 0U);
  EXPECT_EQ(address(second), address(first) + 256);
  EXPECT_EQ(second.shape(), (Shape{5, 7}));
  arena.release(mark);
  EXPECT_EQ(address(arena.allocate("c", DType::f32, {1})), address(second));
}

TEST(Arena, RunningOverIsAnErrorWithTheNumbersAndChangesNothing) {
  Arena arena("scratch");
  arena.reserve(1);
  const std::size_t capacity = arena.capacity();
  EXPECT_GE(capacity, 1U);
  arena.allocate("a", DType::f32, {16});
  try {
    arena.allocate("huge", DType::f32, {static_cast<std::int64_t>(capacity)});
    FAIL() << "the arena gave more than it has";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              fmt::format("arena 'scratch' is full: 'huge' needs {} bytes, 256 of {} are in use",
                          4 * capacity, capacity));
  }
  EXPECT_EQ(arena.used(), 256U);
  EXPECT_NO_THROW(arena.allocate("b", DType::f32, {16}));
}

TEST(Arena, IsReservedOnceAndEmpty) {
  Arena arena("test");
  arena.reserve(100);
  EXPECT_THROW(arena.reserve(100), Error);
  Arena used("test");
  used.allocate("a", DType::f32, {1});
  EXPECT_THROW(used.reserve(100), Error);
}

}  // namespace
}  // namespace hg
