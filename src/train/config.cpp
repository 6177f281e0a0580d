#include "train/config.h"

namespace hg {

template config::Keys config::keys_of(const RunConfig&, const std::string&, std::string_view);

}  // namespace hg
