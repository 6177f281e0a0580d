// Logging goes through spdlog's default logger; this sets its shape. The library logs through
// log_info / log_warn, and never prints by itself.
#pragma once

#include <spdlog/spdlog.h>

namespace hg {

/// Sets the default logger: time, level and text, to stderr; colours only on a terminal.
void init_logging();

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  spdlog::info(format, std::forward<Args>(args)...);
}

template <class... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  spdlog::warn(format, std::forward<Args>(args)...);
}

}  // namespace hg
