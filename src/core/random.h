// Counter-based random numbers: the value is a pure function of (seed, name, index), so that a
// parameter's initial values do not depend on how many ranks or threads there are.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace hg {

/// Philox 4x32-10 (Salmon et al., SC 2011): ten rounds on a 128-bit counter under a 64-bit key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t key);

/// 64-bit FNV-1a of a name: stable across builds and machines.
std::uint64_t hash_name(std::string_view name);

/// A stream of random numbers for one purpose, addressed by index.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name) : seed_(seed), stream_(hash_name(name)) {}

  std::uint64_t bits(std::uint64_t index) const;
  /// Uniform in [0, 1), 24 bits.
  float uniform(std::uint64_t index) const;
  /// Standard normal, by Box-Muller on two of the four words.
  float normal(std::uint64_t index) const;

 private:
  std::array<std::uint32_t, 4> block(std::uint64_t index) const;

  std::uint64_t seed_, stream_;
};

/// A permutation of [0, size) in O(1) memory: a four-round Feistel network on the next even number
/// of bits, walked until it lands inside (on average under four times).
class RandomPermutation {
 public:
  RandomPermutation(std::uint64_t seed, std::string_view name, std::uint64_t size);
  std::uint64_t operator()(std::uint64_t index) const;  ///< index < size
  std::uint64_t size() const { return size_; }

 private:
  RandomStream stream_;
  std::uint64_t size_;
  unsigned half_bits_;
};

}  // namespace hg
