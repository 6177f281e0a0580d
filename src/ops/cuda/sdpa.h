// Which attention cuDNN computes, and by which plan; the rest is for our own kernel.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/context.h"
#include "cuda/cudnn.h"
#include "ops/attention.h"

namespace hg {

/// A plan, and the shape that it was made for; none if our own kernel is to compute.
struct SdpaChoice {
  const CudnnPlan* plan = nullptr;
  SdpaShape shape{};
};

/// Bytes that a plan's operands take beyond those of the op: what has another layout there.
std::int64_t sdpa_buffer_bytes(const SdpaShape& shape, bool backward);

/// The choices of a Context, made once for each shape and logged then. cuDNN is opened when the
/// first op comes that it may compute, for the device that is current then.
class Sdpa {
 public:
  /// `wish` is what HEADGATE_ATTENTION says (docs/cuda.md), or nothing. Throws if it is none of
  /// what it may be.
  explicit Sdpa(const std::string& wish);

  /// The op's scratch has `room` bytes for cuDNN.
  SdpaChoice choose(const AttentionForward& op, std::int64_t room);
  SdpaChoice choose(const AttentionBackward& op, std::int64_t room);

 private:
  struct Key {
    bool backward;
    SdpaShape shape;
    auto operator<=>(const Key&) const = default;
  };
  template <class Op>
  SdpaChoice choose(const Op& op, bool backward, std::int64_t room);
  std::unique_ptr<CudnnPlan> plan(const Key& key, std::int64_t room);
  void open();
  SdpaChoice own_kernel(std::string_view op, const std::string& why);

  bool own_, deterministic_;
  std::unique_ptr<Cudnn> cudnn_;
  std::string no_cudnn_;                             // why not
  std::map<Key, std::unique_ptr<CudnnPlan>> plans_;  // null where there is none
  std::set<std::string> said_;
};

/// The context's Sdpa, made on demand.
Sdpa& sdpa(Context& ctx);

/// The shape of an op's documents for cuDNN: documents of one length, or at least as many of at
/// least the length, by powers of two, so that few plans serve many batches.
SdpaShape sdpa_shape(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v,
                     const ConstTensor& documents, std::int64_t longest, bool deterministic);

}  // namespace hg
