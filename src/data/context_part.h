// The part of a micro-batch that a rank of the context axis keeps.
#pragma once

#include "data/packer.h"

namespace hg {

/// Fills `part` with the tokens that rank `rank` of `ranks` has of `whole`. These are cut into
/// 2 ranks equal pieces, of which it has two, piece `rank` and piece 2 ranks - 1 - rank: late
/// tokens see many keys, early ones few, and every rank has some of both. Keys of `part` are
/// numbered as the tokens of `whole`. Throws if the tokens do not divide.
void cut_context(const HostBatch& whole, int rank, int ranks, HostBatch& part);

}  // namespace hg
