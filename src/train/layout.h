// From the ranks that were started to the places that a config gives them.
#pragma once

#include "dist/mesh.h"
#include "train/config.h"

namespace hg {

/// The mesh of `ranks` that the config's section `parallelism` describes. Throws one Error with
/// everything that does not fit: ranks, heads, widths, vocabulary, experts, batch.
MeshShape layout_of(const RunConfig& config, int ranks);

}  // namespace hg
