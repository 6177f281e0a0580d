// Indices come from data, so they are checked on every call: a bad file must not read out of
// bounds.
#pragma once

#include <string_view>

#include "core/tensor.h"

namespace hg {

/// Throws unless every element of the contiguous i32 tensor `indices` is in [lowest, limit); the
/// sentence names the first that is not.
void check_indices(std::string_view op, std::string_view name, const ConstTensor& indices,
                   std::int64_t limit, std::int64_t lowest = 0);

}  // namespace hg
