#include "cuda/op_table.h"

#include <unordered_map>

#include "ops/cuda/kernel.h"
#include "ops/norm.h"
#include "ops/optimizer.h"

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
  static const Table all =
      table_of<RmsNormForward, AddRmsNormForward, RmsNormBackward, AdamW, SumOfSquares, Cast>();
  return all;
}

}  // namespace

CudaOp cuda_op(std::string_view name) {
  const auto found = table().find(name);
  HG_CHECK(found != table().end(), "{} has no kernel for GPUs", name);
  return found->second;
}

}  // namespace hg
