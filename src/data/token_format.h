// The layout of token data on disk: Megatron's indexed data set, little-endian. PREFIX.bin holds
// the ids of all documents end to end; PREFIX.idx says where sequences and documents begin:
//   0  magic   9  u64 version   17  u8 element type   18  u64 S   26  u64 D   34  i32 lengths[S],
//   i64 byte offsets into .bin [S], i64 bounds[D]: document d is sequences [bounds[d], bounds[d +
//   1])
// The arrays begin at an odd place, so they are only ever read through `load`.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/check.h"

namespace hg::token_format {

static_assert(std::endian::native == std::endian::little);

inline constexpr std::string_view kMagic{"MMIDIDX\0\0", 9};
inline constexpr std::uint64_t kVersion = 1;
inline constexpr std::size_t kHeaderBytes = 34;

/// The element types that can hold ids, by Megatron's code; 6 and 7 are floating point.
enum class Type : std::uint8_t { u8 = 1, i8 = 2, i16 = 3, i32 = 4, i64 = 5, u16 = 8 };

/// What Megatron chooses for a vocabulary.
constexpr Type type_for(std::int64_t vocab_size) {
  return vocab_size < 65500 ? Type::u16 : Type::i32;
}

/// Calls fn(T{}) with the C++ type of an element and returns what it returns.
template <class Fn>
decltype(auto) with_type(Type type, Fn&& fn) {
  switch (type) {
    case Type::u8:
      return fn(std::uint8_t{});
    case Type::i8:
      return fn(std::int8_t{});
    case Type::i16:
      return fn(std::int16_t{});
    case Type::i32:
      return fn(std::int32_t{});
    case Type::i64:
      return fn(std::int64_t{});
    case Type::u16:
      return fn(std::uint16_t{});
  }
  fail("token element type {} is unknown", static_cast<int>(type));
}

inline std::int64_t element_bytes(Type type) {
  return with_type(type, [](auto id) { return std::int64_t{sizeof(id)}; });
}

/// Element `index` of an array of T at any address.
template <class T>
T load(const std::byte* array, std::int64_t index = 0) {
  T value;
  std::memcpy(&value, array + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace hg::token_format
