#include "data/bpe_trainer.h"

#include <algorithm>

#include "core/check.h"
#include "core/parallel.h"
#include "data/bpe_pair_merging.h"
#include "data/byte_level.h"
#include "data/tokenizer_json.h"

namespace hg {
namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;

BpeDefinition untrained() {
  BpeDefinition definition;
  definition.nfc = true;
  definition.split_pattern = kQwenSplitPattern;
  for (const unsigned char byte : byte_level_order()) {
    definition.vocabulary.emplace_back(1, static_cast<char>(byte));
  }
  // Its id is not known before training, and counting words does not ask for it.
  definition.added_tokens = {
      {std::string(BpeTrainer::kEod), 0, /*special=*/true, /*normalized=*/false}};
  return definition;
}

bool ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Appends `text` in pieces of about kPieceBytes, so that threads share a long one. It is cut
/// between a line's end and a letter, where Qwen's pattern always ends a word.
void cut(std::string_view text, std::vector<std::string_view>& pieces) {
  while (text.size() > kPieceBytes) {
    std::size_t at = text.find('\n', kPieceBytes);
    while (at != text.npos && at + 1 < text.size() && !ascii_letter(text[at + 1])) {
      at = text.find('\n', at + 1);
    }
    if (at == text.npos) break;
    pieces.push_back(text.substr(0, at + 1));
    text.remove_prefix(at + 1);
  }
  if (!text.empty()) pieces.push_back(text);
}

}  // namespace

BpeTrainer::BpeTrainer() : untrained_(untrained()), pretokenizer_(untrained_) {}

void BpeTrainer::add(std::span<const std::string_view> documents) {
  std::vector<std::string_view> pieces;
  for (const std::string_view document : documents) {
    check_utf8(document);
    cut(document, pieces);
  }
  while (std::ssize(workers_) < num_threads()) {
    workers_.push_back({pretokenizer_.new_scratch(), {}});
  }
  parallel_for(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t piece, int worker) {
    auto& [scratch, counts] = workers_[static_cast<std::size_t>(worker)];
    pretokenizer_.split(
        pieces[static_cast<std::size_t>(piece)], scratch,
        [&](std::string_view word) {
          auto found = counts.find(word);
          if (found == counts.end()) found = counts.emplace(word, 0).first;
          ++found->second;
        },
        [](std::int32_t) {});
  });
}

BpeDefinition BpeTrainer::train(std::int64_t vocab_size) const {
  constexpr std::int64_t kBytes = 256;
  HG_CHECK(vocab_size > kBytes, "a vocabulary of {} ids is too small: 256 bytes and {} need 257",
           vocab_size, kEod);
  Counts counts;
  for (const Worker& worker : workers_) {
    for (const auto& [word, count] : worker.counts) counts[word] += count;
  }
  HG_CHECK(!counts.empty(), "there is no text to train a tokenizer on");

  BpeDefinition definition = untrained_;
  std::array<std::int32_t, kBytes> id_of{};
  for (std::size_t id = 0; id < kBytes; ++id) {
    id_of[static_cast<unsigned char>(definition.vocabulary[id][0])] = static_cast<std::int32_t>(id);
  }
  std::vector<CountedWord> words;
  words.reserve(counts.size());
  for (const auto& [word, count] : counts) {
    CountedWord& counted = words.emplace_back();
    counted.count = count;
    for (const char byte : word) counted.symbols.push_back(id_of[static_cast<unsigned char>(byte)]);
  }

  const std::int64_t wanted = vocab_size - kBytes - 1;
  definition.merges = learn_merges(std::move(words), kBytes, wanted);
  const auto learnt = static_cast<std::int64_t>(definition.merges.size());
  HG_CHECK(
      learnt == wanted,
      "the text is too small for a vocabulary of {} ids: no pair of tokens occurs twice after {}",
      vocab_size, learnt + kBytes + 1);
  for (const BpeMerge& merge : definition.merges) {
    const auto text = [&](std::int32_t id) {
      return definition.vocabulary[static_cast<std::size_t>(id)];
    };
    definition.vocabulary.push_back(text(merge.left) + text(merge.right));
  }
  definition.added_tokens[0].id = static_cast<std::int32_t>(vocab_size - 1);
  return definition;
}

void BpeTrainer::train(std::int64_t vocab_size, const std::filesystem::path& path) const {
  write_tokenizer_json(path, train(vocab_size));
}

}  // namespace hg
