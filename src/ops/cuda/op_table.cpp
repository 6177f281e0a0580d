#include "ops/cuda/op_table.h"

#include <unordered_map>

#include "ops/attention.h"
#include "ops/cached_attention.h"
#include "ops/cuda/kernel.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/fp8.h"
#include "ops/gate.h"
#include "ops/glu.h"
#include "ops/grouped_linear.h"
#include "ops/inspect_activations.h"
#include "ops/inspect_attention.h"
#include "ops/inspect_gate.h"
#include "ops/inspect_optimizer.h"
#include "ops/linear.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/optimizer.h"
#include "ops/reduce.h"
#include "ops/rope.h"
#include "ops/route.h"
#include "ops/sink.h"

namespace hg {
namespace {

using Table = std::unordered_map<std::string_view, CudaOp>;

template <class... Ops>
Table table_of() {
  return {{Ops::name, [](const void* op, Context& ctx, cudaStream_t stream) {
             cuda_kernel(*static_cast<const Ops*>(op), ctx, stream);
           }}...};
}

const Table& table() {
  static const Table all = table_of<
      AttentionForward, CachedAttention, CopyRows, FirstTokenShare, AttentionEntropy, AttentionMap,
      AttentionBackward, Add, ClipForward, ClipBackward, Zero, EmbeddingForward, EmbeddingBackward,
      RmsNormForward, AddRmsNormForward, RmsNormBackward, HeadNormRopeForward, HeadNormRopeBackward,
      GateForward, GateBackward, SinkForward, SinkBackward, SwiGluForward, SwiGluBackward,
      LinearForward, LinearBackwardInput, LinearBackwardWeight, Fp8Quantize, Fp8Product,
      GroupedLinearForward, GroupedLinearBackwardInput, GroupedLinearBackwardWeight, RouterForward,
      RouterBackward, RouterLoads, RouterBalance, RouterBiasUpdate, ExpertPlan, ArrivalPlan,
      Permute, Unpermute, PermuteWeights, UnpermuteWeights, SumTokens, SumHeadsForward,
      SumHeadsBackward, AdamW, SumOfSquares, Cast, CrossEntropy, CrossEntropyPart, CrossEntropyJoin,
      Magnitudes, JoinMagnitudes, GateScores, UpdateNorms>();
  return all;
}

}  // namespace

CudaOp cuda_op(std::string_view name) {
  const auto found = table().find(name);
  HG_CHECK(found != table().end(), "{} has no kernel for GPUs", name);
  return found->second;
}

}  // namespace hg
