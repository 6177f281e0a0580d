#include "core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace hg {

void init_logging() {
  auto logger = std::make_shared<spdlog::logger>(
      "headgate", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%^%H:%M:%S %L%$ %v");
  spdlog::set_default_logger(std::move(logger));
}

void log_as_rank(int rank) {
  spdlog::set_pattern(fmt::format("%^%H:%M:%S [{}] %L%$ %v", rank));
  if (rank > 0) spdlog::set_level(spdlog::level::warn);
}

void detail::log_info(const std::string& line) { spdlog::info(line); }
void detail::log_warn(const std::string& line) { spdlog::warn(line); }
void log_error(const std::string& line) { spdlog::error(line); }

}  // namespace hg
