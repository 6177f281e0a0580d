// The simulated cuBLASLt: products of matrices of f32, bf16 and FP8 in the simulated streams. It
// knows what headgate asks for, and refuses the rest with a sentence (cublasLtGetStatusString).
#include <cublasLt.h>

#include <bit>
#include <cstring>
#include <optional>

#include "core/check.h"
#include "cuda_sim/cublas_lt_multiply.h"
#include "cuda_sim/cublas_lt_problem.h"
#include "cuda_sim/kernel.h"
#include "cuda_sim/machine.h"

namespace cuda_sim {
namespace {

struct Library {
  int device;
};
thread_local std::string the_explanation;

/// What a call returns that runs `body`.
template <class Body>
cublasStatus_t guarded(Body&& body) {
  try {
    body();
    return CUBLAS_STATUS_SUCCESS;
  } catch (const Unsupported& e) {
    the_explanation = e.what();
    return CUBLAS_STATUS_NOT_SUPPORTED;
  } catch (const hg::Error& e) {
    the_explanation = e.what();
    return CUBLAS_STATUS_INVALID_VALUE;
  }
}

template <class T, class Handle>
T& get(Handle handle) {
  HG_CHECK(handle != nullptr, "a handle is null");
  return *reinterpret_cast<T*>(handle);
}

template <class T>
void set(T& value, const void* from, std::size_t bytes) {
  HG_CHECK(from != nullptr && bytes == sizeof(T), "an attribute of {} bytes is given {}", sizeof(T),
           bytes);
  std::memcpy(&value, from, bytes);
}

Problem problem_of(cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                   cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
  Problem problem{get<Operation>(operation), get<Layout>(a), get<Layout>(b), get<Layout>(c),
                  get<Layout>(d)};
  problem.check(machine().options.architecture);
  return problem;
}

/// Throws unless `matrix` is in the device's memory and as the algorithm wants it.
void check_operand(const char* name, const void* matrix, const Layout& layout,
                   std::uint32_t alignment) {
  std::optional<MemoryKind> kind;
  try {
    kind = machine().memory.kind_of(matrix, layout.bytes());
  } catch (const hg::Error& e) {
    hg::fail("{}, {} x {} and {} apart: {}", name, layout.rows, layout.columns, layout.stride,
             e.what());
  }
  HG_CHECK(kind == MemoryKind::device, "{} is not in memory of the device", name);
  HG_CHECK(reinterpret_cast<std::uintptr_t>(matrix) % alignment == 0,
           "{} is at {}, where the algorithm was chosen for addresses that {} divides", name,
           matrix, alignment);
}

hg::DType dtype_of(cudaDataType_t type) {
  if (type == CUDA_R_8F_E4M3) return hg::DType::e4m3;
  if (type == CUDA_R_8F_E5M2) return hg::DType::e5m2;
  return type == CUDA_R_16BF ? hg::DType::bf16 : hg::DType::f32;
}

ScaleBlocks blocks_of(const Scaling& scaling) {
  if (scaling.mode == CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F) return ScaleBlocks::columns;
  if (scaling.mode == CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F) return ScaleBlocks::squares;
  return ScaleBlocks::whole;
}

/// Throws unless scales are in the device's memory.
StoredMatrix stored(const void* data, const Layout& layout,
                    cublasOperation_t operation = CUBLAS_OP_N, const Scaling& scaling = {}) {
  const StoredMatrix result{.data = const_cast<void*>(data),
                            .type = dtype_of(layout.type),
                            .rows = layout.rows,
                            .columns = layout.columns,
                            .stride = static_cast<std::size_t>(layout.stride),
                            .transposed = operation != CUBLAS_OP_N,
                            .scales = scaling.scales,
                            .blocks = blocks_of(scaling)};
  if (scaling.scales == nullptr) return result;
  HG_CHECK(machine().memory.kind_of(scaling.scales, result.scale_count() * sizeof(float)) ==
               MemoryKind::device,
           "scales are not in memory of the device");
  HG_CHECK(result.blocks == ScaleBlocks::whole ||
               reinterpret_cast<std::uintptr_t>(scaling.scales) % 16 == 0,
           "scales are at {}, expected a multiple of 16", static_cast<const void*>(scaling.scales));
  return result;
}

}  // namespace
}  // namespace cuda_sim

using namespace cuda_sim;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (check_safe("cublasLtCreate") != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = reinterpret_cast<cublasLtHandle_t>(new Library{current_device()});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<Library*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

/// The words of the real one are fewer: these say what is wrong.
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : the_explanation.c_str();
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute, cudaDataType_t scale) {
  *operation = reinterpret_cast<cublasLtMatmulDesc_t>(new Operation{compute, scale});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete reinterpret_cast<Operation*>(operation);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  return guarded([&] {
    auto& its = get<Operation>(operation);
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) return set(its.transpose_a, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSB) return set(its.transpose_b, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER)
      return set(its.scaling_a.scales, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER)
      return set(its.scaling_b.scales, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_A_SCALE_MODE)
      return set(its.scaling_a.mode, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_B_SCALE_MODE)
      return set(its.scaling_b.mode, value, bytes);
    throw Unsupported(fmt::format("an operation has no attribute {}", int(attribute)));
  });
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          std::uint64_t rows, std::uint64_t columns,
                                          std::int64_t stride) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, columns, stride});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<Preference*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  return guarded([&] {
    auto& its = get<Preference>(preference);
    switch (attribute) {
      case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(its.workspace, value, bytes);
      case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return set(its.reductions, value, bytes);
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(its.alignments.at(attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES), value,
                   bytes);
      default:
        throw Unsupported(fmt::format("a preference has no attribute {}", int(attribute)));
    }
  });
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  return guarded([&] {
    HG_CHECK(check_safe("the choice of an algorithm") == cudaSuccess,
             "an algorithm is chosen while a stream records: the simulation wants it before");
    HG_CHECK(wanted > 0, "{} algorithms are wanted, expected one or more", wanted);
    const Problem problem = problem_of(operation, a, b, c, d);
    // Of blocks the library chooses none without them; of whole matrices, one that may know none.
    HG_CHECK(!is_fp8(problem.a.type) || (problem.operation.scaling_a.scales != nullptr &&
                                         problem.operation.scaling_b.scales != nullptr),
             "an algorithm for FP8 is chosen before the scales are pointed to");
    const Algorithm best = choose(problem, get<Preference>(preference));
    results[0] = {.algo = std::bit_cast<cublasLtMatmulAlgo_t>(best),
                  .workspaceSize = best.workspace,
                  .state = CUBLAS_STATUS_SUCCESS,
                  .wavesCount = 1,
                  .reserved = {}};
    *found = 1;
  });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  return guarded([&] {
    HG_CHECK(check_caller() == cudaSuccess, "a host function calls cuBLASLt");
    HG_CHECK(get<Library>(handle).device == current_device(),
             "a handle of device {} is used on device {}", get<Library>(handle).device,
             current_device());
    const Problem problem = problem_of(operation, a_layout, b_layout, c_layout, d_layout);
    HG_CHECK(algo != nullptr, "no algorithm is given: the simulation chooses none by itself");
    const auto its = std::bit_cast<Algorithm>(*algo);
    HG_CHECK(its.problem == problem.hash(), "the algorithm was chosen for another product");
    check_operand("A", a, problem.a, its.alignments[0]);
    check_operand("B", b, problem.b, its.alignments[1]);
    check_operand("C", c, problem.c, its.alignments[2]);
    check_operand("D", d, problem.d, its.alignments[3]);
    HG_CHECK(workspace_bytes >= its.workspace && (workspace != nullptr || its.workspace == 0),
             "a workspace of {} bytes, where the algorithm takes {}", workspace_bytes,
             its.workspace);
    // The library wants it of any pointer, also where the algorithm takes no workspace.
    HG_CHECK(reinterpret_cast<std::uintptr_t>(workspace) % 256 == 0,
             "the workspace is at {}, expected a multiple of 256", workspace);
    const auto kind = machine().memory.kind_of(workspace, its.workspace);
    HG_CHECK(kind != MemoryKind::pinned, "the workspace is in pinned memory");
    stream = device().stream_of(stream);
    HG_CHECK(check_capture(stream) == cudaSuccess, "what the stream records is invalid");
    Operands operands{
        .kind = "product",
        .values = {bytes_of(d), bytes_of(a), bytes_of(b), bytes_of(c), bytes_of(problem.hash()),
                   bytes_of(problem.operation.scaling_a.scales),
                   bytes_of(problem.operation.scaling_b.scales), bytes_of(workspace),
                   bytes_of(*static_cast<const float*>(alpha)),
                   bytes_of(*static_cast<const float*>(beta))}};
    device().enqueue(
        stream,
        [d = stored(d, problem.d), alpha = *static_cast<const float*>(alpha),
         a = stored(a, problem.a, problem.operation.transpose_a, problem.operation.scaling_a),
         b = stored(b, problem.b, problem.operation.transpose_b, problem.operation.scaling_b),
         beta = *static_cast<const float*>(beta), c = stored(c, problem.c),
         room = its.workspace > 0 ? static_cast<float*>(workspace) : nullptr] {
          multiply(d, alpha, a, b, beta, c, room);
          return true;
        },
        {}, std::move(operands));
  });
}
}
