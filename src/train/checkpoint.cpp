#include "train/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "ops/optimizer.h"
#include "train/safetensors.h"

namespace hg {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "step-";

/// Complete checkpoints in `folder`, oldest first.
std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code ignored;  // no folder: no checkpoints
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with(kPrefix)) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

/// Tensors of whole parameters, as one rank sees or gathers them.
struct WholeTensors {
  std::vector<NamedTensor> tensors;
  std::vector<std::unique_ptr<float[]>> memory;  // of those that were put together
};

/// One tensor from all ranks: `fill` writes this rank's part of it, into zeros. Collective; all
/// ranks but rank 0 get none.
template <class Fill>
void put_together(Comm* host, std::string name, const Shape& shape, WholeTensors& result,
                  Fill&& fill) {
  auto memory = std::make_unique<float[]>(static_cast<std::size_t>(shape.numel()));
  fill(memory.get());
  const Tensor whole(memory.get(), DType::f32, shape);
  if (host != nullptr) host->all_reduce(whole, Reduce::sum, "checkpoint");
  if (host != nullptr && host->rank() > 0) return;
  result.tensors.push_back({std::move(name), whole});
  result.memory.push_back(std::move(memory));
}

/// Every parameter's `member` as it is over all ranks; `model` declares it whole.
WholeTensors whole_tensors(const RunModel& run, std::string_view suffix,
                           Tensor ParamState::*member) {
  WholeTensors result;
  const ParamStore& store = run.store;
  Comm* host = store.mesh().host;
  const auto states = store.states();
  for (const ParamSpec& spec : run.whole->specs()) {
    const std::string name = spec.name + std::string(suffix);
    const auto state = std::ranges::find_if(
        states, [&](const ParamState& own) { return own.spec.name == spec.name; });
    if (host == nullptr && !on_gpu(run.ctx)) {
      result.tensors.push_back({name, ((*state).*member).view(spec.shape)});
      continue;
    }
    put_together(host, name, spec.shape, result, [&](float* whole) {
      if (state == states.end() || !state->counts) return;
      const HostValues<float> values(run.ctx, (*state).*member);
      for_state_runs(store.mesh(), *state, [&](const ShardRun& part) {
        std::copy_n(values.data() + part.begin, part.count, whole + part.whole);
      });
    });
  }
  return result;
}

/// What the model holds beside parameters, the same on all ranks of a stage.
WholeTensors saved_buffers(const RunModel& run) {
  WholeTensors result;
  const ParamStore& store = run.store;
  const Mesh& mesh = store.mesh();
  for (const Buffer& buffer : run.whole->buffers()) {
    if (!buffer.spec.saved) continue;
    const auto own = std::ranges::find_if(
        store.buffers(), [&](const Buffer& other) { return other.spec.name == buffer.spec.name; });
    if (mesh.host == nullptr && !on_gpu(run.ctx)) {
      result.tensors.push_back({buffer.spec.name, own->values});
      continue;
    }
    put_together(mesh.host, buffer.spec.name, buffer.spec.shape, result, [&](float* whole) {
      if (own != store.buffers().end() && mesh.stage.rank == 0)
        load_values(run.ctx, whole, own->values);
    });
  }
  return result;
}

/// The tensor of the file, whose shape must be this.
ConstTensor find_tensor(const SafetensorsFile& file, const fs::path& path, const std::string& name,
                        const Shape& shape) {
  HG_CHECK(file.contains(name), "{}: has no tensor '{}'; is it a checkpoint of this model?",
           path.string(), name);
  const ConstTensor tensor = file.tensor(name);
  HG_CHECK(tensor.shape() == shape, "{}: tensor '{}' is {}, expected {}", path.string(), name,
           tensor.shape().to_string(), shape.to_string());
  return tensor.view({tensor.numel()});
}

/// Values of a file, converted between f32 and bf16, to where the context computes.
void take_values(Context& ctx, const Tensor& to, const ConstTensor& from) {
  if (!on_gpu(ctx)) return run(ctx, Cast{.y = to, .x = from});
  Context host;
  std::vector<std::byte> converted(static_cast<std::size_t>(to.bytes()));
  run(host, Cast{.y = Tensor(converted.data(), to.dtype(), to.shape()), .x = from});
  store_values(ctx, to, converted.data());
}

/// Reads what this rank holds of a parameter, converting between f32 and bf16.
void read_state(const SafetensorsFile& file, const fs::path& path, const std::string& suffix,
                const ParamStore& store, const ParamState& state, const Tensor& to, Context& ctx) {
  const ConstTensor whole =
      find_tensor(file, path, state.spec.name + suffix,
                  whole_shape(store.mesh(), state.spec.split, state.spec.shape));
  for_state_runs(store.mesh(), state, [&](const ShardRun& part) {
    take_values(ctx, to.slice(0, part.begin, part.begin + part.count),
                whole.slice(0, part.whole, part.whole + part.count));
  });
}

}  // namespace

fs::path save_checkpoint(const fs::path& folder, const RunModel& run, const TrainState& state,
                         const RunConfig& config, std::int64_t keep) {
  auto model = whole_tensors(run, "", &ParamState::master);
  const auto m = whole_tensors(run, ".m", &ParamState::m);
  const auto v = whole_tensors(run, ".v", &ParamState::v);
  const auto buffers = saved_buffers(run);
  const fs::path name = fmt::format("{}{:08}", kPrefix, state.step);
  if (run.store.mesh().world.rank > 0) return folder / name;

  const fs::path temporary = folder / fmt::format("tmp-{}-{}", name.string(), getpid());
  std::error_code error;
  fs::create_directories(temporary, error);
  HG_CHECK(!error, "{}: cannot create the folder: {}", temporary.string(), error.message());
  try {
    std::ranges::copy(buffers.tensors, std::back_inserter(model.tensors));
    write_safetensors(temporary / "model.safetensors", model.tensors, {{"format", "pt"}});
    auto moments = m.tensors;
    std::ranges::copy(v.tensors, std::back_inserter(moments));
    write_safetensors(temporary / "optimizer.safetensors", moments, {{"format", "pt"}});
    write_file(temporary / "config.yaml", to_yaml(config));
    const nlohmann::ordered_json json = {{"step", state.step},
                                         {"samples", state.samples},
                                         {"tokens", state.tokens},
                                         {"guard", to_json(state.guard)}};
    write_file(temporary / "state.json", json.dump(2) + "\n");

    sync_folder(temporary);
    fs::remove_all(folder / name);  // of an earlier end of the run, overtaken by this one
    fs::rename(temporary, folder / name);
    sync_folder(folder);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  auto all = list_checkpoints(folder);
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < all.size(); ++i)
    fs::remove_all(all[i]);
  return folder / name;
}

std::optional<fs::path> newest_checkpoint(const fs::path& folder) {
  const auto all = list_checkpoints(folder);
  return all.empty() ? std::nullopt : std::optional(all.back());
}

TrainState load_checkpoint(const fs::path& checkpoint, RunModel& run) {
  ParamStore& store = run.store;
  Context& ctx = run.ctx;
  const fs::path model_path = checkpoint / "model.safetensors",
                 moments_path = checkpoint / "optimizer.safetensors";
  const SafetensorsFile model(model_path);
  const auto states = store.states();
  const auto saved = std::ranges::count_if(run.whole->buffers(),
                                           [](const Buffer& buffer) { return buffer.spec.saved; });
  const std::size_t expected = run.whole->specs().size() + static_cast<std::size_t>(saved);
  HG_CHECK(model.names().size() == expected, "{}: holds {} tensors, the model has {}",
           model_path.string(), model.names().size(), expected);
  for (const ParamState& state : states) {
    read_state(model, model_path, "", store, state, state.master ? state.master : state.working,
               ctx);
  }
  for (const Buffer& buffer : store.buffers()) {
    if (!buffer.spec.saved) continue;
    take_values(ctx, buffer.values.view({buffer.values.numel()}),
                find_tensor(model, model_path, buffer.spec.name, buffer.spec.shape));
  }
  if (states.front().m) {
    const SafetensorsFile moments(moments_path);
    for (const ParamState& state : states) {
      read_state(moments, moments_path, ".m", store, state, state.m, ctx);
      read_state(moments, moments_path, ".v", store, state, state.v, ctx);
    }
    store.publish(ctx);
  }
  const fs::path state_path = checkpoint / "state.json";
  try {
    const auto json = nlohmann::json::parse(read_file(state_path));
    return {.step = json.at("step"),
            .samples = json.at("samples"),
            .tokens = json.at("tokens"),
            .guard = json.contains("guard") ? guard_state_of(json["guard"]) : GuardState{}};
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not a run's state: {}", state_path.string(), e.what());
  }
}

}  // namespace hg
