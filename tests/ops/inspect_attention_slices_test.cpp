// What looks at some queries over the keys of all find, added up, against a look at the whole.
#include <gtest/gtest.h>

#include "ops/cpu/inspect_attention_tiles.h"
#include "ops/inspect_attention.h"
#include "support/attention_part.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

class InspectSlicesTest : public testing::TestWithParam<Engine> {
 protected:
  /// Expects the whole from parts, one of which has a single token in a piece: `look(of, keys)`
  /// gives a table [KV G, 2] of the queries that `of` has.
  template <class Look>
  static void expect_whole(Attention& a, bool second_is_largest, Look&& look) {
    a.forward();
    const Tensor whole = look(a, ConstTensor{});
    const Tensor joined = a.memory.zeros(whole.shape());
    for (std::int64_t i = 1; second_is_largest && i < whole.numel(); i += 2)
      set(joined, i, -INFINITY);
    for (const auto& runs : from_both_ends({0, 40, 150, 151, 300})) {
      AttentionPart part(a, runs);
      a.run_op(part.forward_op());
      const Tensor own = look(part, part.keys);
      for (std::int64_t i = 0; i < whole.numel(); ++i) {
        const float x = get(own, i), before = get(joined, i);
        set(joined, i, second_is_largest && i % 2 == 1 ? std::max(before, x) : before + x);
      }
    }
    for (std::int64_t i = 0; i < whole.numel(); ++i)
      expect_measured(get(joined, i), double{get(whole, i)}, "looks of parts");
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, InspectSlicesTest, testing::ValuesIn(Engine::all()),
                         [](const auto& engine) { return engine.param.name; });

const std::vector<std::vector<std::int32_t>> kPackings{{300}, {30, 1, 100, 169}, {10, 290}};

TEST_P(InspectSlicesTest, EntropiesAddUp) {
  for (const DType dtype : GetParam().dtypes()) {
    for (const auto& lengths : kPackings) {
      Attention a(GetParam(), dtype, {.kv = 2, .g = 2, .d = 64}, lengths);
      expect_whole(a, true, [&](const auto& of, const ConstTensor& keys) {
        const AttentionEntropy op{.out = a.memory.empty({4, 2}),
                                  .q = of.q,
                                  .k = a.k,
                                  .lse = of.lse,
                                  .documents = of.documents,
                                  .keys = keys,
                                  .longest = a.t,
                                  .scale = a.scale};
        a.run_op(op);
        return op.out;
      });
    }
  }
}

TEST_P(InspectSlicesTest, SharesOfFirstTokensAddUp) {
  for (const DType dtype : GetParam().dtypes()) {
    for (const auto& lengths : kPackings) {
      Attention a(GetParam(), dtype, {.kv = 2, .g = 2, .d = 32}, lengths);
      std::vector<std::int32_t> positions;
      for (const Place& place : places(a)) positions.push_back(static_cast<int>(place.position));
      expect_whole(a, false, [&](const auto& of, const ConstTensor& keys) {
        const FirstTokenShare op{.out = a.memory.empty({4, 2}),
                                 .q = of.q,
                                 .k = a.k,
                                 .lse = of.lse,
                                 .documents = of.documents,
                                 .keys = keys,
                                 .positions = a.memory.integers(positions),
                                 .scale = a.scale};
        run(*a.ctx, op);
        return op.out;
      });
    }
  }
}

}  // namespace
}  // namespace hg::test
