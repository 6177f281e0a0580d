#include "core/gpu.h"
#include "ops/optimizer.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/saved_tensors.h"
#include "train/checkpoint/values.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

/// Reads what this rank holds of a parameter.
void read_state(const SavedTensors& saved, const std::string& name, const Mesh& mesh,
                const ParamState& state, const Tensor& to, Context& ctx) {
  saved.read(name, piece_of(mesh, state), [&](std::int64_t begin, const ConstTensor& values) {
    take_values(ctx, to.slice(0, begin, begin + values.numel()), values);
  });
}

}  // namespace

void take_values(Context& ctx, const Tensor& to, const ConstTensor& from) {
  if (!on_gpu(ctx)) return run(ctx, Cast{.y = to, .x = from});
  Context host;
  std::vector<std::byte> converted(static_cast<std::size_t>(to.bytes()));
  run(host, Cast{.y = Tensor(converted.data(), to.dtype(), to.shape()), .x = from});
  store_values(ctx, to, converted.data());
}

void read_buffer(const SavedTensors& saved, const Buffer& buffer, Context& ctx) {
  const Tensor flat = buffer.values.view({buffer.values.numel()});
  saved.read(buffer.spec.name, {.whole = buffer.spec.shape, .numel = flat.numel()},
             [&](std::int64_t begin, const ConstTensor& values) {
               take_values(ctx, flat.slice(0, begin, begin + values.numel()), values);
             });
}

SavedState load_checkpoint(const fs::path& checkpoint, RunModel& run) {
  ParamStore& store = run.store;
  Context& ctx = run.ctx;
  const SavedTensors model(checkpoint, "model");
  const auto states = store.states();
  const auto buffers = std::ranges::count_if(
      run.whole->buffers(), [](const Buffer& buffer) { return buffer.spec.saved; });
  const std::size_t expected = run.whole->specs().size() + static_cast<std::size_t>(buffers);
  HG_CHECK(model.names().size() == expected, "{}: holds {} tensors, the model has {}",
           (checkpoint / "model").string(), model.names().size(), expected);
  for (const ParamState& state : states) {
    read_state(model, state.spec.name, store.mesh(), state,
               state.master ? state.master : state.working, ctx);
  }
  for (const Buffer& buffer : store.buffers())
    if (buffer.spec.saved) read_buffer(model, buffer, ctx);
  if (states.front().m) {
    const SavedTensors moments(checkpoint, "optimizer");
    for (const ParamState& state : states) {
      read_state(moments, state.spec.name + ".m", store.mesh(), state, state.m, ctx);
      read_state(moments, state.spec.name + ".v", store.mesh(), state, state.v, ctx);
    }
    store.publish(ctx);
  }
  return read_state(checkpoint);
}

}  // namespace hg
