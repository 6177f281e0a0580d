// The simulated runtime's graphs: what a stream records, and does again.
#include "cuda_sim/graphs.h"

#include <algorithm>

#include "core/check.h"
#include "cuda_sim/machine.h"

using namespace cuda_sim;

namespace {

/// What the calling thread records, in any stream.
thread_local std::weak_ptr<Capture> its_capture;

cudaStream_t resolved(cudaStream_t stream) { return device().stream_of(stream); }

/// Whether the stream that began waits for all that others have recorded.
bool is_joined(const Capture& capture) {
  std::vector<bool> done(capture.nodes.size());
  std::vector<std::size_t> nodes = capture.streams.front()->nodes;
  while (!nodes.empty()) {
    const std::size_t node = nodes.back();
    nodes.pop_back();
    if (done[node]) continue;
    done[node] = true;
    nodes.insert(nodes.end(), capture.nodes[node].after.begin(), capture.nodes[node].after.end());
  }
  return std::ranges::all_of(capture.streams, [&](cudaStream_t stream) {
    return std::ranges::all_of(stream->nodes, [&](std::size_t node) { return done[node]; });
  });
}

cudaError_t invalid(Capture& capture, const char* call) {
  capture.failure = fmt::format("of {}", call);
  return error(cudaErrorStreamCaptureUnsupported, fmt::format("{} while a stream records", call));
}

}  // namespace

cudaError_t cuda_sim::check_safe(const char* call) {
  const auto capture = its_capture.lock();
  return capture && !capture->relaxed ? invalid(*capture, call) : cudaSuccess;
}

cudaError_t cuda_sim::check_not_capturing(cudaStream_t stream, const char* call) {
  return stream->capture ? invalid(*stream->capture, call) : cudaSuccess;
}

cudaError_t cuda_sim::check_capture(cudaStream_t stream) {
  if (!stream->capture || stream->capture->failure.empty()) return cudaSuccess;
  return error(cudaErrorStreamCaptureInvalidated,
               fmt::format("the recording is invalid because {}", stream->capture->failure));
}

std::string cuda_sim::difference(cudaGraph_t a, cudaGraph_t b) {
  const std::vector<Node>&x = a->nodes, &y = b->nodes;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    const Operands &of_x = x[i].operands, &of_y = y[i].operands;
    if (x[i].after != y[i].after) return fmt::format("node {} stands behind other nodes", i);
    if (of_x == of_y) continue;
    const bool alike = std::string_view(of_x.kind) == of_y.kind;
    std::size_t operand = 0;
    while (operand < std::min(of_x.values.size(), of_y.values.size()) &&
           of_x.values[operand] == of_y.values[operand])
      ++operand;
    return alike ? fmt::format("node {}, a {}: operand {} differs", i, of_x.kind, operand)
                 : fmt::format("node {} is a {} and a {}", i, of_x.kind, of_y.kind);
  }
  return x.size() == y.size() ? "" : fmt::format("{} nodes and {}", x.size(), y.size());
}

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (const cudaError_t code = check_caller()) return code;
  stream = resolved(stream);
  if (stream == resolved(nullptr))
    return error(cudaErrorStreamCaptureUnsupported, "the default stream is to record");
  if (stream->capture || !its_capture.expired())
    return error(cudaErrorIllegalState, "a stream or a thread records already");
  if (stream->blocking || mode == cudaStreamCaptureModeGlobal)
    return error(cudaErrorNotSupported,
                 "the simulation knows neither global captures nor those of "
                 "streams that take turns with the default stream");
  stream->capture = std::make_shared<Capture>(
      Capture{.relaxed = mode == cudaStreamCaptureModeRelaxed, .streams = {stream}});
  its_capture = stream->capture;
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const auto& capture = resolved(stream)->capture;
  *status = !capture                   ? cudaStreamCaptureStatusNone
            : capture->failure.empty() ? cudaStreamCaptureStatusActive
                                       : cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  stream = resolved(stream);
  if (!stream->capture) return error(cudaErrorIllegalState, "the stream records nothing");
  if (its_capture.lock() != stream->capture)
    return error(cudaErrorStreamCaptureWrongThread, "another thread began the recording");
  const auto capture = stream->capture;
  if (stream != capture->streams.front()) {
    capture->failure = "of its end in a stream that did not begin it";
    return error(cudaErrorStreamCaptureUnmatched, "the recording was begun in another stream");
  }
  cudaError_t code = check_capture(stream);
  if (code == cudaSuccess && !is_joined(*capture))
    code = error(cudaErrorStreamCaptureUnjoined,
                 "the recording ends before its stream waits for what another one has recorded");
  for (const cudaStream_t its : capture->streams) {
    its->capture = nullptr;
    its->nodes.clear();
  }
  if (code != cudaSuccess) return code;
  *graph = new CUgraph_st{std::move(capture->nodes)};
  ++machine().graphs_alive;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  --machine().graphs_alive;
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t code = check_caller()) return code;
  *ready = new CUgraphExec_st{graph->nodes};
  ++machine().graphs_alive;
  ++machine().graphs;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready) {
  if (ready->last && !ready->last->done.load())
    return error(cudaErrorIllegalState, "a graph is destroyed while it runs");
  --machine().graphs_alive;
  delete ready;
  return cudaSuccess;
}

/// Nodes are done one by one, so that other streams get their turns between them.
cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  stream = resolved(stream);
  if (const cudaError_t code = check_not_capturing(stream, "cudaGraphLaunch")) return code;
  ++machine().graph_launches;
  ready->last = device().launch(stream, ready->nodes);
  return cudaSuccess;
}
}
