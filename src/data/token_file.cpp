#include "data/token_file.h"

#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <type_traits>

#include "core/check.h"
#include "core/parallel.h"

namespace hg {

using token_format::load;
using token_format::with_type;

namespace {

/// Calls fn(begin, end) for 256 blocks of bytes spread over `size`, the last of which ends there;
/// or once, for all of so few.
template <class Fn>
void for_blocks(std::size_t size, Fn&& fn) {
  constexpr std::size_t kBlocks = 256, kBlockBytes = 4096;
  if (size <= kBlocks * kBlockBytes) {
    if (size > 0) fn(0, size);
    return;
  }
  for (std::size_t block = 0; block + 1 < kBlocks; ++block) {
    const std::size_t begin = (size - kBlockBytes) / (kBlocks - 1) * block;
    fn(begin, begin + kBlockBytes);
  }
  fn(size - kBlockBytes, size);
}

/// The largest id of a vocabulary, as far as T can tell.
template <class T>
class IdLimit {
 public:
  explicit IdLimit(std::int64_t vocab_size)
      : largest_(static_cast<Unsigned>(std::min<std::uint64_t>(
            static_cast<std::uint64_t>(vocab_size) - 1, std::numeric_limits<Unsigned>::max()))) {}
  bool is_passed_by(T id) const { return static_cast<Unsigned>(id) > largest_; }

 private:
  using Unsigned = std::make_unsigned_t<T>;  // a negative id becomes a large one
  Unsigned largest_;
};

}  // namespace

TokenFile::TokenFile(std::string prefix, std::int64_t vocab_size, IdCheck check)
    : prefix_(std::move(prefix)),
      vocab_size_(vocab_size),
      index_(index_name()),
      data_(data_name()) {
  HG_CHECK(vocab_size > 0 && vocab_size <= std::int64_t{1} << 31, "{}: a vocabulary of {} ids",
           prefix_, vocab_size);
  read_header();
  check_sequences();
  check_documents();
  if (check == IdCheck::all) check_ids(0, tokens_);
  if (check == IdCheck::some) {
    for_blocks(data_.bytes().size(), [&](std::size_t begin, std::size_t end) {
      const auto bytes = static_cast<std::size_t>(element_bytes_);
      check_ids(static_cast<std::int64_t>(begin / bytes), static_cast<std::int64_t>(end / bytes));
    });
  }
}

void TokenFile::read_header() {
  const std::byte* header = index_.bytes().data();
  const std::uint64_t size = index_.bytes().size();
  HG_CHECK(size >= token_format::kHeaderBytes,
           "{} has {} bytes, expected at least the {} of a header", index_name(), size,
           token_format::kHeaderBytes);
  HG_CHECK(std::memcmp(header, token_format::kMagic.data(), token_format::kMagic.size()) == 0,
           "{} is not the index of token data: it does not begin with MMIDIDX", index_name());
  const auto version = load<std::uint64_t>(header + 9);
  HG_CHECK(version == token_format::kVersion, "{} has version {}, expected {}", index_name(),
           version, token_format::kVersion);
  const auto code = load<std::uint8_t>(header + 17);
  HG_CHECK(code >= 1 && code <= 8 && code != 6 && code != 7,
           "{} has element type {}, expected an integer type: 1 to 5 or 8", index_name(), code);
  type_ = token_format::Type{code};
  element_bytes_ = token_format::element_bytes(type_);

  const auto sequences = load<std::uint64_t>(header + 18),
             bounds = load<std::uint64_t>(header + 26);
  // Comparing the counts alone first keeps the product from overflowing.
  HG_CHECK(sequences <= size / 12 && bounds <= size / 8,
           "{} has {} bytes, too few for the {} sequences and {} document bounds of its header",
           index_name(), size, sequences, bounds);
  const std::uint64_t expected = token_format::kHeaderBytes + 12 * sequences + 8 * bounds;
  HG_CHECK(sequences == 0 || size != expected + sequences,
           "{} holds sequence modes: it is multimodal, not text", index_name());
  HG_CHECK(size == expected, "{} has {} bytes, expected {} for {} sequences and {} document bounds",
           index_name(), size, expected, sequences, bounds);
  HG_CHECK(bounds > 0, "{} has no document bounds, expected at least a 0", index_name());
  sequences_ = static_cast<std::int64_t>(sequences);
  documents_ = static_cast<std::int64_t>(bounds) - 1;
  lengths_ = header + token_format::kHeaderBytes;
  offsets_ = lengths_ + 4 * sequences;
  bounds_ = offsets_ + 8 * sequences;
  tokens_ = static_cast<std::int64_t>(data_.bytes().size()) / element_bytes_;
}

void TokenFile::check_sequences() const {
  std::uint64_t end = 0;  // bytes of .bin that the sequences so far take
  for (std::int64_t i = 0; i < sequences_; ++i) {
    const auto length = load<std::int32_t>(lengths_, i);
    const auto offset = load<std::int64_t>(offsets_, i);
    HG_CHECK(length >= 0, "{}: sequence {} has length {}", index_name(), i, length);
    HG_CHECK(static_cast<std::uint64_t>(offset) == end,
             "{}: sequence {} begins at byte {} of {}, expected {}, where the one before it ends",
             index_name(), i, offset, data_name(), end);
    end += static_cast<std::uint64_t>(length) * static_cast<std::uint64_t>(element_bytes_);
  }
  HG_CHECK(data_.bytes().size() == end, "{} has {} bytes, expected {} for {} tokens of {} bytes",
           data_name(), data_.bytes().size(), end, end / static_cast<std::uint64_t>(element_bytes_),
           element_bytes_);
}

void TokenFile::check_documents() const {
  std::int64_t before = 0;
  for (std::int64_t i = 0; i <= documents_; ++i) {
    const auto bound = load<std::int64_t>(bounds_, i);
    HG_CHECK(i > 0 || bound == 0, "{}: the first document begins at sequence {}, expected 0",
             index_name(), bound);
    HG_CHECK(bound >= before && bound <= sequences_,
             "{}: document bound {} is sequence {}, expected {} to {}", index_name(), i, bound,
             before, sequences_);
    before = bound;
  }
  HG_CHECK(before == sequences_, "{}: the last document ends at sequence {}, expected {}",
           index_name(), before, sequences_);
}

void TokenFile::check_ids(std::int64_t begin, std::int64_t end) const {
  constexpr std::int64_t kPiece = std::int64_t{1} << 20;
  std::atomic<std::int64_t> first_bad{end};
  const std::byte* const ids = data_.bytes().data();
  with_type(type_, [&]<class T>(T) {
    const IdLimit<T> limit(vocab_size_);
    const auto bad = [&](std::int64_t i) { return limit.is_passed_by(load<T>(ids, i)); };
    parallel_ranges(end - begin, kPiece, [&](std::int64_t from, std::int64_t to) {
      from += begin, to += begin;
      bool any = false;  // no early exit: the loop is vectorised
      for (std::int64_t i = from; i < to; ++i) any |= bad(i);
      if (!any) return;
      while (!bad(from)) ++from;
      std::int64_t known = first_bad;
      while (from < known && !first_bad.compare_exchange_weak(known, from)) {
      }
    });
  });
  if (first_bad == end) return;
  const std::int64_t id =
      with_type(type_, [&]<class T>(T) { return std::int64_t{load<T>(ids, first_bad)}; });
  fail("{}: token {} is id {}, expected 0 to {} in a vocabulary of {}", data_name(),
       first_bad.load(), id, vocab_size_ - 1, vocab_size_);
}

std::int64_t TokenFile::document_begin(std::int64_t document) const {
  HG_CHECK(document >= 0 && document <= documents_, "{}: document {} of {}", prefix_, document,
           documents_);
  const auto sequence = load<std::int64_t>(bounds_, document);
  return sequence == sequences_ ? tokens_ : load<std::int64_t>(offsets_, sequence) / element_bytes_;
}

std::int64_t TokenFile::document_of(std::int64_t token) const {
  HG_CHECK(token >= 0 && token < tokens_, "{}: token {} of {}", prefix_, token, tokens_);
  std::int64_t document = 0, after = documents_;  // its begin <= token < the begin of `after`
  while (after - document > 1) {
    const std::int64_t middle = document + (after - document) / 2;
    (document_begin(middle) <= token ? document : after) = middle;
  }
  return document;
}

void TokenFile::copy(std::int64_t begin, std::int64_t count, std::int32_t* out) const {
  HG_CHECK(begin >= 0 && count >= 0 && count <= tokens_ - begin, "{}: tokens {} to {} of {}",
           prefix_, begin, begin + count, tokens_);
  if (count == 0) return;
  const std::byte* from = data_.bytes().data() + begin * element_bytes_;
  const bool any_bad = with_type(type_, [&]<class T>(T) {
    const IdLimit<T> limit(vocab_size_);
    bool any = false;
    for (std::int64_t i = 0; i < count; ++i) {
      const T id = load<T>(from, i);
      out[i] = static_cast<std::int32_t>(id);
      any |= limit.is_passed_by(id);
    }
    return any;
  });
  if (any_bad) check_ids(begin, begin + count);
}

std::uint64_t TokenFile::fingerprint() const {
  const auto data = data_.bytes();
  const auto add = [](std::uint64_t hash, std::span<const std::byte> bytes) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), hash);
  };
  const std::uint64_t size = data.size();
  std::uint64_t hash = add(add(0, index_.bytes()), std::as_bytes(std::span(&size, 1)));
  for_blocks(data.size(), [&](std::size_t begin, std::size_t end) {
    hash = add(hash, data.subspan(begin, end - begin));
  });
  return hash;
}

}  // namespace hg
