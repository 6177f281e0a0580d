#include "ops/loss.h"

#include "ops/cpu/isa.h"

namespace hg {

void CrossEntropy::check() const {
  HG_CHECK(logits.rank() == 2 && logits.dtype() != DType::i32 && logits.contiguous(),
           "{}: operand 'logits' is {} {}, expected a contiguous matrix of f32 or bf16", name,
           name_of(logits.dtype()), logits.shape().to_string());
  const Shape rows{logits.dim(0)};
  check_tensor("cross_entropy", "loss", loss, rows, DType::f32);
  check_tensor("cross_entropy", "lse", lse, rows, DType::f32);
  check_tensor("cross_entropy", "targets", targets, rows, DType::i32);
}

Cost CrossEntropy::cost() const {
  return {.flops = (backward ? 6.0 : 3.0) * static_cast<double>(logits.numel()),
          .bytes = (backward ? 2.0 : 1.0) * static_cast<double>(logits.bytes())};
}

void CrossEntropy::cpu(Context& ctx) const {
  const auto* target = targets.as<std::int32_t>();
  for (std::int64_t t = 0; t < targets.dim(0); ++t) {
    HG_CHECK(target[t] < logits.dim(1),
             "{}: the target of row {} is token {}, expected one below {}", name, t, target[t],
             logits.dim(1));
  }
  dispatch_cpu(*this, ctx);
}

}  // namespace hg
