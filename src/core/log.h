// Logging for people: a line with time and level. The library logs through log_info and log_warn,
// and never prints by itself. spdlog does the work and stays out of this header.
#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>

namespace hg {

/// Sets the default logger's shape: to stderr; colours only on a terminal.
void init_logging();

/// For processes that were started together: lines name the rank, and only rank 0 says more than
/// warnings.
void log_as_rank(int rank);

namespace detail {
void log_info(const std::string& line);
void log_warn(const std::string& line);
}  // namespace detail

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  detail::log_info(fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  detail::log_warn(fmt::format(format, std::forward<Args>(args)...));
}

/// For main(): what ended the program.
void log_error(const std::string& line);

}  // namespace hg
