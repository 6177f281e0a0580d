#include "core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace hg {

void init_logging() {
  auto logger = std::make_shared<spdlog::logger>(
      "headgate", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%^%H:%M:%S %L%$ %v");
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace hg
