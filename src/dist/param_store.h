// Owns a model's parameters, their gradients and the optimizer's state, in flat memory per unit
// (embedding, each layer, head). A unit is what a sharded layout gathers and releases at a time,
// and whose gradients travel together while backward goes on. docs/parallelism.md has the stages.
#pragma once

#include <algorithm>
#include <array>
#include <exception>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/context.h"
#include "dist/param_spec.h"

namespace hg {

using UnitId = int;
using ParamId = int;
using BufferId = int;

/// What ranks that see the same parameters share (arXiv 1910.02054), each stage with those before
/// it: nothing; master weights and moments; gradients; the weights themselves.
enum class ZeroStage { none, optimizer, gradients, weights };

/// What the optimizer updates at once: a run of one parameter, flat: all of it, or what is in this
/// rank's shard.
struct ParamState {
  const ParamSpec& spec;
  UnitId unit;
  std::int64_t begin;   // of the run, in the rank's part of the parameter
  Tensor master, m, v;  // [N] f32
  Tensor working;       // [N] bf16; absent where the model computes with the master
  Tensor gradient;      // [N] f32
  bool counts;          // here, and not on another rank that has the same

  std::int64_t numel() const { return master ? master.numel() : working.numel(); }
};

/// What of the whole parameter a state is.
inline Piece piece_of(const Mesh& mesh, const ParamState& state) {
  const Group& group = split_group(mesh, state.spec.split);
  return {.whole = whole_shape(mesh, state.spec.split, state.spec.shape),
          .split = state.spec.split,
          .share = group.rank,
          .shares = group.size,
          .begin = state.begin,
          .numel = state.numel()};
}

struct Buffer {
  BufferSpec spec;
  Tensor values;
};

/// The ranks that hold the same: all of a stage, or those of one axis of the mesh.
enum class Holders { stage, replicas, tensor, expert_data, nobody_else };

/// Memory whose bits other ranks must hold, too.
struct Replica {
  std::string name;    // "layers.0.mlp.down.weight (adam m)"
  ConstTensor values;  // absent where this rank's shard has nothing of the parameter
  Holders holders;
};

class ParamStore;

/// The weights of one unit, in the element type that the model computes with.
class Weights {
 public:
  Weights(const ParamStore& store, UnitId unit) : store_(store), unit_(unit) {}
  ConstTensor operator[](ParamId id) const;
  Tensor buffer(BufferId id) const;

 private:
  const ParamStore& store_;
  UnitId unit_;
};

/// The gradients of one unit, f32. `accumulate` is false where backward overwrites: for the first
/// micro-batch of a step, and always where each micro-batch's gradients are sent on.
class Gradients {
 public:
  Gradients(const ParamStore& store, UnitId unit, bool add)
      : accumulate(add), store_(store), unit_(unit) {}
  Tensor operator[](ParamId id) const;

  const bool accumulate;

 private:
  const ParamStore& store_;
  UnitId unit_;
};

class ParamStore {
 public:
  /// A rank alone with its layers has nobody to share with: nothing is divided.
  explicit ParamStore(const Mesh& mesh = {}, ZeroStage stage = ZeroStage::none)
      : mesh_(mesh), stage_(mesh.stage.size == 1 ? ZeroStage::none : stage) {}

  /// Before its memory goes, waits for what is on its way.
  ~ParamStore() {
    if (mesh_.queue != nullptr) mesh_.queue->leave(exceptions_);
  }
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  /// A recurring unit is one of many that are at work one after the other, such as layers: what is
  /// whole for a moment then lies in memory that they take turns in.
  UnitId begin_unit(std::string name, bool recurring = false);
  /// The first and the last pipeline stage both have this unit, of the same shape: its gradients
  /// are summed over the two.
  void hold_at_both_ends(UnitId unit) {
    units_[static_cast<std::size_t>(unit)].at_both_ends = true;
  }
  /// Adds a parameter to the unit begun last.
  ParamId add(ParamSpec spec);
  BufferId add_buffer(BufferSpec spec);

  /// What is kept beside the working weights.
  enum class Purpose { inference, training };
  /// Lays all units out, in `compute` precision. On Device::meta nothing but addresses is handed
  /// out; on Device::cuda it is memory of `gpu`.
  void allocate(Device device, DType compute, Purpose purpose,
                const std::shared_ptr<GpuStream>& gpu = nullptr);
  /// Draws initial values by (seed, name, index): the same for every topology and thread count.
  void initialize(std::uint64_t seed);

  // All of the following are collective: calls come in the same order on every rank.
  /// Makes the weights that the model computes with from the master weights, after these were drawn
  /// or loaded.
  void publish(Context& ctx);
  /// Behind the optimizer, which has updated this rank's working weights: those of the others.
  void gather_updated(Context& ctx);

  /// Makes a unit's weights whole until the next gather but one, and begins with those of `next`
  /// (-1: none).
  void gather(Context& ctx, UnitId unit, UnitId next);
  /// Behind a unit's backward: begins to sum its gradients over the ranks. `first` and `last` are
  /// of the micro-batches of a step.
  void reduce(Context& ctx, UnitId unit, bool first, bool last);
  /// Recurring units whose weights are whole in the memory that they take turns in; -1: none. What
  /// gather begins with depends on them, and they on what it has begun: who repeats its work in
  /// another way sets them.
  using Turns = std::array<UnitId, 2>;
  const Turns& turns() const { return turns_; }
  void set_turns(const Turns& turns) { turns_ = turns; }
  /// Waits until all gradients are summed.
  void finish_reduce(Context& ctx);

  Weights weights(UnitId unit) const { return {*this, unit}; }
  Gradients gradients(UnitId unit, bool accumulate);

  /// This rank's share of every parameter with its state, in the order they were added.
  std::vector<ParamState> states() const;
  /// Gradients whose squares, summed over all ranks, make the norm's: [N] f32 each.
  std::vector<ConstTensor> norm_gradients() const;
  std::span<const Buffer> buffers() const { return buffers_; }
  /// Weights, state and saved buffers, in an order that is the same on all ranks. Waits for weights
  /// that are on their way.
  std::vector<Replica> replicas() const;

  std::span<const ParamSpec> specs() const { return specs_; }
  UnitId unit_of(std::size_t spec) const { return places_[spec].unit; }
  int units() const { return static_cast<int>(units_.size()); }
  const std::string& unit_name(UnitId unit) const {
    return units_[static_cast<std::size_t>(unit)].name;
  }
  DType compute_dtype() const { return compute_; }
  /// How parameters are held that every token meets whole, such as norms.
  Split split_of_tokens() const { return mesh_.sequence ? Split::partial : Split::none; }
  const Mesh& mesh() const { return mesh_; }
  ZeroStage stage() const { return stage_; }
  /// The memory behind it, by category.
  std::vector<const Arena*> arenas() const;

 private:
  /// Parameters of a unit that the same ranks share: of those that are whole on every rank of the
  /// tensor axis, of those that are not, and of experts.
  enum Kind : std::size_t { kWhole, kTensor, kExperts, kKinds };
  struct Flat {
    std::int64_t size = 0;  // elements, padded so that all shards are as long
    Tensor weights;         // of the compute type: whole, or a shard with a whole one elsewhere
    Tensor master, m, v;    // f32, whole or a shard
    Tensor gradient;        // f32, whole or a shard
    Tensor gathered, unreduced;  // [size]: what is whole for a moment, where the above are shards
  };
  struct Unit {
    std::string name;
    bool recurring;
    bool at_both_ends = false, awaits_other_end = false;
    Flat flats[kKinds];
    CommQueue::Ticket gathered = 0, reduced = 0;  // of the queue
  };
  struct Place {
    UnitId unit;
    Kind kind;
    std::int64_t offset;
  };
  friend class Weights;
  friend class Gradients;

  Kind kind_of(Split split) const;
  const Group& group_of(Kind kind) const {
    return kind == kExperts ? mesh_.expert_data : mesh_.replicas;
  }
  bool shards(ZeroStage from) const { return stage_ >= from; }
  /// The elements of a flat that are this rank's, whatever the stage.
  Tensor own(const Tensor& whole, Kind kind) const;
  Tensor part(const Tensor& flat, ParamId id) const;
  Holders holders_of(Kind kind, bool is_shard) const;
  const Place& place_of(ParamId id, UnitId unit) const;
  const Flat& flat_of(const Place& place) const;
  /// Whether this rank's part of a flat is one that counts in sums over all ranks.
  bool counts(const Unit& unit, Kind kind) const {
    if (unit.at_both_ends && !mesh_.first_stage()) return false;
    return kind != kWhole || mesh_.tensor.rank == 0;
  }
  void sum_over_ends(Unit& unit) const;
  /// What a rank has of a parameter in a flat: elements [begin, end) of the whole flat, none if
  /// begin >= end; its memory begins with element `first`.
  struct Cut {
    std::int64_t first, begin, end;
  };
  Cut cut(std::size_t id, bool sharded) const;
  void lay_out(Arena& arena, DType dtype, Tensor Flat::*member, bool sharded, bool taking_turns);
  void allocate_buffers();
  /// Zeros what lies between and behind the parameters of a unit's gradients at work: padding
  /// counts in norms, and a unit of other parameters may have had the memory.
  void clear_padding(UnitId unit) const;
  void zero(const Tensor& tensor) const;
  void begin_gather(UnitId unit);
  void in_background(CommQueue::Ticket& ticket, CommQueue::Call call);
  void sum_partial(UnitId unit) const;

  Mesh mesh_;
  ZeroStage stage_;
  const int exceptions_ = std::uncaught_exceptions();  // alive when the store was made
  std::vector<ParamSpec> specs_;
  std::vector<Place> places_;  // of each parameter
  std::vector<Unit> units_;
  std::vector<Buffer> buffers_;
  Turns turns_{-1, -1};
  std::shared_ptr<GpuStream> gpu_;  // whose memory it is; null: the host's
  Device device_ = Device::meta;
  DType compute_ = DType::f32;
  Arena working_{"weights"}, master_{"master weights"}, gradients_{"gradients"}, m_{"adam m"},
      v_{"adam v"}, moment_{"weights at work"}, unreduced_{"gradients at work"},
      buffers_arena_{"buffers"};
};

}  // namespace hg
