#include "dist/mesh.h"

#include <fmt/format.h>

#include <set>

namespace hg {

std::string MeshShape::to_string() const {
  std::string text;
  if (pipeline > 1) {
    const std::string each = chunks > 1 ? fmt::format(" with {} chunks each", chunks) : "";
    text += fmt::format("pipeline {}{} x ", pipeline, each);
  }
  text += fmt::format("data {} x ", data);
  if (context > 1) text += fmt::format("context {} x ", context);
  text += fmt::format("tensor {}", tensor);
  if (sequence) text += " with shared sequences";
  if (expert > 1) text += fmt::format(" (expert {})", expert);
  return text;
}

MeshShape Mesh::shape() const {
  return {.pipeline = pipeline.size,
          .data = data.size,
          .context = context.size,
          .tensor = tensor.size,
          .expert = expert.size,
          .chunks = chunks,
          .sequence = sequence};
}

double Mesh::waiting_seconds() const {
  std::set<const Comm*> comms;  // axes of one rank each share them
  for (const Group* group : {&world, &pipeline, &stage, &ends, &data, &context, &context_back,
                             &tensor, &replicas, &tokens, &expert, &expert_data})
    comms.insert(group->comm);
  comms.insert(host);
  double sum = queue == nullptr ? 0 : queue->seconds().waiting;
  if (links != nullptr) sum += links->waiting_seconds();
  for (const Comm* comm : comms) sum += comm == nullptr ? 0 : comm->seconds();
  return sum;
}

Mesh Mesh::place(const MeshShape& shape, int rank) {
  const auto group = [](int size, int of_rank) { return Group{.size = size, .rank = of_rank}; };
  const int in_stage = rank % shape.stage_size(), stage = rank / shape.stage_size();
  const int replica = in_stage / shape.tensor;
  Mesh mesh;
  mesh.world = group(shape.size(), rank);
  mesh.pipeline = group(shape.pipeline, stage);
  mesh.stage = group(shape.stage_size(), in_stage);
  if (shape.pipeline > 1) mesh.ends = group(2, mesh.last_stage() ? 1 : 0);
  mesh.data = group(shape.data, replica / shape.context);
  mesh.context = group(shape.context, replica % shape.context);
  mesh.context_back = group(shape.context, shape.context - 1 - mesh.context.rank);
  mesh.tensor = group(shape.tensor, in_stage % shape.tensor);
  mesh.replicas = group(shape.data * shape.context, replica);
  mesh.tokens = shape.sequence ? mesh.stage : mesh.replicas;
  mesh.expert = group(shape.expert, in_stage % shape.expert);
  mesh.expert_data = group(shape.stage_size() / shape.expert, in_stage / shape.expert);
  mesh.chunks = shape.chunks;
  mesh.sequence = shape.sequence;
  return mesh;
}

MeshComms::MeshComms(Comm& host, const MeshShape& shape, GpuWorlds gpus)
    : mesh_(Mesh::place(shape, host.rank())), gpu_world_(std::move(gpus.world)) {
  HG_CHECK(host.size() == shape.size(), "{} is {} ranks, but {} were started", shape.to_string(),
           shape.size(), host.size());
  HG_CHECK(shape.stage_size() % shape.expert == 0,
           "the {} ranks of a stage of {} do not divide by expert = {}", shape.stage_size(),
           shape.to_string(), shape.expert);
  if (host.size() == 1) return;
  Comm& world = gpu_world_ ? *gpu_world_ : host;
  mesh_.host = &host;
  mesh_.world.comm = &world;
  background_world_ = gpu_world_ ? std::move(gpus.background_world)
                                 : world.split(0, world.rank(), "world in the background");
  mesh_.world.background = background_world_.get();
  const int stage = mesh_.pipeline.rank, in_stage = mesh_.stage.rank;
  const auto color = [&](const Group& group) { return stage * shape.stage_size() + group.rank; };
  if (shape.pipeline == 1) {
    mesh_.stage = mesh_.world;
  } else {
    connect(world, mesh_.stage, stage, "stage");
    connect(world, mesh_.pipeline, in_stage, "pipeline");
    const bool at_end = mesh_.first_stage() || mesh_.last_stage();
    connect(world, mesh_.ends, at_end ? in_stage : -1, "ends of the pipeline");
  }
  const int sequences = mesh_.data.rank;
  connect(world, mesh_.data, color(mesh_.tensor) * shape.context + mesh_.context.rank, "data");
  connect(world, mesh_.context, color(mesh_.tensor) * shape.data + sequences, "context");
  connect(world, mesh_.context_back, color(mesh_.tensor) * shape.data + sequences, "context, back");
  connect(world, mesh_.tensor, color(mesh_.replicas), "tensor");
  if (shape.context == 1) {
    mesh_.replicas = mesh_.data;
  } else {
    connect(world, mesh_.replicas, color(mesh_.tensor), "replicas");
  }
  connect(world, mesh_.expert, color(mesh_.expert_data), "expert");
  connect(world, mesh_.expert_data, color(mesh_.expert), "expert data");
  mesh_.tokens = shape.sequence ? mesh_.stage : mesh_.replicas;
  if (shape.pipeline > 1) {
    links_ = std::make_unique<PipelineLinks>(*mesh_.pipeline.comm, *background_world_);
    mesh_.links = links_.get();
  }
  if (gpu_world_) {
    queue_ = std::make_unique<StreamQueue>(gpus.compute, gpus.background);
  } else {
    queue_ = std::make_unique<ThreadQueue>(*background_world_);
  }
  mesh_.queue = queue_.get();
}

void MeshComms::connect(Comm& world, Group& group, int color, const char* name) {
  if (group.size == 1) return;
  const auto join = [&](Comm& all, const std::string& whole_name) {
    comms_.push_back(all.split(color, group.rank, whole_name));
    return comms_.back().get();
  };
  group.comm = join(world, name);
  group.background = join(*background_world_, fmt::format("{} in the background", name));
}

}  // namespace hg
