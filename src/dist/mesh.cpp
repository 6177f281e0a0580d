#include "dist/mesh.h"

#include <fmt/format.h>

namespace hg {

std::string MeshShape::to_string() const {
  std::string text = fmt::format("data {} x tensor {}", data, tensor);
  if (sequence) text += " with shared sequences";
  if (expert > 1) text += fmt::format(" (expert {})", expert);
  return text;
}

MeshShape Mesh::shape() const {
  return {.data = data.size, .tensor = tensor.size, .expert = expert.size, .sequence = sequence};
}

Mesh Mesh::place(const MeshShape& shape, int rank) {
  const auto group = [](int size, int of_rank) { return Group{.size = size, .rank = of_rank}; };
  return {
      .world = group(shape.size(), rank),
      .data = group(shape.data, rank / shape.tensor),
      .tensor = group(shape.tensor, rank % shape.tensor),
      .tokens = shape.sequence ? group(shape.size(), rank) : group(shape.data, rank / shape.tensor),
      .expert = group(shape.expert, rank % shape.expert),
      .expert_data = group(shape.size() / shape.expert, rank / shape.expert),
      .queue = nullptr,
      .sequence = shape.sequence};
}

MeshComms::MeshComms(Comm& world, const MeshShape& shape)
    : mesh_(Mesh::place(shape, world.rank())) {
  HG_CHECK(world.size() == shape.size(), "{} is {} ranks, but {} were started", shape.to_string(),
           shape.size(), world.size());
  HG_CHECK(shape.size() % shape.expert == 0, "the {} ranks of {} do not divide by expert = {}",
           shape.size(), shape.to_string(), shape.expert);
  if (world.size() == 1) return;
  mesh_.world.comm = &world;
  background_world_ = world.split(0, world.rank(), "world in the background");
  mesh_.world.background = background_world_.get();
  connect(world, mesh_.data, mesh_.tensor.rank, "data");
  connect(world, mesh_.tensor, mesh_.data.rank, "tensor");
  connect(world, mesh_.expert, mesh_.expert_data.rank, "expert");
  connect(world, mesh_.expert_data, mesh_.expert.rank, "expert data");
  mesh_.tokens = shape.sequence ? mesh_.world : mesh_.data;
  queue_ = std::make_unique<CommQueue>(*background_world_);
  mesh_.queue = queue_.get();
}

void MeshComms::connect(Comm& world, Group& group, int color, const char* name) {
  if (group.size == 1) return;
  comms_.push_back(world.split(color, group.rank, name));
  group.comm = comms_.back().get();
  comms_.push_back(world.split(color, group.rank, fmt::format("{} in the background", name)));
  group.background = comms_.back().get();
}

}  // namespace hg
