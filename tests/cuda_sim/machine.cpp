#include "cuda_sim/machine.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace cuda_sim {
namespace {

std::unique_ptr<Machine>& the_machine() {
  static std::unique_ptr<Machine> machine;
  return machine;
}

bool is_done(const MarkPointer& mark) {
  return !mark || mark->done.load(std::memory_order_acquire);
}

}  // namespace

Device::Device(int index, std::uint64_t seed) : random_(seed * 1000003 + std::uint64_t(index)) {
  streams_.push_back(std::make_unique<CUstream_st>(CUstream_st{.device = index, .blocking = true}));
}

cudaStream_t Device::new_stream(bool blocking) {
  const std::scoped_lock lock(mutex_);
  const int index = streams_.front()->device;
  streams_.push_back(
      std::make_unique<CUstream_st>(CUstream_st{.device = index, .blocking = blocking}));
  return streams_.back().get();
}

cudaStream_t Device::stream_of(cudaStream_t stream) {
  const bool is_default = stream == nullptr || stream == cudaStreamLegacy;
  return is_default ? streams_.front().get() : stream;
}

void Device::end_stream(cudaStream_t stream) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(streams_, [&](const auto& its) { return its.get() == stream; });
}

bool Operands::operator==(const Operands& other) const {
  return std::string_view(kind) == other.kind && values == other.values;
}

MarkPointer Device::enqueue(cudaStream_t stream, Work work, std::vector<MarkPointer> after,
                            Operands operands) {
  if (stream->capture) {
    record(
        stream, [work = std::move(work)] { return work; }, std::move(operands));
    return nullptr;
  }
  const std::scoped_lock lock(mutex_);
  return append(stream, std::move(work), std::move(after));
}

void Device::record(cudaStream_t stream, std::function<Work()> begin, Operands operands) {
  const std::scoped_lock lock(mutex_);
  Capture& capture = *stream->capture;
  if (operands.kind == nullptr) capture.failure = "of work that cannot be captured";
  const auto branch = std::ranges::find(capture.streams, stream) - capture.streams.begin();
  capture.nodes.push_back({.begin = std::move(begin),
                           .operands = std::move(operands),
                           .branch = static_cast<std::size_t>(branch),
                           .after = stream->nodes});
  stream->nodes = {capture.nodes.size() - 1};
}

MarkPointer Device::launch(cudaStream_t stream, const std::vector<Node>& nodes) {
  const std::scoped_lock lock(mutex_);
  const MarkPointer before = stream->last;
  std::vector<cudaStream_t> branches{stream};  // nodes of one stand behind each other
  std::vector<MarkPointer> marks;
  for (const Node& node : nodes) {
    while (branches.size() <= node.branch) {
      branches_.push_back(
          std::make_unique<CUstream_st>(CUstream_st{.device = stream->device, .blocking = false}));
      branches.push_back(branches_.back().get());
    }
    std::vector<MarkPointer> after{before};
    for (const std::size_t i : node.after) after.push_back(marks[i]);
    marks.push_back(append(branches[node.branch], node.begin(), std::move(after)));
  }
  return append(
      stream, [] { return true; }, std::move(marks));
}

MarkPointer Device::append(cudaStream_t stream, Work work, std::vector<MarkPointer> after) {
  const auto& default_stream = streams_.front();
  const auto wait_for = [&](const MarkPointer& mark) {
    if (!is_done(mark)) after.push_back(mark);
  };
  if (stream == default_stream.get()) {
    for (const auto& other : streams_)
      if (other->blocking && other.get() != stream) wait_for(other->last);
  } else if (stream->blocking) {
    wait_for(default_stream->last);
  }
  stream->last = std::make_shared<Mark>();
  stream->items.push_back(
      {.work = std::move(work), .after = std::move(after), .mark = stream->last});
  return stream->last;
}

MarkPointer Device::last_of(cudaStream_t stream) {
  const std::scoped_lock lock(mutex_);
  return stream->last;
}

std::vector<MarkPointer> Device::last_of_all() {
  const std::scoped_lock lock(mutex_);
  std::vector<MarkPointer> marks;
  for (const auto& stream : streams_)
    if (stream->last) marks.push_back(stream->last);
  return marks;
}

std::size_t Device::streams() {
  const std::scoped_lock lock(mutex_);
  return streams_.size() - 1;
}

std::vector<std::shared_ptr<Capture>> Device::captures() {
  const std::scoped_lock lock(mutex_);
  std::vector<std::shared_ptr<Capture>> all;
  for (const auto& stream : streams_)
    if (stream->capture) all.push_back(stream->capture);
  return all;
}

bool Device::step() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return false;
  std::erase_if(branches_, [](const auto& branch) { return branch->items.empty(); });
  std::vector<CUstream_st*> ready;
  for (const auto* streams : {&streams_, &branches_}) {
    for (const auto& stream : *streams) {
      if (!stream->items.empty() && std::ranges::all_of(stream->items.front().after, is_done))
        ready.push_back(stream.get());
    }
  }
  std::ranges::shuffle(ready, random_);
  for (CUstream_st* stream : ready) {
    Item& item = stream->items.front();
    try {
      const GuardedHeap::Open open(machine().memory.heap());
      if (!item.work()) continue;
    } catch (const std::exception& e) {
      if (failure_.empty()) failure_ = e.what();
    }
    item.mark->when = hg::Clock::now();
    item.mark->done.store(true, std::memory_order_release);
    stream->items.pop_front();
    return true;
  }
  return false;
}

std::string Device::failure() {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

Machine::Machine(const Options& its_options) : options(its_options) {
  for (int i = 0; i < options.devices; ++i)
    devices.push_back(std::make_unique<Device>(i, options.seed));
}

void Machine::advance(int own) {
  if (devices[static_cast<std::size_t>(own)]->step()) return;
  bool stepped = false;
  for (const auto& other : devices) stepped |= other->step();
  if (!stepped) std::this_thread::sleep_for(std::chrono::microseconds(20));
}

Machine& machine() {
  if (!the_machine()) throw std::logic_error("no cuda_sim::Simulation lives");
  return *the_machine();
}

Device& device() { return *machine().devices.at(static_cast<std::size_t>(current_device())); }

Simulation::Simulation(const Options& options) {
  if (the_machine()) throw std::logic_error("two Simulations at a time");
  the_machine() = std::make_unique<Machine>(options);
  cudaSetDevice(0);  // this thread's may be one that the new machine has not
}

Simulation::~Simulation() { the_machine().reset(); }

Simulation::Counts Simulation::counts() {
  const Machine& its = machine();
  return {.allocations = its.allocations,
          .waits = its.waits,
          .launches = its.launches,
          .graphs = its.graphs,
          .graph_launches = its.graph_launches};
}

bool Simulation::sanitized() {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#else
  return false;
#endif
}

std::size_t Simulation::left_over() {
  std::size_t count = machine().memory.blocks() + machine().graphs_alive + machine().outlived;
  for (const auto& device : machine().devices) count += device->streams();
  return count;
}

}  // namespace cuda_sim
