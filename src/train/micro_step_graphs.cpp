#include "train/micro_step_graphs.h"

#include <algorithm>

#include "core/log.h"
#include "train/run_model.h"

namespace hg {
namespace {

/// Why no micro-batch of a run can be in a graph; null if some can.
const char* hindrance(const RunConfig& config, const Mesh& mesh) {
  const MoeConfig& moe = config.model.moe;
  if (mesh.pipeline.size > 1) return "pipeline stages wait for each other";
  if (mesh.context.size > 1 || mesh.tensor.size > 1)
    return "ranks that share a micro-batch talk in the middle of it";
  if (mesh.expert.size > 1) return "expert parallelism waits for numbers of rows";
  if (mesh.tokens.size > 1 && moe.num_experts > 0 && moe.aux_loss_coef > 0 &&
      moe.load_balance == LoadBalance::global_batch)
    return "the balance loss adds up loads of all ranks";
  if (mesh.world.size > 1 && zero_stage(config) >= ZeroStage::gradients)
    return "each sends its gradients to other ranks (parallelism.zero_stage)";
  return nullptr;
}

std::string words(const MicroStepKey& key) {
  return fmt::format("micro-batches of {} tokens in up to {} documents, gradients {}{}", key.tokens,
                     key.documents, key.accumulates ? "added" : "written",
                     key.instruments != nullptr ? ", seen by instruments" : "");
}

}  // namespace

MicroStepGraphs::MicroStepGraphs(const RunConfig& config, const Context& ctx, const Mesh& mesh)
    : shares_optimizer_(zero_stage(config) >= ZeroStage::optimizer), alone_(mesh.world.size == 1) {
  if (!on_gpu(ctx) || !config.training.cuda_graphs) return;
  const char* const why = hindrance(config, mesh);
  if (why != nullptr) {
    log_info("micro-batches run op by op, not as CUDA graphs: {}", why);
  } else {
    gpu_ = dynamic_cast<GpuGraphs*>(ctx.gpu.get());
  }
}

/// Whether a micro-batch's passes send something to other ranks, or wait for what they send.
bool MicroStepGraphs::communicates(MicroBatch micro) const {
  return !alone_ && (micro.last || (micro.first && shares_optimizer_));
}

void MicroStepGraphs::say_once(const std::string& sentence) {
  if (said_.insert(sentence).second) log_info("{}", sentence);
}

void MicroStepGraphs::run(const Context& ctx, const MicroStepKey& key, MicroBatch micro,
                          const std::function<void()>& work) {
  if (ctx.trace != nullptr) return work();  // it waits for each op
  if (communicates(micro)) {
    say_once("the micro-batches of a step that send gradients, or wait for weights, run op by op");
    return work();
  }
  if (refused_.contains(key)) return work();
  const auto [known, is_new] = graphs_.try_emplace(key);
  if (is_new) return work();
  GpuGraphs::Graph& graph = known->second;
  const bool records = graph == nullptr;
  const auto recorded = [](const auto& its) { return its.second != nullptr; };
  if (records && std::ranges::count_if(graphs_, recorded) == std::int64_t{kMost}) {
    say_once(fmt::format("there are {} CUDA graphs: other micro-batches run op by op", kMost));
    return work();
  }
  try {
    gpu_->run_graph(graph, work);
  } catch (const Error& error) {
    if (graph != nullptr) throw;  // it was recorded: this is the GPU's
    log_warn("no CUDA graph of {}: {}", words(key), error.what());
    refused_.insert(key);
    return work();
  }
  if (records) log_info("a CUDA graph of {}", words(key));
}

}  // namespace hg
