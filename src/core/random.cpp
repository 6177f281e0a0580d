#include "core/random.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace hg {
namespace {

constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
constexpr std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

/// In [0, 1) from the upper 24 bits.
constexpr float unit(std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24F; }

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t key) {
  std::uint32_t k0 = low(key), k1 = high(key);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {high(p1) ^ counter[1] ^ k0, low(p1), high(p0) ^ counter[3] ^ k1, low(p0)};
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return counter;
}

std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

std::array<std::uint32_t, 4> RandomStream::block(std::uint64_t index) const {
  return philox({low(index), high(index), low(stream_), high(stream_)}, seed_);
}

std::uint64_t RandomStream::bits(std::uint64_t index) const {
  const auto words = block(index);
  return std::uint64_t{words[1]} << 32 | words[0];
}

float RandomStream::uniform(std::uint64_t index) const { return unit(block(index)[0]); }

float RandomStream::normal(std::uint64_t index) const {
  const auto words = block(index);
  const float radius =
      std::sqrt(-2.0F * std::log(1.0F - unit(words[0])));  // the log's argument is never 0
  return radius * std::cos(2.0F * std::numbers::pi_v<float> * unit(words[1]));
}

RandomPermutation::RandomPermutation(std::uint64_t seed, std::string_view name, std::uint64_t size)
    : stream_(seed, name), size_(size), half_bits_(0) {
  HG_CHECK(size > 0, "a permutation of nothing");
  half_bits_ = (static_cast<unsigned>(std::bit_width(size - 1)) + 1) / 2;
}

std::uint64_t RandomPermutation::operator()(std::uint64_t index) const {
  HG_CHECK(index < size_, "index {} of a permutation of {}", index, size_);
  if (size_ == 1) return 0;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  do {
    std::uint64_t left = index >> half_bits_, right = index & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (stream_.bits(right << 2 | round) & mask);
      left = right;
      right = next;
    }
    index = left << half_bits_ | right;
  } while (index >= size_);
  return index;
}

}  // namespace hg
