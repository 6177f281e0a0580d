// The communicator of a rank that is alone.
#pragma once

#include <memory>

#include "dist/comm.h"

namespace hg {

/// A world of one rank: collectives copy, or do nothing. abort does nothing either: nobody waits.
std::unique_ptr<Comm> alone();

}  // namespace hg
