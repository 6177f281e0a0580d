// The tokens of one micro-batch, as every part of the model sees them.
#pragma once

#include "core/tensor.h"

namespace hg {

/// T tokens of packed documents, end to end: there is no batch dimension. A token sees the earlier
/// tokens of its own document only. Where ranks share the tokens of a micro-batch, documents are
/// what this rank has of them, and `keys` are those in the whole micro-batch that they see.
struct Batch {
  ConstTensor tokens;     // [T] i32
  ConstTensor targets;    // [T] i32: the next token of the document; negative where there is none
  ConstTensor positions;  // [T] i32, from 0 in each document
  ConstTensor documents;  // [N + 1] i32: the first token of each document, then T
  ConstTensor keys = {};  // [N, 2] i32, see AttentionForward; absent: T is the whole micro-batch
  std::int64_t longest;   // no document has more tokens than this
};

}  // namespace hg
