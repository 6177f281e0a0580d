#include "cuda/cudnn/graph.h"

#include <map>

namespace hg {
namespace {

using Kind = SdpaGraph::Kind;

cudnnDataType_t type_of(SdpaGraph::Type type) {
  switch (type) {
    case SdpaGraph::Type::f32:
      return CUDNN_DATA_FLOAT;
    case SdpaGraph::Type::bf16:
      return CUDNN_DATA_BFLOAT16;
    case SdpaGraph::Type::i32:
      return CUDNN_DATA_INT32;
    case SdpaGraph::Type::boolean:
      return CUDNN_DATA_BOOLEAN;
  }
  fail("cuDNN: no such type");
}

cudnnPointwiseMode_t mode_of(Kind kind) {
  static const std::map<Kind, cudnnPointwiseMode_t> modes{
      {Kind::multiply, CUDNN_POINTWISE_MUL},
      {Kind::add, CUDNN_POINTWISE_ADD},
      {Kind::subtract, CUDNN_POINTWISE_SUB},
      {Kind::divide, CUDNN_POINTWISE_DIV},
      {Kind::exp, CUDNN_POINTWISE_EXP},
      {Kind::log, CUDNN_POINTWISE_LOG},
      {Kind::identity, CUDNN_POINTWISE_IDENTITY},
      {Kind::row, CUDNN_POINTWISE_GEN_INDEX},
      {Kind::column, CUDNN_POINTWISE_GEN_INDEX},
      {Kind::not_below, CUDNN_POINTWISE_CMP_GE},
      {Kind::below, CUDNN_POINTWISE_CMP_LT},
      {Kind::both, CUDNN_POINTWISE_LOGICAL_AND},
      {Kind::select, CUDNN_POINTWISE_BINARY_SELECT}};
  return modes.at(kind);
}

bool is_scalar(SdpaOperand operand) {
  return operand == SdpaOperand::scale || operand == SdpaOperand::lowest ||
         operand == SdpaOperand::one;
}

}  // namespace

CudnnGraph::CudnnGraph(const CudnnLibrary& library, const SdpaGraph& graph) : library_(library) {
  tensors_.resize(graph.tensors.size());
  // Offsets may follow the tensors that they belong to.
  for (const bool ragged : {false, true}) {
    for (std::size_t i = 0; i < graph.tensors.size(); ++i) {
      const SdpaGraph::Tensor& its = graph.tensors[i];
      if ((its.offsets >= 0) == ragged) add_tensor(its, i);
    }
  }
  for (const SdpaGraph::Node& node : graph.nodes) {
    switch (node.kind) {
      case Kind::product:
        add_product(node);
        break;
      case Kind::max:
      case Kind::sum:
        add_reduction(node);
        break;
      case Kind::reshape:
        add_reshape(node);
        break;
      default:
        add_pointwise(node);
    }
  }
  operations_ = &make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
                     .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                          std::span<const cudnnBackendDescriptor_t>(nodes_))
                     .finish("the graph");
}

CudnnDescriptor& CudnnGraph::make(cudnnBackendDescriptorType_t type) {
  return made_.emplace_back(library_, type);
}

void CudnnGraph::add_tensor(const SdpaGraph::Tensor& its, std::size_t index) {
  constexpr std::int64_t kAlignment = 16;
  CudnnDescriptor& made = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type_of(its.type))
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::span<const std::int64_t>(its.dims))
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::span<const std::int64_t>(its.strides))
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id_of(index))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, its.operand == SdpaOperand::none)
      .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, is_scalar(its.operand));
  if (its.offsets >= 0) made.set(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, tensor(its.offsets));
  tensors_[index] = &made.finish("a tensor");
}

void CudnnGraph::add_pointwise(const SdpaGraph::Node& node) {
  CudnnDescriptor& how = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode_of(node.kind))
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  if (node.kind == Kind::row) how.set(CUDNN_ATTR_POINTWISE_AXIS, std::int64_t{2});
  if (node.kind == Kind::column) how.set(CUDNN_ATTR_POINTWISE_AXIS, std::int64_t{3});
  how.finish("an elementwise operation");
  CudnnDescriptor& made = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor(node.x))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(node.y));
  if (node.b >= 0) made.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor(node.b));
  if (node.condition >= 0) made.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, tensor(node.condition));
  nodes_.push_back(made.finish("an elementwise operation").get());
}

void CudnnGraph::add_product(const SdpaGraph::Node& node) {
  const CudnnDescriptor& how = make(CUDNN_BACKEND_MATMUL_DESCRIPTOR)
                                   .set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT)
                                   .finish("a product");
  CudnnDescriptor& made = make(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how)
      .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, tensor(node.x))
      .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, tensor(node.b))
      .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, tensor(node.y));
  const auto limit = [&](cudnnBackendAttributeName_t name, int lengths) {
    if (lengths >= 0) made.set(name, tensor(lengths));
  };
  limit(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, node.m);
  limit(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, node.n);
  limit(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, node.k);
  nodes_.push_back(made.finish("a product").get());
}

void CudnnGraph::add_reduction(const SdpaGraph::Node& node) {
  const CudnnDescriptor& how =
      make(CUDNN_BACKEND_REDUCTION_DESCRIPTOR)
          .set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE,
               node.kind == Kind::max ? CUDNN_REDUCE_TENSOR_MAX : CUDNN_REDUCE_TENSOR_ADD)
          .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT)
          .finish("a reduction");
  nodes_.push_back(make(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
                       .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
                       .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, tensor(node.x))
                       .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, tensor(node.y))
                       .finish("a reduction")
                       .get());
}

void CudnnGraph::add_reshape(const SdpaGraph::Node& node) {
  nodes_.push_back(make(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
                       .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, tensor(node.x))
                       .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, tensor(node.y))
                       .finish("a transposition")
                       .get());
}

}  // namespace hg
