#include "data/context_part.h"

#include <algorithm>

#include "core/check.h"

namespace hg {
namespace {

/// Appends tokens [begin, end) of `whole`.
void append_piece(const HostBatch& whole, std::int32_t begin, std::int32_t end, HostBatch& part) {
  const auto shift = static_cast<std::int32_t>(part.tokens.size()) - begin;
  const auto append = [&](std::vector<std::int32_t>& to, const std::vector<std::int32_t>& from) {
    to.insert(to.end(), from.begin() + begin, from.begin() + end);
  };
  append(part.tokens, whole.tokens);
  append(part.targets, whole.targets);
  append(part.positions, whole.positions);
  const auto& bounds = whole.documents;
  for (auto next = std::ranges::upper_bound(bounds, begin); *(next - 1) < end; ++next) {
    part.documents.push_back(std::max(*(next - 1), begin) + shift);
    part.keys.insert(part.keys.end(), {*(next - 1), std::min(*next, end)});
    if (next + 1 == bounds.end()) break;
  }
}

}  // namespace

void cut_context(const HostBatch& whole, int rank, int ranks, HostBatch& part) {
  const auto tokens = static_cast<std::int32_t>(whole.tokens.size()), pieces = 2 * ranks;
  HG_CHECK(0 <= rank && rank < ranks, "rank {} of {} of the context axis", rank, ranks);
  HG_CHECK(tokens % pieces == 0, "{} tokens are not 2 equal pieces for each of {} ranks", tokens,
           ranks);
  const std::int32_t piece = tokens / pieces;
  HG_CHECK(static_cast<std::size_t>(2 * piece) <= part.tokens.capacity(),
           "{} tokens in a batch for {}", 2 * piece, part.tokens.capacity());
  for (auto* values : {&part.tokens, &part.targets, &part.positions, &part.documents, &part.keys})
    values->clear();
  for (const std::int32_t i : {rank, pieces - 1 - rank})
    append_piece(whole, i * piece, (i + 1) * piece, part);
  part.documents.push_back(2 * piece);
  part.longest = whole.longest;
}

}  // namespace hg
