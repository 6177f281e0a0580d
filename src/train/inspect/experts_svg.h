// Loads of experts as a picture: one SVG file that needs nothing else.
#pragma once

#include <string>

#include "train/inspect/expert_history.h"

namespace hg {

/// The look that is shown as a map, layers downwards and experts to the right, in colours of load
/// over ideal: from blue (1/8 and less) over white (1) to red (8 and more) on a logarithmic scale,
/// dead experts in a colour of their own. Beside it the numbers of each layer, below it load
/// entropy and largest load of all layers over the steps of all looks.
std::string experts_svg(const ExpertHistory& history);

}  // namespace hg
