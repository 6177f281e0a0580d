// Which tokens the n-th sample of a run is: a pure function, so that one integer is the whole
// state.
#pragma once

#include <cstdint>

#include "data/token_file.h"

namespace hg {

/// `count` tokens from `begin`, each with the token after it as its target.
struct Window {
  std::int64_t begin, count;
  bool operator==(const Window&) const = default;
};

enum class SampleOrder {
  random,      ///< endless epochs, each cut anew and in another order; every target exists
  sequential,  ///< from the first token to the last whole window, once: for validation
};

/// Cuts the stream of a file's tokens into windows of `seq_len`. Each random epoch begins at
/// another place in [0, seq_len), so that the cuts fall elsewhere, and visits each of its windows
/// once. The number of windows is the same in every epoch; at most 2 seq_len tokens at the ends are
/// left out.
class Sampler {
 public:
  /// Throws if the file holds fewer than seq_len + 1 tokens.
  Sampler(const TokenFile& file, std::int64_t seq_len, std::uint64_t seed, SampleOrder order);

  /// Throws if a sequential order has no such sample.
  Window operator()(std::int64_t sample) const;
  std::int64_t windows_per_epoch() const { return windows_; }
  /// How many samples there are: the windows of a sequential order; of a random one, no end of
  /// them.
  std::int64_t samples() const;

 private:
  std::int64_t seq_len_, windows_, shifts_;  // an epoch begins at a token in [0, shifts_)
  std::uint64_t seed_;
  SampleOrder order_;
};

}  // namespace hg
