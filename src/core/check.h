// Errors and checks. The library throws hg::Error; only main() catches, logs and sets an exit code.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace hg {

/// What went wrong, in one sentence that names the place, what was found and what was expected.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Error with a formatted sentence.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error with `message` and the meaning of `errno_value` behind it.
[[noreturn]] void fail_errno(int errno_value, const std::string& message);

}  // namespace hg

/// Throws hg::Error with the formatted sentence unless `condition` holds. For users' mistakes and
/// for operands alike; the sentence carries the values, since the condition's text means nothing to
/// a user.
#define HG_CHECK(condition, ...)     \
  do {                               \
    if (!(condition)) [[unlikely]] { \
      ::hg::fail(__VA_ARGS__);       \
    }                                \
  } while (false)
