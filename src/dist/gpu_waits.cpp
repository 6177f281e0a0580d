#include "dist/gpu_waits.h"

#include <fmt/format.h>

#include <utility>

namespace hg {
namespace {

/// In the record while it lives.
class Wait {
 public:
  Wait(std::shared_ptr<FlightRecord> record, CommEvent event)
      : record_(std::move(record)), id_(record_->enter(std::move(event))) {}
  ~Wait() { record_->leave(id_, true); }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;

 private:
  std::shared_ptr<FlightRecord> record_;
  std::int64_t id_;
};

}  // namespace

GpuStream::WaitWatch waits_into(std::shared_ptr<FlightRecord> host,
                                std::vector<std::shared_ptr<FlightRecord>> gpu, int device) {
  const auto self = std::make_shared<const std::vector<int>>(std::vector{host->rank()});
  const std::string name = fmt::format("GPU {}", device);
  return [=, host = std::move(host), gpu = std::move(gpu)] {
    std::string behind;
    for (const auto& record : gpu) {
      if (const auto call = record->last())
        behind += fmt::format("{}{}", behind.empty() ? "behind " : ", and ", call->to_string());
    }
    CommEvent event{};
    event.kind = CommKind::gpu_wait;
    event.group = name;
    event.members = self;
    event.channel = channel_of(name, *self);
    event.label = behind;
    return std::make_shared<Wait>(host, std::move(event));
  };
}

}  // namespace hg
