#include "core/check.h"

#include <cstring>

namespace hg {

void fail_errno(int errno_value, const std::string& message) {
  throw Error(message + ": " + std::strerror(errno_value));
}

}  // namespace hg
