// CPU body of RouterBackward. Scores are computed again from the logits: cheaper than keeping them.
#include "core/parallel.h"
#include "ops/cpu/kernels/router_documents.h"
#include "ops/cpu/kernels/router_row.h"
#include "ops/route.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 16;  // tokens a task takes

/// gradient += the gradient with respect to the scores of a token's experts.
void add_through_weights(const RouterBackward& op, const RouterToken& token, std::int64_t t,
                         RouterRow& gradient) {
  const std::int64_t k = op.experts.dim(1);
  const auto* chosen = op.experts.as<std::int32_t>() + t * k;
  const float* dweights = op.dweights.as<float>() + t * k;
  const float* scores = token.scores->data();
  float sum = kTinySum, dot = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    sum += scores[chosen[i]];
    dot += dweights[i] * scores[chosen[i]];
  }
  const float factor = op.function.renormalize ? op.function.factor / sum : op.function.factor;
  const float mean = op.function.renormalize ? dot / sum : 0.0F;
  for (std::int64_t i = 0; i < k; ++i) gradient[chosen[i]] += factor * (dweights[i] - mean);
}

/// `balance` is the row of the token's document, or null.
void backward_token(const RouterBackward& op, std::int64_t t, const float* balance) {
  const std::int64_t experts = op.logits.dim(1);
  RouterToken token;
  token.compute(op.logits.as<float>() + t * experts, experts, op.function.score);
  const float* scores = token.scores->data();
  const float* softmax = token.softmax.data();
  RouterRow gradient;  // with respect to the scores
  for_vectors(experts, [&](std::int64_t i) { store(gradient.data() + i, F32{}); });
  if (balance != nullptr) {
    F32 dot{};
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      dot += load(balance + i, lanes) * load(scores + i, lanes);
    });
    const float mean = reduce_add(dot) / token.score_sum;
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      store(gradient.data() + i, (load(balance + i, lanes) - mean) * (1 / token.score_sum), lanes);
    });
  }
  add_through_weights(op, token, t, gradient);

  const float z = 2 * op.z * token.lse;
  float* dlogits = op.dlogits.as<float>() + t * experts;
  if (op.function.score == RouterScore::softmax) {
    F32 dot{};
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      dot += load(gradient.data() + i, lanes) * load(softmax + i, lanes);
    });
    const float shift = z - reduce_add(dot);
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      store(dlogits + i, load(softmax + i, lanes) * (load(gradient.data() + i, lanes) + shift),
            lanes);
    });
  } else {
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      const F32 s = load(scores + i, lanes), g = load(gradient.data() + i, lanes);
      store(dlogits + i, g * s * (1.0F - s) + z * load(softmax + i, lanes), lanes);
    });
  }
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const RouterBackward& op, Context&) {
  const std::int64_t experts = op.logits.dim(1);
  const RouterDocuments documents(op.documents, op.logits.dim(0));
  parallel_ranges(op.logits.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t document = documents.document_of(begin);
    for (std::int64_t t = begin; t < end; ++t) {
      while (documents.bound(document + 1) <= t) ++document;
      const float* balance = op.balance ? op.balance.as<float>() + document * experts : nullptr;
      backward_token(op, t, balance);
    }
  });
}

}  // namespace hg
