// Where a rank stands among all: the axes along which a run is divided, and the groups that talk
// along each of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dist/pipeline_links.h"

namespace hg {

/// Ranks of each axis. Every rank has a place in pipeline x data x context x tensor, where the last
/// axis has neighbours next to each other; expert divides the ranks of one pipeline stage once
/// more, for experts alone.
struct MeshShape {
  int pipeline = 1, data = 1, context = 1, tensor = 1, expert = 1;
  int chunks = 1;         // runs of layers of each stage, one round of the pipeline for each
  bool sequence = false;  // tensor neighbours share the tokens between their products

  int stage_size() const { return data * context * tensor; }
  int size() const { return pipeline * stage_size(); }
  /// "pipeline 2 x data 2 x tensor 2 (expert 4)"
  std::string to_string() const;
};

/// The ranks along one axis, as one of them sees them.
struct Group {
  int size = 1, rank = 0;
  Comm* comm = nullptr;        // null for a rank alone, and for planning
  Comm* background = nullptr;  // the same ranks, for the queue's thread
};

/// A rank's place. By default it is alone.
struct Mesh {
  Comm* host = nullptr;  // the world, for what lies in memory of the host; null for a rank alone
  Group world;
  Group pipeline;               // the stages, which hold different layers
  Group stage;                  // the ranks of this stage
  Group ends;                   // the first and the last stage; of no use to those between
  Group data, context, tensor;  // other sequences, other tokens of them, other heads
  Group context_back;           // the ranks of context, counted from the last
  Group replicas;               // who holds the same parameters: data x context
  Group tokens;       // who has other tokens where a token is by itself: replicas, or the stage
  Group expert;       // who holds different experts: `expert` neighbours of the stage
  Group expert_data;  // who holds the same experts
  CommQueue* queue = nullptr;
  PipelineLinks* links = nullptr;  // null with one stage, and for planning
  int chunks = 1;                  // as in MeshShape
  bool sequence = false;           // likewise

  MeshShape shape() const;
  /// That this rank has waited so far: for what runs in the background, for stages, and in calls of
  /// the groups above, which nothing hides.
  double waiting_seconds() const;
  bool first_stage() const { return pipeline.rank == 0; }
  bool last_stage() const { return pipeline.rank == pipeline.size - 1; }
  /// The place of `rank`, with nobody to talk to: what a meta run plans with.
  static Mesh place(const MeshShape& shape, int rank);
};

/// What ranks talk through that have their tensors on GPUs: the world twice, on two streams.
struct GpuWorlds {
  std::shared_ptr<GpuStream> compute, background;
  std::unique_ptr<Comm> world, background_world;
};

/// Owns what the groups of a mesh talk through.
class MeshComms {
 public:
  /// Collective over `host`, which must outlive this. Throws if its size is not the shape's. With
  /// `gpus`, tensors go through those.
  MeshComms(Comm& host, const MeshShape& shape, GpuWorlds gpus = {});

  const Mesh& mesh() const { return mesh_; }

 private:
  /// Ranks whose place on every axis but this group's is the same are of one `color`.
  void connect(Comm& world, Group& group, int color, const char* name);

  Mesh mesh_;
  std::unique_ptr<Comm> gpu_world_;
  std::unique_ptr<Comm> background_world_;
  std::vector<std::unique_ptr<Comm>> comms_;
  // Last: their threads use the comms.
  std::unique_ptr<PipelineLinks> links_;
  std::unique_ptr<CommQueue> queue_;
};

}  // namespace hg
