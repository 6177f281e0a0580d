#include "train/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "ops/optimizer.h"
#include "train/optimizer.h"
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

/// Each parameter in the shape that the model declares.
std::vector<NamedTensor> tensors_of(const std::vector<ParamState>& states, std::string_view suffix,
                                    Tensor ParamState::*member) {
  std::vector<NamedTensor> tensors;
  for (const ParamState& state : states) {
    tensors.push_back(
        {state.spec.name + std::string(suffix), (state.*member).view(state.spec.shape)});
  }
  return tensors;
}

/// What the model holds beside parameters.
std::vector<NamedTensor> saved_buffers(const ParamStore& store) {
  std::vector<NamedTensor> tensors;
  for (const Buffer& buffer : store.buffers()) {
    if (buffer.spec.saved) tensors.push_back({buffer.spec.name, buffer.values});
  }
  return tensors;
}

/// Reads one tensor of the file into `to`, flat, converting between f32 and bf16.
void read_into(const SafetensorsFile& file, const fs::path& path, const std::string& name,
               const Shape& shape, const Tensor& to, Context& ctx) {
  HG_CHECK(file.contains(name), "{}: has no tensor '{}'; is it a checkpoint of this model?",
           path.string(), name);
  const ConstTensor from = file.tensor(name);
  HG_CHECK(from.shape() == shape, "{}: tensor '{}' is {}, expected {}", path.string(), name,
           from.shape().to_string(), shape.to_string());
  run(ctx, Cast{.y = to, .x = from.view({from.numel()})});
}

}  // namespace

fs::path save_checkpoint(const fs::path& folder, const ParamStore& store, const TrainState& state,
                         const RunConfig& config, std::int64_t keep) {
  const fs::path name = fmt::format("{}{:08}", kPrefix, state.step);
  const fs::path temporary = folder / fmt::format("tmp-{}-{}", name.string(), getpid());
  std::error_code error;
  fs::create_directories(temporary, error);
  HG_CHECK(!error, "{}: cannot create the folder: {}", temporary.string(), error.message());
  try {
    const auto states = store.states();
    auto model = tensors_of(states, "", &ParamState::master);
    std::ranges::move(saved_buffers(store), std::back_inserter(model));
    write_safetensors(temporary / "model.safetensors", model, {{"format", "pt"}});
    auto moments = tensors_of(states, ".m", &ParamState::m);
    std::ranges::move(tensors_of(states, ".v", &ParamState::v), std::back_inserter(moments));
    write_safetensors(temporary / "optimizer.safetensors", moments, {{"format", "pt"}});
    write_file(temporary / "config.yaml", to_yaml(config));
    const nlohmann::ordered_json json = {
        {"step", state.step}, {"samples", state.samples}, {"tokens", state.tokens}};
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

TrainState load_checkpoint(const fs::path& checkpoint, const ParamStore& store, Context& ctx) {
  const fs::path model_path = checkpoint / "model.safetensors",
                 moments_path = checkpoint / "optimizer.safetensors";
  const SafetensorsFile model(model_path);
  const auto states = store.states();
  const std::size_t expected = states.size() + saved_buffers(store).size();
  HG_CHECK(model.names().size() == expected, "{}: holds {} tensors, the model has {}",
           model_path.string(), model.names().size(), expected);
  for (const ParamState& state : states) {
    read_into(model, model_path, state.spec.name, state.spec.shape,
              state.master ? state.master : state.working, ctx);
  }
  for (const Buffer& buffer : store.buffers()) {
    if (!buffer.spec.saved) continue;
    read_into(model, model_path, buffer.spec.name, buffer.spec.shape,
              buffer.values.view({buffer.values.numel()}), ctx);
  }
  if (states.front().m) {
    const SafetensorsFile moments(moments_path);
    for (const ParamState& state : states) {
      read_into(moments, moments_path, state.spec.name + ".m", state.spec.shape, state.m, ctx);
      read_into(moments, moments_path, state.spec.name + ".v", state.spec.shape, state.v, ctx);
    }
    refresh_working(ctx, store);
  }
  const fs::path state_path = checkpoint / "state.json";
  try {
    const auto json = nlohmann::json::parse(read_file(state_path));
    return {.step = json.at("step"), .samples = json.at("samples"), .tokens = json.at("tokens")};
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not a run's state: {}", state_path.string(), e.what());
  }
}

}  // namespace hg
