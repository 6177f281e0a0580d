#include "cuda_sim/cublas_lt_problem.h"

#include <utility>

namespace cuda_sim {
namespace {

bool one_of(cudaDataType_t type, cudaDataType_t first, cudaDataType_t second) {
  return type == first || type == second;
}

/// Those rows of the documentation's table that the simulation computes.
void check_types(const Problem& p) {
  const bool f32 = p.a.type == CUDA_R_32F && p.b.type == CUDA_R_32F && p.d.type == CUDA_R_32F;
  const bool to = one_of(p.d.type, CUDA_R_16BF, CUDA_R_32F);
  const bool bf16 = p.a.type == CUDA_R_16BF && p.b.type == CUDA_R_16BF && to;
  const bool fp8 = is_fp8(p.a.type) && is_fp8(p.b.type) && to &&
                   (p.a.type == CUDA_R_8F_E4M3 || p.b.type == CUDA_R_8F_E4M3);
  const bool computes =
      p.operation.compute == CUBLAS_COMPUTE_32F && p.operation.scale == CUDA_R_32F;
  if (computes && p.c.type == p.d.type && (f32 || bf16 || fp8)) return;
  throw Unsupported(
      fmt::format("no product of A {}, B {}, C {}, D {} with compute type {} and scale type {}",
                  int(p.a.type), int(p.b.type), int(p.c.type), int(p.d.type),
                  int(p.operation.compute), int(p.operation.scale)));
}

/// What "cublasLtMatmul" of the documentation wants of FP8: sm_89, the first operand transposed and
/// the second not, 16 bytes wherever a column or a matrix ends; and of blocks with a scale each,
/// which sm_90 has, that not both operands have square ones.
void check_fp8(const Problem& p, int architecture) {
  const Operation& its = p.operation;
  constexpr std::int32_t kScalar = CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F,
                         kVectors = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F,
                         kSquares = CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F;
  const std::int32_t a = its.scaling_a.mode, b = its.scaling_b.mode;
  if (!is_fp8(p.a.type)) {
    const bool scaled = its.scaling_a.scales != nullptr || its.scaling_b.scales != nullptr;
    HG_CHECK(!scaled && a == kScalar && b == kScalar, "scales are given to what is not FP8");
    return;
  }
  if (architecture < 89) throw Unsupported(fmt::format("no FP8 on sm_{}", architecture));
  if (its.transpose_a != CUBLAS_OP_T || its.transpose_b != CUBLAS_OP_N)
    throw Unsupported("FP8 takes A transposed and B as it lies, no other format");
  for (const auto& [name, layout] : {std::pair{"A", p.a}, {"B", p.b}, {"C", p.c}, {"D", p.d}}) {
    const std::uint64_t column = layout.rows * layout.element();
    const std::uint64_t apart = static_cast<std::uint64_t>(layout.stride) * layout.element();
    if (column % 16 == 0 && apart % 16 == 0) continue;
    throw Unsupported(
        fmt::format("columns of {} have {} bytes and lie {} apart, for FP8 expected "
                    "multiples of 16",
                    name, column, apart));
  }
  if (a == kScalar && b == kScalar) return;
  const bool pair = (a == kVectors || a == kSquares) && (b == kVectors || b == kSquares);
  if (!pair || (a == kSquares && b == kSquares))
    throw Unsupported(fmt::format("scale modes {} and {} do not go together", a, b));
  if (architecture != 90)
    throw Unsupported(fmt::format("blocks of 128 have no scales on sm_{}", architecture));
}

}  // namespace

void Problem::check(int architecture) const {
  check_types(*this);
  check_fp8(*this, architecture);
  for (const auto& [name, its] : {std::pair{"A", a}, {"B", b}, {"C", c}, {"D", d}}) {
    HG_CHECK(its.rows > 0 && its.columns > 0, "{} is {} x {}, expected elements", name, its.rows,
             its.columns);
    HG_CHECK(its.stride >= 0 && static_cast<std::uint64_t>(its.stride) >= its.rows,
             "{} has columns of {} elements, {} apart", name, its.rows, its.stride);
  }
  const bool flip_a = operation.transpose_a != CUBLAS_OP_N;
  const bool flip_b = operation.transpose_b != CUBLAS_OP_N;
  HG_CHECK((flip_a ? a.columns : a.rows) == d.rows && (flip_b ? b.rows : b.columns) == d.columns &&
               terms() == (flip_b ? b.columns : b.rows) && c.rows == d.rows &&
               c.columns == d.columns,
           "A {} x {}{} by B {} x {}{} makes neither C {} x {} nor D {} x {}", a.rows, a.columns,
           flip_a ? " transposed" : "", b.rows, b.columns, flip_b ? " transposed" : "", c.rows,
           c.columns, d.rows, d.columns);
}

std::uint64_t Problem::hash() const {
  std::uint64_t hash = 14695981039346656037U;
  const auto add = [&](auto value) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 1099511628211U;
  };
  add(operation.transpose_a), add(operation.transpose_b);
  add(operation.scaling_a.mode), add(operation.scaling_b.mode);
  for (const Layout& its : {a, b, c, d})
    add(its.type), add(its.rows), add(its.columns), add(its.stride);
  return hash;
}

Algorithm choose(const Problem& problem, const Preference& preference) {
  const std::uint64_t room = 2 * sizeof(float) * problem.d.rows * problem.d.columns;
  const bool halves = problem.terms() >= 128 && problem.d.rows * problem.d.columns <= 65536 &&
                      room <= preference.workspace &&
                      (preference.reductions & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0;
  return {.problem = problem.hash(),
          .workspace = halves ? room : 0,
          .alignments = preference.alignments};
}

}  // namespace cuda_sim
