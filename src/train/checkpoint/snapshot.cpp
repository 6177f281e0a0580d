#include "train/checkpoint/snapshot.h"

#include <cstring>

#include "core/gpu.h"
#include "core/parallel.h"

namespace hg {
namespace {

/// A tensor of the model, and how it is to be called.
struct Source {
  std::string name;
  Piece piece;
  ConstTensor tensor;
};

std::string file_name(const char* part, const Mesh& mesh) {
  return mesh.world.size == 1 ? fmt::format("{}.safetensors", part)
                              : fmt::format("{}-rank{:05}.safetensors", part, mesh.world.rank);
}

/// Copies with all threads: a snapshot is what the step waits for.
void copy_all(const Context& ctx, std::span<const Source> from, std::span<const Tensor> to) {
  if (on_gpu(ctx)) {
    for (std::size_t i = 0; i < from.size(); ++i) load_values(ctx, to[i].data(), from[i].tensor);
    return;
  }
  parallel_for(std::ssize(from), [&](std::int64_t task) {
    const auto i = static_cast<std::size_t>(task);
    std::memcpy(to[i].data(), from[i].tensor.data(), static_cast<std::size_t>(to[i].bytes()));
  });
}

/// Room for a copy of each, contiguous.
std::vector<Tensor> room_for(std::span<const Source> sources, Arena& memory) {
  std::vector<Tensor> room;
  for (const auto& [name, piece, tensor] : sources) {
    const Shape& shape = piece.is_whole() ? piece.whole : tensor.shape();
    room.push_back(memory.allocate("snapshot", tensor.dtype(), shape));
  }
  return room;
}

SavedPart copy_of(const Context& ctx, std::string file, std::span<const Source> sources) {
  auto memory = std::make_unique<Arena>("snapshot");
  room_for(sources, *memory);  // measures
  memory->release(0);
  memory->reserve(memory->high_water());
  const std::vector<Tensor> copies = room_for(sources, *memory);
  copy_all(ctx, sources, copies);

  SavedPart part{.file = std::move(file), .tensors = {}, .pieces = {}, .memory = std::move(memory)};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    part.tensors.push_back({sources[i].name, copies[i]});
    if (!sources[i].piece.is_whole()) part.pieces.emplace(sources[i].name, sources[i].piece);
  }
  return part;
}

}  // namespace

Digest SavedPart::write(const std::filesystem::path& folder) const {
  SafetensorsMetadata metadata{{"format", "pt"}};
  if (!pieces.empty()) metadata[kPiecesKey] = pieces_to_json(pieces);
  return write_safetensors(folder / file, tensors, metadata, AtomicFile::Name::left_to_caller);
}

std::vector<SavedPart> take_snapshot(const RunModel& run) {
  const ParamStore& store = run.store;
  const Mesh& mesh = store.mesh();
  std::vector<Source> model, optimizer;
  for (const ParamState& state : store.states()) {
    if (!state.counts) continue;
    const Piece piece = piece_of(mesh, state);
    model.push_back({state.spec.name, piece, state.master});
    optimizer.push_back({state.spec.name + ".m", piece, state.m});
    optimizer.push_back({state.spec.name + ".v", piece, state.v});
  }
  for (const Buffer& buffer : store.buffers()) {
    if (!buffer.spec.saved || mesh.stage.rank > 0) continue;
    const Piece piece{.whole = buffer.spec.shape, .numel = buffer.values.numel()};
    model.push_back({buffer.spec.name, piece, buffer.values});
  }
  std::vector<SavedPart> parts;
  if (!model.empty()) parts.push_back(copy_of(run.ctx, file_name("model", mesh), model));
  if (!optimizer.empty())
    parts.push_back(copy_of(run.ctx, file_name("optimizer", mesh), optimizer));
  return parts;
}

}  // namespace hg
