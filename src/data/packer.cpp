#include "data/packer.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/check.h"

namespace hg {
namespace {

constexpr std::int32_t kNoTarget = -1;

ConstTensor view_of(const std::vector<std::int32_t>& values) {
  return {values.data(), DType::i32, {static_cast<std::int64_t>(values.size())}};
}

/// Appends one window; `at` is where it begins in the batch.
void pack_window(const TokenFile& file, Window window, std::int64_t at, HostBatch& batch) {
  const std::int64_t window_end = window.begin + window.count;
  file.copy(window.begin, window.count, batch.tokens.data() + at);
  std::int64_t document = file.document_of(window.begin);
  for (std::int64_t begin = window.begin; begin < window_end; ++document) {
    const std::int64_t document_end = file.document_begin(document + 1);
    const std::int64_t end = std::min(document_end, window_end), length = end - begin;
    if (length == 0) continue;  // an empty document
    const auto tokens = batch.tokens.begin() + at;
    const auto targets = std::copy(tokens + 1, tokens + length, batch.targets.begin() + at);
    *targets = kNoTarget;
    if (end < document_end) file.copy(end, 1, &*targets);
    const auto positions = batch.positions.begin() + at;
    std::iota(positions, positions + length, 0);
    batch.documents.push_back(static_cast<std::int32_t>(at));
    at += length;
    begin = end;
  }
}

}  // namespace

HostBatch::HostBatch(std::int64_t capacity) {
  HG_CHECK(capacity > 0 && capacity <= std::numeric_limits<std::int32_t>::max(),
           "a batch of {} tokens", capacity);
  const auto size = static_cast<std::size_t>(capacity);
  for (auto* values : {&tokens, &targets, &positions}) values->reserve(size);
  documents.reserve(size + 1);  // at worst each token is a document
  keys.reserve(2 * size);
}

Batch HostBatch::view() const {
  return {.tokens = view_of(tokens),
          .targets = view_of(targets),
          .positions = view_of(positions),
          .documents = view_of(documents),
          .keys = keys.empty() ? ConstTensor{} : view_of(keys).split(0, std::ssize(keys) / 2, 2),
          .longest = longest};
}

void pack(const TokenFile& file, std::span<const Window> windows, HostBatch& batch) {
  std::size_t size = 0;
  for (const Window& window : windows) {
    HG_CHECK(window.count > 0, "{}: a window of {} tokens", file.prefix(), window.count);
    size += static_cast<std::size_t>(window.count);
  }
  batch.longest = std::ranges::max(windows, {}, &Window::count).count;
  HG_CHECK(size <= batch.tokens.capacity(), "{} tokens in a batch for {}", size,
           batch.tokens.capacity());
  for (auto* values : {&batch.tokens, &batch.targets, &batch.positions}) values->resize(size);
  batch.documents.clear();
  std::int64_t at = 0;
  for (const Window& window : windows) {
    pack_window(file, window, at, batch);
    at += window.count;
  }
  batch.documents.push_back(static_cast<std::int32_t>(at));
}

}  // namespace hg
