#include "data/bpe_pair_merging.h"

#include <queue>
#include <unordered_map>
#include <utility>

namespace hg {
namespace {

using Pair = std::pair<std::int32_t, std::int32_t>;

struct PairHash {
  std::size_t operator()(const Pair& pair) const {
    return (static_cast<std::uint64_t>(pair.first) << 32 |
            static_cast<std::uint32_t>(pair.second)) *
           0x9E3779B97F4A7C15U;
  }
};

/// How often a pair occurs, and the words that held it at some time, some perhaps twice.
struct Occurrences {
  std::int64_t count = 0;
  std::vector<std::uint32_t> words;
};

struct Candidate {
  std::int64_t count;
  Pair pair;
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class PairMerging {
 public:
  explicit PairMerging(std::vector<CountedWord> words) : words_(std::move(words)) {
    for (std::uint32_t w = 0; w < words_.size(); ++w) {
      const auto& symbols = words_[w].symbols;
      for (std::size_t i = 1; i < symbols.size(); ++i) add({symbols[i - 1], symbols[i]}, w);
    }
    queue_fresh();
  }

  /// Takes out the most frequent pair; its count is 0 if there is none.
  Candidate pop() {
    while (!queue_.empty()) {
      Candidate top = queue_.top();
      queue_.pop();
      const std::int64_t count = pairs_.at(top.pair).count;
      if (top.count == count) return top;
      top.count = count;  // it has become rarer since
      queue_.push(top);
    }
    return {0, {}};
  }

  void merge(const Pair& pair, std::int32_t result) {
    const auto gone = pairs_.extract(pair);
    for (const std::uint32_t w : gone.mapped().words) merge_in_word(pair, result, w);
    queue_fresh();
  }

 private:
  void add(const Pair& pair, std::uint32_t w) {
    const auto [found, fresh] = pairs_.try_emplace(pair);
    if (fresh) fresh_.push_back(pair);
    Occurrences& occurrences = found->second;
    occurrences.count += words_[w].count;
    if (occurrences.words.empty() || occurrences.words.back() != w) occurrences.words.push_back(w);
  }

  void remove(const Pair& pair, std::uint32_t w) {
    const auto found = pairs_.find(pair);
    if (found != pairs_.end()) found->second.count -= words_[w].count;  // else it is being merged
  }

  void merge_in_word(const Pair& pair, std::int32_t result, std::uint32_t w) {
    auto& symbols = words_[w].symbols;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      if (i + 1 == symbols.size() || Pair{symbols[i], symbols[i + 1]} != pair) {
        symbols[kept++] = symbols[i];
        continue;
      }
      if (kept > 0) {
        remove({symbols[kept - 1], pair.first}, w);
        add({symbols[kept - 1], result}, w);
      }
      if (i + 2 < symbols.size()) {
        remove({pair.second, symbols[i + 2]}, w);
        add({result, symbols[i + 2]}, w);
      }
      symbols[kept++] = result;
      ++i;
    }
    symbols.resize(kept);
  }

  /// A pair gains occurrences only in the merge that makes the younger of its symbols; later ones
  /// can only take some away. So it is queued once, when that merge is through.
  void queue_fresh() {
    for (const Pair& pair : fresh_) queue_.push({pairs_.at(pair).count, pair});
    fresh_.clear();
  }

  std::vector<CountedWord> words_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  std::priority_queue<Candidate>
      queue_;  // one entry a pair, with a count that may have shrunk since
  std::vector<Pair> fresh_;
};

}  // namespace

std::vector<BpeMerge> learn_merges(std::vector<CountedWord> words, std::int32_t first_id,
                                   std::int64_t merges) {
  PairMerging merging(std::move(words));
  std::vector<BpeMerge> learnt;
  while (static_cast<std::int64_t>(learnt.size()) < merges) {
    const auto [count, pair] = merging.pop();
    if (count < 2) break;
    learnt.push_back(
        {pair.first, pair.second, first_id + static_cast<std::int32_t>(learnt.size())});
    merging.merge(pair, learnt.back().result);
  }
  return learnt;
}

}  // namespace hg
