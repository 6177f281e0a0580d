#include "train/micro_step_graphs.h"

#include <algorithm>

#include "core/log.h"
#include "train/run_model.h"

namespace hg {
namespace {

/// Why no micro-batch of a run can be in a graph; null if some can.
const char* hindrance(const Mesh& mesh) {
  if (mesh.pipeline.size > 1) return "pipeline stages wait for each other";
  if (mesh.context.size > 1) return "parts of sequences have as many documents as there are";
  if (mesh.expert.size > 1) return "expert parallelism waits for numbers of rows";
  return nullptr;
}

std::string words(const MicroStepKey& key) {
  return fmt::format("micro-batches of {} tokens in up to {} documents, gradients {}{}{}",
                     key.tokens, key.documents, key.accumulates ? "added" : "written",
                     key.sends ? " and sent" : "",
                     key.instruments != nullptr ? ", seen by instruments" : "");
}

}  // namespace

MicroStepGraphs::MicroStepGraphs(const RunConfig& config, const Context& ctx, ParamStore& store)
    : store_(store) {
  if (!on_gpu(ctx) || !config.training.cuda_graphs) return;
  const char* const why = hindrance(store.mesh());
  if (why != nullptr) {
    log_info("micro-batches run op by op, not as CUDA graphs: {}", why);
  } else {
    gpu_ = dynamic_cast<GpuGraphs*>(ctx.gpu.get());
  }
}

void MicroStepGraphs::say_once(const std::string& sentence) {
  if (said_.insert(sentence).second) log_info("{}", sentence);
}

void MicroStepGraphs::run(const Context& ctx, const MicroStepKey& key,
                          const std::function<void()>& work) {
  // A trace waits for each op.
  if (ctx.trace != nullptr || refused_.contains(key)) return work();
  const auto [known, is_new] = graphs_.try_emplace(key);
  if (is_new) return work();
  Entry& entry = known->second;
  const auto recorded = [](const auto& its) { return its.second.graph != nullptr; };
  if (!entry.graph && std::ranges::count_if(graphs_, recorded) == std::int64_t{kMost}) {
    say_once(fmt::format("there are {} CUDA graphs: other micro-batches run op by op", kMost));
    return work();
  }
  // What is under way in the background is waited for here, since a graph cannot: and, within the
  // graph, what it sends itself.
  CommQueue* const queue = store_.mesh().queue;
  if (queue != nullptr) queue->wait_all();
  const auto joined = [&] {
    store_.set_turns(key.turns);
    work();
    if (queue != nullptr) queue->wait_all();
  };
  if (!entry.graph && !record(key, entry, joined)) return work();
  gpu_->launch(entry.graph, joined);
  store_.set_turns(entry.turns);
}

bool MicroStepGraphs::record(const MicroStepKey& key, Entry& entry,
                             const std::function<void()>& work) {
  const Mesh& mesh = store_.mesh();
  std::string problem;
  try {
    entry = {.graph = gpu_->record(work), .turns = store_.turns()};
  } catch (const Error& error) {
    problem = error.what();
  }
  std::int32_t failed = problem.empty() ? 0 : 1;
  if (mesh.host != nullptr)
    mesh.host->all_reduce({&failed, DType::i32, {1}}, Reduce::max, "a CUDA graph");
  if (failed == 0) {
    log_info("a CUDA graph of {}", words(key));
    return true;
  }
  log_warn("no CUDA graph of {}: {}", words(key),
           problem.empty() ? "another rank could not record it" : problem);
  entry.graph = nullptr;
  refused_.insert(key);
  store_.set_turns(key.turns);
  if (mesh.queue != nullptr) mesh.queue->forget();
  return false;
}

}  // namespace hg
