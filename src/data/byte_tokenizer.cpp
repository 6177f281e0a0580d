#include "data/byte_tokenizer.h"

#include "core/check.h"

namespace hg {

std::vector<std::int32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) ids[i] = static_cast<unsigned char>(text[i]);
  return ids;
}

std::string ByteTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int32_t id : ids) {
    HG_CHECK(id >= 0 && id <= kEod, "token id {} is not in the vocabulary of {} ids", id, kEod + 1);
    if (id != kEod) text.push_back(static_cast<char>(id));
  }
  return text;
}

}  // namespace hg
