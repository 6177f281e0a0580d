// cuBLASLt stores matrices column by column, where ours lie row by row. So it is asked for the
// transposed product C^T = B^T A^T: its first operand is our second.
#include "ops/cuda/lt_matmul.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>

#include "ops/linear.h"

namespace hg {
namespace {

void check(cublasStatus_t status, const LtProduct& p) {
  HG_CHECK(
      status == CUBLAS_STATUS_SUCCESS,
      "cuBLASLt cannot multiply [{}, {}] by [{}, {}], strides {}{} and {}{}, from {} and {} to {} "
      "with stride {}: {}",
      p.m, p.k, p.k, p.n, p.a_stride, p.a_transposed ? " transposed" : "", p.b_stride,
      p.b_transposed ? " transposed" : "", name_of(p.a_type), name_of(p.b_type), name_of(p.c_type),
      p.c_stride, cublasLtGetStatusString(status));
}

cudaDataType_t type_of(DType dtype) {
  if (dtype == DType::e4m3) return CUDA_R_8F_E4M3;
  if (dtype == DType::e5m2) return CUDA_R_8F_E5M2;
  return dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
}

cublasLtMatmulMatrixScale_t mode_of(Fp8Blocks blocks) {
  if (blocks == Fp8Blocks::rows) return CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
  if (blocks == Fp8Blocks::squares) return CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F;
  return CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F;
}

/// A descriptor of cuBLASLt's that is destroyed with this.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
class Descriptor {
 public:
  template <class Create, class... Arguments>
  Descriptor(const LtProduct& product, Create&& create, Arguments... arguments)
      : product_(product) {
    check(create(&handle_, arguments...), product);
  }
  ~Descriptor() { destroy(handle_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  template <class Attribute, class Value>
  void set(cublasStatus_t (*set_attribute)(Handle, Attribute, const void*, std::size_t),
           Attribute attribute, Value value) {
    check(set_attribute(handle_, attribute, &value, sizeof value), product_);
  }
  Handle get() const { return handle_; }

 private:
  const LtProduct& product_;
  Handle handle_ = nullptr;
};
using Operation = Descriptor<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Descriptor<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Descriptor<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

/// The largest power of two that divides an address, up to what cuBLASLt asks about.
std::uint32_t alignment_of(const void* pointer) {
  constexpr std::uintptr_t kMost = 256;
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | kMost;
  return static_cast<std::uint32_t>(address & -address);
}

/// All that the choice of an algorithm depends on: the alignments are those of A, B and C.
struct Key {
  LtProduct product;
  std::array<std::uint32_t, 3> alignments;

  auto operator<=>(const Key&) const = default;
};

/// A matrix as it is stored, `columns` end to end, seen column by column.
Layout layout(const LtProduct& p, DType dtype, std::int64_t rows, std::int64_t columns,
              bool transposed, std::int64_t stride) {
  if (transposed) std::swap(rows, columns);
  return {p,
          cublasLtMatrixLayoutCreate,
          type_of(dtype),
          static_cast<std::uint64_t>(columns),
          static_cast<std::uint64_t>(rows),
          stride};
}

/// A product as cuBLASLt knows it, and how it does it.
class Plan {
 public:
  Plan(cublasLtHandle_t library, const Key& key, const LtOperands& its)
      : product_(key.product),
        operation_(product_, cublasLtMatmulDescCreate, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        a_(layout(product_, product_.a_type, product_.m, product_.k, product_.a_transposed,
                  product_.a_stride)),
        b_(layout(product_, product_.b_type, product_.k, product_.n, product_.b_transposed,
                  product_.b_stride)),
        c_(layout(product_, product_.c_type, product_.m, product_.n, false, product_.c_stride)) {
    const auto transpose = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    operation_.set(cublasLtMatmulDescSetAttribute, CUBLASLT_MATMUL_DESC_TRANSA,
                   transpose(product_.b_transposed));
    operation_.set(cublasLtMatmulDescSetAttribute, CUBLASLT_MATMUL_DESC_TRANSB,
                   transpose(product_.a_transposed));
    if (scaled()) {
      operation_.set(cublasLtMatmulDescSetAttribute, CUBLASLT_MATMUL_DESC_A_SCALE_MODE,
                     static_cast<std::int32_t>(mode_of(product_.b_blocks)));
      operation_.set(cublasLtMatmulDescSetAttribute, CUBLASLT_MATMUL_DESC_B_SCALE_MODE,
                     static_cast<std::int32_t>(mode_of(product_.a_blocks)));
    }
    point_to_scales(its);  // without them the library may choose what knows no scales, or nothing
    choose_algorithm(library, key.alignments);
  }

  void run(cublasLtHandle_t library, const LtOperands& its, void* workspace, cudaStream_t stream) {
    point_to_scales(its);
    const float alpha = 1, beta = product_.accumulate ? 1 : 0;
    check(cublasLtMatmul(library, operation_.get(), &alpha, its.b, b_.get(), its.a, a_.get(), &beta,
                         its.c, c_.get(), its.c, c_.get(), &algorithm_, workspace,
                         kCublasLtWorkspace, stream),
          product_);
  }

 private:
  /// The library holds scales to be of FP8 alone. Its own sums are in f32 all through: fast
  /// accumulation, which is not, is off by default.
  bool scaled() const { return is_fp8(product_.a_type); }
  void point_to_scales(const LtOperands& its) {
    if (!scaled()) return;
    operation_.set(cublasLtMatmulDescSetAttribute, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
                   static_cast<const void*>(its.b_scales));
    operation_.set(cublasLtMatmulDescSetAttribute, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
                   static_cast<const void*>(its.a_scales));
  }
  /// Terms that are summed apart are summed up in f32, in a fixed order: a reduction in the
  /// output's type would round in between.
  void choose_algorithm(cublasLtHandle_t library, const std::array<std::uint32_t, 3>& alignments) {
    Preference preference(product_, cublasLtMatmulPreferenceCreate);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      preference.set(cublasLtMatmulPreferenceSetAttribute, attribute, value);
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
           static_cast<std::uint64_t>(kCublasLtWorkspace));
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments[1]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments[0]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments[2]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments[2]);
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    check(cublasLtMatmulAlgoGetHeuristic(library, operation_.get(), b_.get(), a_.get(), c_.get(),
                                         c_.get(), preference.get(), 1, &best, &found),
          product_);
    check(found == 1 ? best.state : CUBLAS_STATUS_NOT_SUPPORTED, product_);
    algorithm_ = best.algo;
  }

  LtProduct product_;
  Operation operation_;
  Layout a_, b_, c_;
  cublasLtMatmulAlgo_t algorithm_{};
};

}  // namespace

struct CublasLt::State {
  cublasLtHandle_t library = nullptr;
  std::map<Key, Plan> plans;

  State() {
    const cublasStatus_t status = cublasLtCreate(&library);
    HG_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt does not start: {}",
             cublasLtGetStatusString(status));
  }
  ~State() {
    plans.clear();
    cublasLtDestroy(library);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

CublasLt::CublasLt() : state_(std::make_unique<State>()) {}
CublasLt::~CublasLt() = default;

void CublasLt::run(const LtProduct& product, const LtOperands& its, void* workspace,
                   cudaStream_t stream) {
  const Key key{product, {alignment_of(its.a), alignment_of(its.b), alignment_of(its.c)}};
  auto plan = state_->plans.find(key);
  if (plan == state_->plans.end()) {
    plan = state_->plans
               .emplace(std::piecewise_construct, std::forward_as_tuple(key),
                        std::forward_as_tuple(state_->library, key, its))
               .first;
  }
  plan->second.run(state_->library, its, workspace, stream);
}

CublasLt& cublas_lt(Context& ctx) {
  if (!ctx.cublas_lt) ctx.cublas_lt = std::make_shared<CublasLt>();
  return *ctx.cublas_lt;
}

}  // namespace hg
