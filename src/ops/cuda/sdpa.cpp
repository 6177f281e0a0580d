#include "ops/cuda/sdpa.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>

#include "core/log.h"

namespace hg {
namespace {

std::int64_t power_of_two(std::int64_t at_least) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(at_least)));
}

bool on_16_bytes(const ConstTensor& x) {
  return reinterpret_cast<std::uintptr_t>(x.data()) % 16 == 0;
}

/// Rows [T, heads, 1, D] as graphs have them.
bool fits(const ConstTensor& rows) {
  return on_16_bytes(rows) && rows.stride(0) % 8 == 0 && rows.stride(1) == rows.dim(3);
}

bool aligned(const AttentionForward& op) {
  return on_16_bytes(op.q) && on_16_bytes(op.o) && on_16_bytes(op.lse);
}
bool aligned(const AttentionBackward& op) {
  return on_16_bytes(op.q) && on_16_bytes(op.o) && on_16_bytes(op.lse) && on_16_bytes(op.d_o) &&
         on_16_bytes(op.dq);
}

/// Why an op is none for cuDNN, whatever the device; null if it may be.
template <class Op>
const char* hindrance(const Op& op) {
  if (op.keys) return "queries are of a part of the micro-batch's tokens";
  if (op.q.dtype() != DType::bf16) return "cuDNN's is for bf16";
  if (op.q.dim(3) % 8 != 0) return "cuDNN's heads have a multiple of 8 elements";
  if (op.longest < 2) return "no document has two tokens";
  if (!aligned(op) || !fits(op.k) || !fits(op.v))
    return "cuDNN's rows begin at multiples of 16 bytes and have one head behind the other";
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const std::int64_t widest =
      std::max({op.q.dim(1) * op.q.dim(2) * op.q.dim(3), op.k.stride(0), op.v.stride(0)});
  if (op.q.dim(0) * widest > kMost) return "offsets of documents do not fit in 32 bits";
  return nullptr;
}

std::string words(const SdpaShape& s) {
  return fmt::format("{}{} documents of {}{} tokens, {} heads, {} of keys, of {}",
                     s.ragged ? "up to " : "", s.batch, s.ragged ? "up to " : "", s.length, s.heads,
                     s.kv_heads, s.d);
}

}  // namespace

SdpaShape sdpa_shape(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v,
                     const ConstTensor& documents, std::int64_t longest, bool deterministic) {
  const std::int64_t count = documents.dim(0) - 1, tokens = q.dim(0);
  // None is longer: if their sum needs it, all are as long.
  const bool alike = count == 1 || count * longest == tokens;
  return {.batch = alike ? count : power_of_two(count),
          .length = alike ? tokens / count : std::max<std::int64_t>(64, power_of_two(longest)),
          .heads = q.dim(1) * q.dim(2),
          .kv_heads = q.dim(1),
          .d = q.dim(3),
          .k_stride = k.stride(0),
          .v_stride = v.stride(0),
          .tokens = tokens,
          .ragged = !alike,
          .deterministic = deterministic};
}

std::int64_t sdpa_buffer_bytes(const SdpaShape& s, bool backward) {
  constexpr std::int64_t kPadding = 256;
  const std::int64_t rows = s.tokens * s.heads;
  std::int64_t bytes = 4 * rows + 6 * (4 * (s.batch + 1) + kPadding) + kPadding;  // stats, offsets
  if (!backward) return bytes;
  bytes += 4 * rows + 2 * s.tokens * s.kv_heads * s.d * 2 + 3 * kPadding;  // delta, dk, dv
  if (s.ragged && s.heads > s.kv_heads) bytes += 2 * rows * s.d * 2 + 2 * kPadding;
  if (!s.deterministic) bytes += rows * s.d * 4 + kPadding;
  return bytes;
}

Sdpa::Sdpa(const std::string& wish)
    : own_(wish == "own"), deterministic_(wish != "cudnn-unordered") {
  HG_CHECK(wish.empty() || own_ || !deterministic_ || wish == "cudnn",
           "HEADGATE_ATTENTION is {}, expected own, cudnn or cudnn-unordered", wish);
}

SdpaChoice Sdpa::choose(const AttentionForward& op, std::int64_t room) {
  return choose(op, false, room);
}
SdpaChoice Sdpa::choose(const AttentionBackward& op, std::int64_t room) {
  return choose(op, true, room);
}

template <class Op>
SdpaChoice Sdpa::choose(const Op& op, bool backward, std::int64_t room) {
  if (own_) return own_kernel(op.name, "HEADGATE_ATTENTION says so");
  if (const char* why = hindrance(op)) return own_kernel(op.name, why);
  open();
  if (!cudnn_) return own_kernel(op.name, no_cudnn_);
  const Key key{backward,
                sdpa_shape(op.q, op.k, op.v, op.documents, op.longest, backward && deterministic_)};
  auto known = plans_.find(key);
  if (known == plans_.end()) known = plans_.emplace(key, plan(key, room)).first;
  return {known->second.get(), key.shape};
}

void Sdpa::open() {
  if (cudnn_ || !no_cudnn_.empty()) return;
  try {
    cudnn_ = std::make_unique<Cudnn>();
  } catch (const Error& error) {
    no_cudnn_ = error.what();
  }
}

std::unique_ptr<CudnnPlan> Sdpa::plan(const Key& key, std::int64_t room) {
  const SdpaShape& shape = key.shape;
  const auto name = key.backward ? AttentionBackward::name : AttentionForward::name;
  try {
    HG_CHECK(!shape.ragged || cudnn_->architecture() >= 90,
             "documents differ in length, and the GPU is older than sm_90");
    auto made = std::make_unique<CudnnPlan>(
        cudnn_->plan(key.backward ? sdpa_backward_graph(shape) : sdpa_forward_graph(shape),
                     shape.deterministic, room - sdpa_buffer_bytes(shape, key.backward)));
    log_info("{} of {}: by cuDNN {}, with a workspace of {} bytes", name, words(shape),
             cudnn_->version(), made->workspace());
    return made;
  } catch (const Error& error) {
    own_kernel(fmt::format("{} of {}", name, words(shape)), error.what());
    return nullptr;
  }
}

SdpaChoice Sdpa::own_kernel(std::string_view op, const std::string& why) {
  // Said once, without making the sentence each time.
  if (said_.emplace(std::string(op) + why).second)
    log_info("{}: by headgate's own kernel: {}", op, why);
  return {};
}

Sdpa& sdpa(Context& ctx) {
  if (!ctx.sdpa) {
    const char* wish = std::getenv("HEADGATE_ATTENTION");
    ctx.sdpa = std::make_shared<Sdpa>(wish != nullptr ? wish : "");
  }
  return *ctx.sdpa;
}

}  // namespace hg
