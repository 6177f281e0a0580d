#include "data/convert.h"

#include <cstring>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "core/file.h"

namespace hg {
namespace {

using token_format::element_bytes;
using token_format::load;
using token_format::Type;

constexpr std::size_t kHeaderBytes = 1024;
constexpr std::string_view kLlmqMagic = "BIN.TOK\n";

/// Where the ids of a shard are. u32 ids are read as i32: none is above 2^31 in any vocabulary.
struct Shard {
  MappedFile file;
  Type type;
  std::size_t begin;  // byte
  std::int64_t tokens = 0;
};

/// Type and number of tokens from a header; throws if there is none that is known.
Shard with_header(MappedFile file, const std::string& name) {
  const std::byte* header = file.bytes().data();
  HG_CHECK(file.bytes().size() >= kHeaderBytes, "{} has {} bytes, expected a header of {}", name,
           file.bytes().size(), kHeaderBytes);
  const auto word = [header](std::int64_t i) { return load<std::int32_t>(header, i); };
  Shard shard{.file = std::move(file), .type = Type::i32, .begin = kHeaderBytes};
  if (std::memcmp(header, kLlmqMagic.data(), kLlmqMagic.size()) == 0) {
    HG_CHECK(word(2) == 2 && word(3) == 4,
             "{} is LLMQ's version {} with {} bytes per token, expected 2 and 4", name, word(2),
             word(3));
    HG_CHECK(word(6) == 0, "{} holds loss masks, which token data cannot", name);
    shard.tokens = word(4);
  } else if ((word(0) == 20240520 && word(1) == 1) || (word(0) == 20240801 && word(1) == 7)) {
    shard.type = word(1) == 1 ? Type::u16 : Type::i32;
    shard.tokens = word(2);
  } else {
    fail("{} begins with {}, version {}: not a shard of llm.c or LLMQ", name, word(0), word(1));
  }
  return shard;
}

Shard open_shard(const std::filesystem::path& path, std::optional<Type> headerless) {
  MappedFile file(path);
  const auto size = static_cast<std::int64_t>(file.bytes().size());
  if (headerless) {
    HG_CHECK(size % element_bytes(*headerless) == 0, "{} has {} bytes, expected a multiple of {}",
             path.string(), size, element_bytes(*headerless));
    return {.file = std::move(file),
            .type = *headerless,
            .begin = 0,
            .tokens = size / element_bytes(*headerless)};
  }
  Shard shard = with_header(std::move(file), path.string());
  const std::int64_t expected =
      std::int64_t{kHeaderBytes} + shard.tokens * element_bytes(shard.type);
  HG_CHECK(shard.tokens >= 0 && size == expected,
           "{} has {} bytes, expected {} for the {} tokens of its header", path.string(), size,
           expected, shard.tokens);
  return shard;
}

}  // namespace

void convert(std::span<const std::filesystem::path> shards, const FlatShards& format,
             TokenWriter& out) {
  std::vector<std::int32_t> document;
  const auto end_document = [&] {
    if (!document.empty()) out.add_document(document);
    document.clear();
  };
  for (const std::filesystem::path& path : shards) {
    const Shard shard = open_shard(path, format.headerless);
    const std::byte* ids = shard.file.bytes().data() + shard.begin;
    token_format::with_type(shard.type, [&]<class T>(T) {
      for (std::int64_t i = 0; i < shard.tokens; ++i) {
        const std::int64_t id = load<T>(ids, i);
        HG_CHECK(id >= 0 && id < out.vocab_size(),
                 "{}: token {} is id {}, expected 0 to {} in a vocabulary of {}", path.string(), i,
                 id, out.vocab_size() - 1, out.vocab_size());
        const bool mark = id == format.mark_id;
        if (mark && format.mark == FlatShards::Mark::begins) end_document();
        document.push_back(static_cast<std::int32_t>(id));
        if (mark && format.mark == FlatShards::Mark::ends) end_document();
      }
    });
    if (format.mark == FlatShards::Mark::none) end_document();
  }
  end_document();
}

}  // namespace hg
