// Starting a model from the weights of another one, which may have other gates.
#include <algorithm>
#include <array>

#include "core/file.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/saved_tensors.h"
#include "train/checkpoint/values.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

constexpr char kAlone[] = "weights can be taken from a model that differs in its gates alone";

/// Keys of a model on which nothing depends that trained weights compute.
constexpr std::array<std::string_view, 9> kFree = {
    "attention.gate.",   "max_position_embeddings", "initializer_range",
    "depth_scaled_init", "moe.load_balance",        "moe.aux_loss_coef",
    "moe.z_loss_coef",   "moe.bias_update_rate",    "moe.capacity_factor"};

void check_config(const fs::path& path, const ModelConfig& saved, const ModelConfig& own) {
  for (const auto& [key, there, here] : differences(saved, own)) {
    HG_CHECK(
        std::ranges::any_of(kFree, [&](std::string_view free) { return key.starts_with(free); }),
        "{}: model.{} is {} there and {} here: {}", path.string(), key, there, here, kAlone);
  }
}

/// Elements [begin, begin + count) of a parameter that are [saved, saved + count) of the saved one.
struct Match {
  std::int64_t begin, saved, count;
};

bool is_gate(const ParamSpec::Part& part) { return part.kind == "gate"; }

/// Where the parts of a parameter are in the saved one, which may lack gates, or have some more.
/// Nothing if they differ otherwise.
std::optional<std::vector<Match>> match_parts(const ParamSpec& own, const ParamSpec& saved) {
  if (own.shape == saved.shape) return std::vector<Match>{{0, 0, own.numel()}};
  if (own.repeats != saved.repeats) return std::nullopt;
  std::vector<Match> matches;
  std::int64_t at = 0, saved_at = 0;
  auto part = own.parts.begin(), saved_part = saved.parts.begin();
  for (; part != own.parts.end() || saved_part != saved.parts.end();) {
    const bool both = part != own.parts.end() && saved_part != saved.parts.end();
    if (both && part->kind == saved_part->kind && part->numel == saved_part->numel) {
      matches.push_back({at, saved_at, part->numel});
      at += (part++)->numel;
      saved_at += (saved_part++)->numel;
    } else if (part != own.parts.end() && is_gate(*part)) {
      at += (part++)->numel;
    } else if (saved_part != saved.parts.end() && is_gate(*saved_part)) {
      saved_at += (saved_part++)->numel;
    } else {
      return std::nullopt;
    }
  }
  const std::size_t each = matches.size();
  for (std::int64_t repeat = 1; repeat < own.repeats; ++repeat) {
    for (std::size_t i = 0; i < each; ++i)
      matches.push_back(
          {matches[i].begin + repeat * at, matches[i].saved + repeat * saved_at, matches[i].count});
  }
  return matches;
}

/// Elements of a saved tensor, as a piece of it.
Piece run_of(const Shape& whole, std::int64_t begin, std::int64_t count) {
  return {.whole = whole, .begin = begin, .numel = count};
}

const ParamSpec* find(std::span<const ParamSpec> specs, const std::string& name) {
  const auto found = std::ranges::find(specs, name, &ParamSpec::name);
  return found == specs.end() ? nullptr : &*found;
}

bool is_gate(const ParamSpec& spec) {
  return std::ranges::all_of(spec.parts, [](const ParamSpec::Part& part) { return is_gate(part); });
}

/// Throws if the checkpoint has anything but gates that this model has no place for.
void check_all_known(const SavedTensors& tensors, std::span<const ParamSpec> saved,
                     const RunModel& run, const fs::path& checkpoint) {
  for (const std::string& name : tensors.names()) {
    const ParamSpec* gate = find(saved, name);
    const bool known = find(run.whole->specs(), name) != nullptr ||
                       std::ranges::any_of(run.whole->buffers(), [&](const Buffer& b) {
                         return b.spec.saved && b.spec.name == name;
                       });
    HG_CHECK(known || (gate != nullptr && is_gate(*gate)), "{}: '{}' is there and not here: {}",
             checkpoint.string(), name, kAlone);
  }
}

void read_matches(const SavedTensors& tensors, const Mesh& mesh, const ParamState& state,
                  const ParamSpec& saved, std::span<const Match> matches, Context& ctx) {
  for_piece_runs(piece_of(mesh, state), [&](const PieceRun& run) {
    for (const Match& match : matches) {
      const std::int64_t first = std::max(run.whole, match.begin);
      const std::int64_t last = std::min(run.whole + run.count, match.begin + match.count);
      if (first >= last) continue;
      const Piece piece = run_of(saved.shape, match.saved + first - match.begin, last - first);
      const std::int64_t at = run.begin + first - run.whole;
      tensors.read(saved.name, piece, [&](std::int64_t begin, const ConstTensor& values) {
        take_values(ctx, state.master.slice(0, at + begin, at + begin + values.numel()), values);
      });
    }
  });
}

}  // namespace

std::vector<std::string> load_weights(const fs::path& checkpoint, RunModel& run) {
  const fs::path path = checkpoint / "config.yaml";
  const RunConfig config = parse_config<RunConfig>(read_file(path), path.string()).value;
  check_config(path, config.model, run.model.config());
  const auto saved_model = declare_model(config.model);
  const SavedTensors tensors(checkpoint, "model");
  check_all_known(tensors, saved_model->specs(), run, checkpoint);
  std::vector<std::string> drawn;
  for (const ParamSpec& spec : run.whole->specs()) {
    const ParamSpec* saved = find(saved_model->specs(), spec.name);
    if (saved == nullptr && is_gate(spec)) {
      drawn.push_back(spec.name);
      continue;
    }
    const auto matches = saved == nullptr ? std::nullopt : match_parts(spec, *saved);
    HG_CHECK(matches, "{}: '{}' is {} there and {} here: {}", checkpoint.string(), spec.name,
             saved == nullptr ? "missing" : saved->shape.to_string(), spec.shape.to_string(),
             kAlone);
    std::int64_t taken = 0;
    for (const Match& match : *matches) taken += match.count;
    if (taken < spec.numel()) drawn.push_back(spec.name);
    for (const ParamState& state : run.store.states()) {
      if (state.spec.name == spec.name)
        read_matches(tensors, run.store.mesh(), state, *saved, *matches, run.ctx);
    }
  }
  for (const Buffer& buffer : run.store.buffers())
    if (tensors.contains(buffer.spec.name)) read_buffer(tensors, buffer, run.ctx);
  run.store.publish(run.ctx);
  return drawn;
}

}  // namespace hg
