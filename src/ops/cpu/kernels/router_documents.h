// Tokens of a router in pieces that no document shares with another. Only for files in
// ops/cpu/kernels.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "core/tensor.h"
#include "ops/route.h"

namespace hg {
namespace {

/// The bounds of documents, or of one that holds all tokens. Document d has the pieces
/// [first_piece(d), first_piece(d + 1)), of which the last may be empty.
class RouterDocuments {
 public:
  struct Piece {
    std::int64_t begin, end;
  };

  RouterDocuments(const ConstTensor& documents, std::int64_t tokens)
      : all_{0, static_cast<std::int32_t>(tokens)}, bounds_(all_) {
    if (documents) {
      bounds_ = {documents.as<std::int32_t>(), static_cast<std::size_t>(documents.dim(0))};
    }
  }
  RouterDocuments(const RouterDocuments&) = delete;
  RouterDocuments& operator=(const RouterDocuments&) = delete;

  std::int64_t count() const { return std::ssize(bounds_) - 1; }
  std::int64_t bound(std::int64_t d) const { return bounds_[static_cast<std::size_t>(d)]; }
  /// The document that holds token `t`.
  std::int64_t document_of(std::int64_t t) const {
    return std::ranges::upper_bound(bounds_, t) - bounds_.begin() - 1;
  }

  std::int64_t pieces() const { return first_piece(count()); }
  std::int64_t first_piece(std::int64_t d) const {
    return bound(d) / RouterForward::kTokensPerPiece + d;
  }
  Piece piece(std::int64_t p) const {
    std::int64_t d = 0;  // the last document with first_piece(d) <= p
    for (std::int64_t end = count(); end - d > 1;) {
      const std::int64_t middle = (d + end) / 2;
      (first_piece(middle) <= p ? d : end) = middle;
    }
    const std::int64_t begin = bound(d) + (p - first_piece(d)) * RouterForward::kTokensPerPiece;
    return {begin, std::min(begin + RouterForward::kTokensPerPiece, bound(d + 1))};
  }

 private:
  std::array<std::int32_t, 2> all_;
  std::span<const std::int32_t> bounds_;
};

}  // namespace
}  // namespace hg
