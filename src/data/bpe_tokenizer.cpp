#include "data/bpe_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/check.h"

namespace hg {
namespace {

/// Names that models give to the end of a document, most telling first.
constexpr std::array<std::string_view, 7> kEodNames = {
    "<|endoftext|>", "<|end_of_text|>",      "<|eod|>", "<|eos|>", "</s>",
    "<eos>",         "<｜end▁of▁sentence｜>"};

std::int32_t find_eod(const BpeDefinition& definition, const std::string& name) {
  for (const std::string_view candidate : kEodNames) {
    const auto found = std::ranges::find(definition.added_tokens, candidate, &AddedToken::content);
    if (found != definition.added_tokens.end()) return found->id;
  }
  fail("{}: none of added_tokens ends a document; expected one of {}", name,
       fmt::join(kEodNames, ", "));
}

std::array<std::int32_t, 256> find_bytes(const BpeDefinition& definition, const std::string& name) {
  std::array<std::int32_t, 256> ids;
  ids.fill(-1);
  for (std::size_t id = 0; id < definition.vocabulary.size(); ++id) {
    const std::string& token = definition.vocabulary[id];
    if (token.size() == 1)
      ids[static_cast<unsigned char>(token[0])] = static_cast<std::int32_t>(id);
  }
  const auto missing = std::ranges::find(ids, -1);
  HG_CHECK(missing == ids.end(), "{}: model.vocab has no token for the byte 0x{:02x}", name,
           missing - ids.begin());
  return ids;
}

std::vector<std::string> all_tokens(const BpeDefinition& definition) {
  std::vector<std::string> tokens = definition.vocabulary;
  for (const AddedToken& token : definition.added_tokens) {
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= tokens.size()) tokens.resize(id + 1);
    tokens[id] = token.content;
  }
  return tokens;
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeDefinition definition, const std::string& name)
    : pretokenizer_(definition),
      merges_(definition.merges),
      byte_ids_(find_bytes(definition, name)),
      tokens_(all_tokens(definition)),
      eod_(find_eod(definition, name)),
      fingerprint_(hg::fingerprint(definition)) {
  if (!definition.ignore_merges) return;
  for (std::size_t id = 0; id < definition.vocabulary.size(); ++id) {
    if (!definition.vocabulary[id].empty())
      whole_words_[tokens_[id]] = static_cast<std::int32_t>(id);
  }
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  HG_CHECK(text.size() <= std::numeric_limits<std::int32_t>::max(),
           "a text of {} bytes is too long to encode in one piece; the limit is 2 GiB",
           text.size());
  check_utf8(text);
  std::vector<std::int32_t> out;
  out.reserve(text.size() / 4 + 4);
  auto scratch = take_scratch();
  pretokenizer_.split(
      text, scratch->pretokenizer, [&](std::string_view word) { encode_word(word, *scratch, out); },
      [&](std::int32_t id) { out.push_back(id); });
  give_back(std::move(scratch));
  return out;
}

void BpeTokenizer::encode_word(std::string_view word, Scratch& scratch,
                               std::vector<std::int32_t>& out) const {
  const std::uint64_t hash = WordCache::hash(word);
  const auto known = scratch.cache.find(word, hash);
  if (!known.empty()) {
    out.insert(out.end(), known.begin(), known.end());
    return;
  }
  auto& ids = scratch.ids;
  ids.clear();
  if (const auto whole = whole_words_.find(word); whole != whole_words_.end()) {
    ids.push_back(whole->second);
  } else {
    for (const char byte : word) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    scratch.merger.merge(merges_, ids);
  }
  scratch.cache.store(word, hash, ids);
  out.insert(out.end(), ids.begin(), ids.end());
}

std::string BpeTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    HG_CHECK(id >= 0 && id < vocab_size() && !tokens_[static_cast<std::size_t>(id)].empty(),
             "token id {} is not in the vocabulary of {} ids", id, vocab_size());
    text += tokens_[static_cast<std::size_t>(id)];
  }
  return text;
}

std::unique_ptr<BpeTokenizer::Scratch> BpeTokenizer::take_scratch() const {
  {
    const std::scoped_lock lock(mutex_);
    if (!pool_.empty()) {
      auto scratch = std::move(pool_.back());
      pool_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>(Scratch{pretokenizer_.new_scratch(), {}, {}, {}});
}

void BpeTokenizer::give_back(std::unique_ptr<Scratch> scratch) const {
  const std::scoped_lock lock(mutex_);
  pool_.push_back(std::move(scratch));
}

}  // namespace hg
