#include "cuda_sim/cublas_lt_problem.h"

#include <utility>

namespace cuda_sim {
namespace {

/// Those rows of the documentation's table that the simulation computes.
void check_types(const Problem& p) {
  const bool f32 = p.a.type == CUDA_R_32F && p.b.type == CUDA_R_32F && p.d.type == CUDA_R_32F;
  const bool bf16 = p.a.type == CUDA_R_16BF && p.b.type == CUDA_R_16BF &&
                    (p.d.type == CUDA_R_16BF || p.d.type == CUDA_R_32F);
  const bool computes =
      p.operation.compute == CUBLAS_COMPUTE_32F && p.operation.scale == CUDA_R_32F;
  if (computes && p.c.type == p.d.type && (f32 || bf16)) return;
  throw Unsupported(
      fmt::format("no product of A {}, B {}, C {}, D {} with compute type {} and scale type {}",
                  int(p.a.type), int(p.b.type), int(p.c.type), int(p.d.type),
                  int(p.operation.compute), int(p.operation.scale)));
}

}  // namespace

void Problem::check() const {
  check_types(*this);
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
