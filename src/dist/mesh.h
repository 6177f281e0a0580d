// Where a rank stands among all: the axes along which a run is divided, and the groups that talk
// along each of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dist/comm_queue.h"

namespace hg {

/// Ranks of each axis. Every rank has a place in data x tensor, tensor neighbours next to each
/// other; expert divides the same ranks once more, for experts alone.
struct MeshShape {
  int data = 1, tensor = 1, expert = 1;
  bool sequence = false;  // tensor neighbours share the tokens between their products

  int size() const { return data * tensor; }
  /// "data 2 x tensor 2 (expert 4)"
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
  Group world, data, tensor;
  Group tokens;       // the ranks whose tokens differ where a token is by itself: data, or all
  Group expert;       // the ranks that hold different experts: `expert` neighbours of the world
  Group expert_data;  // those that hold the same experts
  CommQueue* queue = nullptr;
  bool sequence = false;  // as in MeshShape

  MeshShape shape() const;
  /// The place of `rank`, with nobody to talk to: what a meta run plans with.
  static Mesh place(const MeshShape& shape, int rank);
};

/// Owns what the groups of a mesh talk through.
class MeshComms {
 public:
  /// Collective over `world`, which must outlive this. Throws if its size is not the shape's.
  MeshComms(Comm& world, const MeshShape& shape);

  const Mesh& mesh() const { return mesh_; }

 private:
  void connect(Comm& world, Group& group, int color, const char* name);

  Mesh mesh_;
  std::vector<std::unique_ptr<Comm>> comms_;
  std::unique_ptr<Comm> background_world_;
  std::unique_ptr<CommQueue> queue_;  // last: its thread uses the comms
};

}  // namespace hg
