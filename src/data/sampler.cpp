#include "data/sampler.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "core/random.h"

namespace hg {

Sampler::Sampler(const TokenFile& file, std::int64_t seq_len, std::uint64_t seed, SampleOrder order)
    : seq_len_(seq_len), windows_(0), shifts_(1), seed_(seed), order_(order) {
  HG_CHECK(seq_len > 0, "samples of {} tokens", seq_len);
  HG_CHECK(file.tokens() > seq_len,
           "{}.bin holds {} tokens, expected at least {}: a sample of {} and one more target",
           file.prefix(), file.tokens(), seq_len + 1, seq_len);
  if (order == SampleOrder::sequential) {
    windows_ = file.tokens() / seq_len;
    return;
  }
  // One window fewer than fit leaves room for any shift, unless there is only one.
  const std::int64_t targets = file.tokens() - 1;
  windows_ = std::max<std::int64_t>(1, targets / seq_len - 1);
  shifts_ = std::min(seq_len, targets - windows_ * seq_len + 1);
}

std::int64_t Sampler::samples() const {
  return order_ == SampleOrder::sequential ? windows_ : std::numeric_limits<std::int64_t>::max();
}

Window Sampler::operator()(std::int64_t sample) const {
  HG_CHECK(sample >= 0 && sample < samples(), "sample {} of {}", sample, samples());
  if (order_ == SampleOrder::sequential) return {.begin = sample * seq_len_, .count = seq_len_};
  const auto epoch = static_cast<std::uint64_t>(sample / windows_);
  const auto index = static_cast<std::uint64_t>(sample % windows_);
  const std::uint64_t shift =
      RandomStream(seed_, "data.shift").bits(epoch) % static_cast<std::uint64_t>(shifts_);
  const std::uint64_t order_seed = RandomStream(seed_, "data.order").bits(epoch);
  const RandomPermutation order(order_seed, "data.order", static_cast<std::uint64_t>(windows_));
  return {.begin = static_cast<std::int64_t>(shift +
                                             order(index) * static_cast<std::uint64_t>(seq_len_)),
          .count = seq_len_};
}

}  // namespace hg
