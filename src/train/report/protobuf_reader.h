// Reading protobuf's wire format: fields of a message one after another, whatever they mean.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/check.h"

namespace hg {

/// A field's value: `number` of a varint; `bytes` of anything else, a fixed number's included.
struct ProtobufValue {
  std::uint64_t number = 0;
  std::string_view bytes = {};
};

/// A number as it lies in memory; throws unless there are just that many bytes.
template <class T>
T read_bytes(std::string_view bytes) {
  HG_CHECK(bytes.size() == sizeof(T), "a protobuf field of {} bytes, expected {}", bytes.size(),
           sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// Takes the first varint off `bytes`.
inline std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    HG_CHECK(!bytes.empty(), "a protobuf message ends within a number");
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail("a number of more than 10 bytes in a protobuf message");
}

/// Calls f(field, value) for each field of a message.
void for_each_field(std::string_view message, auto&& f) {
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    const int field = static_cast<int>(key >> 3);
    ProtobufValue value;
    const auto take = [&](std::uint64_t size) {
      HG_CHECK(size <= message.size(), "a protobuf field of {} bytes, of which there are {}", size,
               message.size());
      value.bytes = message.substr(0, size);
      message.remove_prefix(size);
    };
    switch (key & 7) {
      case 0:
        value.number = take_varint(message);
        break;
      case 1:
        take(8);
        break;
      case 2:
        take(take_varint(message));
        break;
      case 5:
        take(4);
        break;
      default:
        fail("a protobuf field of type {}, expected 0, 1, 2 or 5", key & 7);
    }
    f(field, value);
  }
}

}  // namespace hg
