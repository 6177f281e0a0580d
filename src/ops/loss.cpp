#include "ops/loss.h"

#include "ops/cpu/isa.h"

namespace hg {
namespace {

void check_logits(std::string_view name, const ConstTensor& logits, const ConstTensor& targets) {
  HG_CHECK(logits.rank() == 2 && logits.dtype() != DType::i32 && logits.contiguous(),
           "{}: operand 'logits' is {} {}, expected a contiguous matrix of f32 or bf16", name,
           name_of(logits.dtype()), logits.shape().to_string());
  check_tensor(name, "targets", targets, {logits.dim(0)}, DType::i32);
}

void check_results(std::string_view name, std::int64_t rows, const Tensor& loss,
                   const Tensor& lse) {
  check_tensor(name, "loss", loss, {rows}, DType::f32);
  check_tensor(name, "lse", lse, {rows}, DType::f32);
}

void check_first(std::string_view name, std::int64_t first) {
  HG_CHECK(first >= 0, "{}: the first column is token {}, expected 0 or more", name, first);
}

}  // namespace

void CrossEntropy::check() const {
  check_logits(name, logits, targets);
  check_results(name, logits.dim(0), loss, lse);
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

void CrossEntropyPart::check() const {
  check_logits(name, logits, targets);
  check_first(name, first);
  check_contiguous(name, "part", part, {logits.dim(0), kParts}, DType::f32);
}

Cost CrossEntropyPart::cost() const {
  return {.flops = 3.0 * static_cast<double>(logits.numel()),
          .bytes = static_cast<double>(logits.bytes() + part.bytes())};
}

void CrossEntropyPart::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void CrossEntropyJoin::check() const {
  check_logits(name, logits, targets);
  check_first(name, first);
  check_results(name, logits.dim(0), loss, lse);
  check_contiguous(name, "parts", parts, {parts.dim(0), logits.dim(0), CrossEntropyPart::kParts},
                   DType::f32);
  HG_CHECK(parts.dim(0) > 0, "{}: operand 'parts' holds no rank's, expected one or more", name);
}

Cost CrossEntropyJoin::cost() const {
  return {.flops = backward ? 3.0 * static_cast<double>(logits.numel()) : 0.0,
          .bytes = static_cast<double>(parts.bytes() + (backward ? 2 * logits.bytes() : 0))};
}

void CrossEntropyJoin::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
