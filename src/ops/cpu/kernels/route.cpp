// CPU body of RouterForward. Tokens are independent; what is summed over them goes piece by piece
// in a fixed order.
#include "ops/route.h"

#include <span>

#include "core/parallel.h"
#include "ops/cpu/kernels/router_documents.h"
#include "ops/cpu/kernels/router_row.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 16;  // tokens a task takes

/// Whether no element is NaN or infinite.
bool all_finite(const float* x, std::int64_t n) {
  F32 zeros{};
  for_lanes(n, [&](std::int64_t i, auto lanes) { zeros += load(x + i, lanes) * 0.0F; });
  return reduce_add(zeros) == 0;
}

void check_bias(const RouterForward& op) {
  if (!op.bias) return;
  const std::span bias(op.bias.as<float>(), static_cast<std::size_t>(op.logits.dim(1)));
  const auto bad = std::ranges::find_if(bias, [](float x) { return !std::isfinite(x); });
  HG_CHECK(bad == bias.end(), "{}: the bias of expert {} is {}, expected a finite number",
           RouterForward::name, bad - bias.begin(), *bad);
}

/// Tokens that choose in turns: a search for the largest score is a chain of dependent operations,
/// and those of several tokens overlap.
constexpr std::int64_t kTogether = 4;

/// Writes the experts and weights of tokens from `t` on. Where a logit is not finite the token
/// chooses the first experts, and its weights are NaN: the loss will tell, on all ranks alike.
void choose(const RouterForward& op, std::span<const RouterToken> tokens, std::int64_t t) {
  const std::int64_t experts = op.logits.dim(1), k = op.experts.dim(1);
  auto* chosen = op.experts.as<std::int32_t>() + t * k;
  float* weights = op.weights.as<float>() + t * k;
  std::array<RouterRow, kTogether> left;
  std::array<bool, kTogether> finite;
  for (std::size_t j = 0; j < tokens.size(); ++j) {
    const float* scores = tokens[j].scores->data();
    finite[j] =
        all_finite(op.logits.as<float>() + (t + static_cast<std::int64_t>(j)) * experts, experts);
    if (!finite[j]) {
      for_lanes(experts, [&](std::int64_t i, auto lanes) {
        store(left[j].data() + i, live(lanes) ? F32{} : splat(kMinusInfinity));
      });
      continue;
    }
    copy_row(left[j], scores, experts, kMinusInfinity);
    if (!op.bias) continue;
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      const F32 biased = load(scores + i, lanes) + load(op.bias.as<float>() + i, lanes);
      store(left[j].data() + i, biased, lanes);
    });
  }
  for (std::int64_t i = 0; i < k; ++i) {
    for (std::size_t j = 0; j < tokens.size(); ++j) {
      chosen[static_cast<std::int64_t>(j) * k + i] =
          static_cast<std::int32_t>(take_largest(left[j], experts));
    }
  }
  for (std::size_t j = 0; j < tokens.size(); ++j) {
    float sum = kTinySum;
    for (std::int64_t i = 0; i < k; ++i) {
      weights[i] = tokens[j].scores->data()[chosen[i]];
      sum += weights[i];
    }
    float factor = op.function.renormalize ? op.function.factor / sum : op.function.factor;
    if (!finite[j]) factor = std::numeric_limits<float>::quiet_NaN();
    for (std::int64_t i = 0; i < k; ++i) weights[i] *= factor;
    chosen += k, weights += k;
  }
}

/// Where the sums of one piece of tokens go.
struct PieceSums {
  std::int32_t* counts;
  float *probabilities, *statistics;

  PieceSums(const RouterForward::Scratch& scratch, std::int64_t piece)
      : counts(scratch.counts.as<std::int32_t>() + piece * scratch.counts.dim(1)),
        probabilities(scratch.probability_sums.as<float>() +
                      piece * scratch.probability_sums.dim(1)),
        statistics(scratch.statistics.as<float>() + piece * RouterForward::kStatistics) {}

  void clear(std::int64_t experts) const {
    std::fill_n(counts, experts, 0);
    std::fill_n(probabilities, experts, 0.0F);
    std::fill_n(statistics, static_cast<int>(RouterForward::kStatistics), 0.0F);
  }
  void add(const RouterForward& op, const RouterToken& token, std::int64_t t) const {
    const std::int64_t k = op.experts.dim(1), experts = op.logits.dim(1);
    const auto* chosen = op.experts.as<std::int32_t>() + t * k;
    for (std::int64_t i = 0; i < k; ++i) ++counts[chosen[i]];
    const float* logits = op.logits.as<float>() + t * experts;
    F32 highest{}, largest{};
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      const F32 p = load(token.scores->data() + i, lanes) * (1 / token.score_sum);
      store(probabilities + i, load(probabilities + i, lanes) + p, lanes);
      highest = max(highest, p);
      const F32 logit = load(logits + i, lanes);
      largest = max(largest, max(logit, -logit));
    });
    statistics[RouterForward::kSquaredLse] += token.lse * token.lse;
    statistics[RouterForward::kTopProbability] += reduce_max(highest);
    float& logit = statistics[RouterForward::kLargestLogit];
    logit = std::max(logit, reduce_max(largest));
  }
};

/// to[j] = from[0, j] + from[1, j] + ... of `rows` rows, in that order.
template <class T>
void sum_rows(T* to, const T* from, std::int64_t rows, std::int64_t columns) {
  std::fill_n(to, columns, T{});
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) to[j] += from[r * columns + j];
  }
}

void sum_documents(const RouterForward& op, const RouterDocuments& documents,
                   const RouterForward::Scratch& scratch) {
  const std::int64_t experts = op.logits.dim(1);
  parallel_for(documents.count(), [&](std::int64_t d) {
    const std::int64_t first = documents.first_piece(d);
    const std::int64_t pieces = documents.first_piece(d + 1) - first;
    const PieceSums from(scratch, first);
    sum_rows(op.counts.as<std::int32_t>() + d * experts, from.counts, pieces, experts);
    sum_rows(op.probability_sums.as<float>() + d * experts, from.probabilities, pieces, experts);
  });
}

void sum_statistics(const RouterForward& op, const RouterDocuments& documents,
                    const RouterForward::Scratch& scratch) {
  double squares = 0, top = 0;
  float largest = 0;
  for (std::int64_t p = 0; p < documents.pieces(); ++p) {
    const float* piece = PieceSums(scratch, p).statistics;
    squares += piece[RouterForward::kSquaredLse];
    top += piece[RouterForward::kTopProbability];
    largest = std::max(largest, piece[RouterForward::kLargestLogit]);
  }
  float* out = op.statistics.as<float>();
  out[RouterForward::kSquaredLse] = static_cast<float>(squares);
  out[RouterForward::kTopProbability] = static_cast<float>(top);
  out[RouterForward::kLargestLogit] = largest;
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const RouterForward& op, Context& ctx) {
  check_bias(op);
  const ArenaScope scope(ctx.scratch);
  const RouterForward::Scratch scratch = op.scratch(ctx);
  const std::int64_t experts = op.logits.dim(1);
  const RouterDocuments documents(op.documents, op.logits.dim(0));
  parallel_for(documents.pieces(), [&](std::int64_t p) {
    const PieceSums sums(scratch, p);
    sums.clear(experts);
    const auto [begin, end] = documents.piece(p);
    std::array<RouterToken, kTogether> room;
    for (std::int64_t t = begin; t < end; t += kTogether) {
      const std::span tokens(room.data(), static_cast<std::size_t>(std::min(kTogether, end - t)));
      const float* logits = op.logits.as<float>() + t * experts;
      for (RouterToken& token : tokens) {
        token.compute(logits, experts, op.function.score);
        logits += experts;
      }
      choose(op, tokens, t);
      for (std::size_t j = 0; j < tokens.size(); ++j) {
        sums.add(op, tokens[j], t + static_cast<std::int64_t>(j));
      }
    }
  });
  sum_documents(op, documents, scratch);
  sum_statistics(op, documents, scratch);
}

}  // namespace hg
