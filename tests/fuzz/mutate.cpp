#include "fuzz/mutate.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace hg::fuzz {
namespace {

std::size_t below(std::size_t n, std::mt19937& random) { return n == 0 ? 0 : random() % n; }

/// Numbers at which arithmetic goes wrong.
std::uint64_t edge(std::mt19937& random) {
  constexpr std::uint64_t kEdges[] = {
      0,          1,         2,          0x7f,       0xff,
      0x7fff,     0xffff,    0x7fffffff, 0x80000000, 0xffffffff,
      1ULL << 40, INT64_MAX, 1ULL << 63, UINT64_MAX, UINT64_MAX - 7};
  return kEdges[below(std::size(kEdges), random)];
}

void change(std::string& text, const std::string& other, std::mt19937& random) {
  const std::size_t at = below(text.size() + 1, random);
  const std::size_t left = text.size() - at;
  switch (random() % 9) {
    case 0:  // a bit
      if (left > 0) text[at] = static_cast<char>(text[at] ^ (1 << random() % 8));
      break;
    case 1:  // a byte
      if (left > 0) text[at] = static_cast<char>(random());
      break;
    case 2: {  // a little-endian number, of 4 or 8 bytes
      const std::uint64_t value = edge(random);
      const std::size_t size = random() % 2 ? 4 : 8;
      if (left >= size) std::memcpy(text.data() + at, &value, size);
      break;
    }
    case 3:  // cut short
      text.resize(at);
      break;
    case 4:  // a piece less
      text.erase(at, 1 + below(std::min<std::size_t>(left, 64), random));
      break;
    case 5:  // a piece twice
      text.insert(at, text.substr(at, 1 + below(std::min<std::size_t>(left, 64), random)));
      break;
    case 6:  // a piece of another
      text.insert(at, other.substr(below(other.size() + 1, random), 1 + random() % 64));
      break;
    case 7: {  // another number where there are digits
      const auto digit = std::find_if(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(),
                                      [](char c) { return '0' <= c && c <= '9'; });
      if (digit == text.end()) break;
      const auto end = std::find_if(digit, text.end(), [](char c) { return c < '0' || c > '9'; });
      std::string number = std::to_string(edge(random));
      if (random() % 3 == 0) number.insert(0, "-");
      text.replace(digit, end, number);
      break;
    }
    default: {  // what structure is made of
      constexpr std::string_view kMarks = "{}[]\",:\\\n -#&*!|>%@`\t\0";
      text.insert(at, 1, kMarks[below(kMarks.size(), random)]);
    }
  }
}

}  // namespace

std::string mutate(const std::vector<std::string>& seeds, std::mt19937& random) {
  std::string text = seeds[below(seeds.size(), random)];
  const std::size_t changes = 1 + random() % 4;
  for (std::size_t i = 0; i < changes; ++i)
    change(text, seeds[below(seeds.size(), random)], random);
  return text;
}

}  // namespace hg::fuzz
