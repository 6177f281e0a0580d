#include "dist/pipeline_links.h"

#include <fmt/format.h>

namespace hg {
namespace {

constexpr const char* kNames[] = {"activations", "gradients"};

}  // namespace

PipelineLinks::PipelineLinks(Comm& stages, Comm& world) {
  const int n = stages.size(), rank = stages.rank();
  for (std::size_t way = 0; way < kWays; ++way) {
    for (int from = 0; from < n; ++from) {
      const int to = (from + (way == kActivations ? 1 : n - 1)) % n;
      const bool sends = rank == from, receives = rank == to;
      auto comm = stages.split(sends || receives ? 0 : -1, sends ? 0 : 1,
                               fmt::format("{} of stage {}", kNames[way], from));
      if (sends) links_[way].out = std::move(comm);
      if (receives) links_[way].in = std::move(comm);
    }
    links_[way].queue = std::make_unique<ThreadQueue>(world);
  }
}

CommQueue::Ticket PipelineLinks::send(Way way, const ConstTensor& x, std::string_view label) {
  return links_[way].queue->submit([out = links_[way].out.get(), x, name = std::string(label)](
                                       Context&) { out->send(x, 1, name); });
}

void PipelineLinks::wait(Way way, CommQueue::Ticket ticket) { links_[way].queue->wait(ticket); }

void PipelineLinks::receive(Way way, const Tensor& x, std::string_view label) {
  links_[way].in->receive(x, 0, label);
}

double PipelineLinks::waiting_seconds() const {
  double sum = 0;
  for (const Link& link : links_) sum += link.queue->seconds().waiting + link.in->seconds();
  return sum;
}

}  // namespace hg
