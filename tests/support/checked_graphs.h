// A simulated GPU whose graphs are checked whenever they are launched: what they were made of is
// recorded once more, and must be the same.
#pragma once

#include "core/gpu_facts.h"
#include "core/gpu_graph.h"
#include "core/gpu_module.h"
#include "cuda/stream_capture.h"
#include "cuda_sim/graphs.h"
#include "support/gpu_run.h"

namespace hg::test {

/// Throws hg::Error where a graph has other operands than a micro-batch would get that runs op by
/// op: where something that the host decides is not in its key.
class CheckedStream final : public GpuStream, public GpuGraphs, public GpuWithFacts {
 public:
  explicit CheckedStream(std::shared_ptr<GpuStream> its)
      : its_(std::move(its)), graphs_(dynamic_cast<GpuGraphs&>(*its_)) {}
  const std::string& description() const override { return its_->description(); }
  GpuFacts facts() const override { return facts_of(*its_); }
  int device() const override { return its_->device(); }
  void* handle() const override { return its_->handle(); }
  void* allocate(std::size_t bytes) override { return its_->allocate(bytes); }
  void release(void* memory) noexcept override { its_->release(memory); }
  void run(std::string_view name, const void* op, Context& ctx) override {
    its_->run(name, op, ctx);
  }
  void copy(void* to, const void* from, std::size_t bytes) override { its_->copy(to, from, bytes); }
  void zero(void* memory, std::size_t bytes) override { its_->zero(memory, bytes); }
  void upload(void* to, const void* from, std::size_t bytes) override {
    its_->upload(to, from, bytes);
  }
  void download(void* to, const void* from, std::size_t bytes) override {
    its_->download(to, from, bytes);
  }
  void synchronize() override { its_->synchronize(); }
  void watch_waits(WaitWatch watch) override { its_->watch_waits(std::move(watch)); }
  std::shared_ptr<GpuStream> another() override { return its_->another(); }
  Mark mark() override { return its_->mark(); }
  void wait_for(const Mark& mark) override { its_->wait_for(mark); }

  Graph record(const std::function<void()>& work) override {
    return std::make_shared<Checked>(graphs_.record(work));
  }

  void launch(const Graph& graph, const std::function<void()>& work) override {
    Checked& its = *static_cast<Checked*>(graph.get());
    graphs_.launch(its.graph, work);
    const auto stream = static_cast<cudaStream_t>(handle());
    cudaGraph_t again = nullptr;
    HG_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess,
             "the stream cannot record: {}", cuda_sim::Simulation::explanation());
    work();
    HG_CHECK(cudaStreamEndCapture(stream, &again) == cudaSuccess, "not recorded: {}",
             cuda_sim::Simulation::explanation());
    if (its.recorded == nullptr) {
      its.recorded = again;
      return;
    }
    const std::string difference = cuda_sim::difference(its.recorded, again);
    cudaGraphDestroy(again);
    HG_CHECK(difference.empty(), "a graph is not what would run: {}", difference);
  }

 private:
  struct Checked {
    explicit Checked(Graph its) : graph(std::move(its)) {}
    ~Checked() {
      if (recorded != nullptr) cudaGraphDestroy(recorded);
    }
    Checked(const Checked&) = delete;
    Checked& operator=(const Checked&) = delete;

    Graph graph;
    cudaGraph_t recorded = nullptr;  // once more, by the first launch
  };

  std::shared_ptr<GpuStream> its_;
  GpuGraphs& graphs_;
};

inline const GpuModule* checked_module() {
  static const GpuModule module = {
      .version = GpuModule::kVersion,
      .build = headgate_gpu_module()->build,
      .open = [](int device) -> std::shared_ptr<GpuStream> {
        return std::make_shared<CheckedStream>(headgate_gpu_module()->open(device));
      },
      .count = headgate_gpu_module()->count};
  return &module;
}

}  // namespace hg::test
