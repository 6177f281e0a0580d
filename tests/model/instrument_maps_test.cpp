// Attention maps that instruments keep.
#include "model/instruments.h"

#include <gmock/gmock.h>

#include "model/transformer.h"
#include "support/compare.h"
#include "support/saved_run.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr std::int64_t kTokens = 96;
using Documents = std::vector<std::int32_t>;

/// A model with instruments, that has seen one packed batch.
struct Seen {
  Seen(const ModelConfig& config, const Documents& documents, const InstrumentOptions& options)
      : run(config, Device::cpu, detect_cpu()) {
    run.ctx.scratch.reserve(std::size_t{16} << 20);
    run.tables.reserve(std::size_t{4} << 20);
    run.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::inference);
    run.store.initialize(5);
    run.model.make_tables(run.ctx, run.tables);
    losses = allocate_losses(run.tables, kTokens);
    instruments.emplace(config, kTokens, run.tables, options);
    std::vector<std::int32_t> tokens, targets(kTokens, 3), positions;
    for (std::int32_t t = 0, document = 0; t < kTokens; ++t) {
      while (documents[static_cast<std::size_t>(document) + 1] <= t) ++document;
      tokens.push_back(t * 37 % 251);
      positions.push_back(t - documents[static_cast<std::size_t>(document)]);
    }
    run.model.forward(run.ctx,
                      {.tokens = memory.integers(tokens),
                       .targets = memory.integers(targets),
                       .positions = memory.integers(positions),
                       .documents = memory.integers(documents),
                       .longest = kTokens},
                      losses, &*instruments);
  }
  const Instruments::Layer& layer(std::size_t i) const { return instruments->layers()[i]; }

  Tensors memory;
  RunModel run;
  TokenLosses losses;
  std::optional<Instruments> instruments;
};

/// Mean over all queries of a head's map at the first key of the query's document.
double first_column(const Tensor& map, std::int64_t head, const Documents& documents) {
  double sum = 0;
  for (std::size_t i = 0; i + 1 < documents.size(); ++i) {
    for (std::int64_t t = documents[i]; t < documents[i + 1]; ++t)
      sum += double{get(map, (head * kTokens + t) * kTokens + documents[i])};
  }
  return sum / kTokens;
}

TEST(InstrumentMaps, AreWhatTheFirstTokenShareIsTakenFrom) {
  for (const Sink sink : {Sink::none, Sink::learned}) {
    ModelConfig config = small_run_config().model;
    config.attention.sink = sink;
    config.attention.gate.position = GatePosition::rotated_query;  // another q than was projected
    const Documents documents = {0, 61, 70, kTokens};
    const Seen seen(config, documents, {.maps = {2, 0}});
    for (const std::size_t layer : {0, 2}) {
      const Tensor& map = seen.layer(layer).map;
      ASSERT_TRUE(map);
      for (std::int64_t head = 0; head < 4; ++head) {
        EXPECT_NEAR(first_column(map, head, documents),
                    double{get(seen.layer(layer).first_token, 2 * head)}, kMeasured);
        for (std::int64_t t = 0; t < kTokens; ++t) {
          double sum = 0;
          for (std::int64_t s = 0; s < kTokens; ++s)
            sum += double{get(map, (head * kTokens + t) * kTokens + s)};
          if (sink == Sink::none) {
            EXPECT_NEAR(sum, 1, kMeasured);
          } else {
            EXPECT_LT(sum, 0.9999);
          }
        }
      }
    }
  }
}

TEST(InstrumentMaps, AreKeptOnlyWhereAskedForAndChangeNothing) {
  const ModelConfig config = small_run_config().model;
  const Seen with(config, {0, kTokens}, {.maps = {1}}), without(config, {0, kTokens}, {});
  EXPECT_TRUE(with.layer(1).map);
  EXPECT_FALSE(with.layer(0).map);
  EXPECT_FALSE(without.layer(1).map);
  EXPECT_TRUE(same_bits(with.losses.loss, without.losses.loss));
  EXPECT_TRUE(same_bits(with.layer(1).entropy, without.layer(1).entropy));
  Arena arena("instruments");
  EXPECT_THROW(Instruments(config, kTokens, arena, {.maps = {3}}), Error);
  EXPECT_THROW(Instruments(config, kTokens, arena, {.maps = {-1}}), Error);
}

}  // namespace
}  // namespace hg::test
