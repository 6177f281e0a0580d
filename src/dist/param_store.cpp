#include "dist/param_store.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "core/random.h"
#include "dist/collectives.h"

namespace hg {
namespace {

// 64 bytes of bf16, so that every parameter starts on a cache line in either element type.
constexpr std::int64_t kAlignment = 32;

std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

std::int64_t total(const ParamSpec& spec) {
  std::int64_t sum = 0;
  for (const ParamSpec::Part& part : spec.parts) sum += part.numel;
  return spec.repeats * sum;
}

/// Draws what this rank has of a parameter.
void draw(const ParamState& state, const Mesh& mesh, std::uint64_t seed, float* values) {
  const RandomStream stream(seed, state.spec.name);
  constexpr std::int64_t kGrain = 1 << 14;
  for_piece_runs(piece_of(mesh, state), [&](const PieceRun& run) {
    for_parts(state.spec, [&](const ParamSpec::Part& part, std::int64_t begin, std::int64_t end) {
      begin = std::max(begin - state.begin, run.begin);
      end = std::min(end - state.begin, run.begin + run.count);
      const bool ones = part.init.kind == Init::Kind::ones;
      parallel_ranges(std::max<std::int64_t>(0, end - begin), kGrain,
                      [&](std::int64_t from, std::int64_t to) {
                        for (std::int64_t i = begin + from; i < begin + to; ++i) {
                          const auto whole = static_cast<std::uint64_t>(run.whole + i - run.begin);
                          values[i] = ones ? 1.0F : part.init.std * stream.normal(whole);
                        }
                      });
    });
  });
}

}  // namespace

ConstTensor Weights::operator[](ParamId id) const {
  const auto& flat = store_.flat_of(store_.place_of(id, unit_));
  return store_.part(flat.gathered ? flat.gathered : flat.weights, id);
}

Tensor Weights::buffer(BufferId id) const {
  return store_.buffers()[static_cast<std::size_t>(id)].values;
}

Tensor Gradients::operator[](ParamId id) const {
  const auto& flat = store_.flat_of(store_.place_of(id, unit_));
  return store_.part(flat.unreduced ? flat.unreduced : flat.gradient, id);
}

UnitId ParamStore::begin_unit(std::string name, bool recurring) {
  units_.push_back({.name = std::move(name), .recurring = recurring, .flats = {}});
  return units() - 1;
}

ParamStore::Kind ParamStore::kind_of(Split split) const {
  if (mesh_.stage.size == 1) return kWhole;
  if (split == Split::experts) return kExperts;
  return split == Split::none || split == Split::partial ? kWhole : kTensor;
}

ParamId ParamStore::add(ParamSpec spec) {
  HG_CHECK(total(spec) == spec.shape.numel(), "parameter {}: parts of {} elements in a shape of {}",
           spec.name, total(spec), spec.shape.numel());
  const Kind kind = kind_of(spec.split);
  Flat& flat = units_.back().flats[kind];
  places_.push_back({.unit = units() - 1, .kind = kind, .offset = flat.size});
  flat.size += round_up(spec.shape.numel(), kAlignment);
  specs_.push_back(std::move(spec));
  return static_cast<ParamId>(specs_.size()) - 1;
}

BufferId ParamStore::add_buffer(BufferSpec spec) {
  buffers_.push_back({.spec = std::move(spec), .values = {}});
  return static_cast<BufferId>(buffers_.size()) - 1;
}

void ParamStore::allocate_buffers() {
  const auto place = [&](Arena& arena) {
    for (Buffer& buffer : buffers_)
      buffer.values = arena.allocate("buffers", buffer.spec.dtype, buffer.spec.shape);
  };
  place(buffers_arena_);
  if (device_ == Device::meta || buffers_.empty()) return;
  const std::size_t bytes = buffers_arena_.high_water();
  buffers_arena_.release(0);
  buffers_arena_.reserve(bytes, gpu_);
  place(buffers_arena_);
  for (const Buffer& buffer : buffers_) zero(buffer.values);
}

void ParamStore::lay_out(Arena& arena, DType dtype, Tensor Flat::*member, bool sharded,
                         bool taking_turns) {
  // Recurring units that take turns have two places: for the one at work and for its neighbour.
  std::int64_t turns[2][kKinds] = {};
  const auto turn_of = [&](std::size_t unit) { return unit % 2; };
  const auto each = [&](auto&& fn) {
    for (std::size_t u = 0; u < units_.size(); ++u) {
      for (const Kind kind : {kWhole, kTensor, kExperts}) {
        Flat& flat = units_[u].flats[kind];
        const std::int64_t n = sharded ? flat.size / group_of(kind).size : flat.size;
        if (n > 0) fn(u, kind, flat, n);
      }
    }
  };
  each([&](std::size_t u, Kind kind, Flat&, std::int64_t n) {
    if (!taking_turns || !units_[u].recurring) return;
    auto& room = turns[turn_of(u)][kind];
    room = std::max(room, n);
  });
  const auto place_all = [&] {
    Tensor places[2][kKinds];
    each([&](std::size_t u, Kind kind, Flat& flat, std::int64_t n) {
      if (!taking_turns || !units_[u].recurring) {
        flat.*member = arena.allocate("parameters", dtype, {n});
        return;
      }
      Tensor& shared = places[turn_of(u)][kind];
      if (!shared) shared = arena.allocate("parameters", dtype, {turns[turn_of(u)][kind]});
      flat.*member = shared.slice(0, 0, n);
    });
  };
  place_all();  // measures
  if (device_ == Device::meta) return;
  const std::size_t bytes = arena.high_water();
  arena.release(0);
  arena.reserve(bytes, gpu_);
  place_all();
  // Padding counts in norms, and moments begin with zeros, as memory of the host does by itself.
  if (gpu_) each([&](std::size_t, Kind, Flat& flat, std::int64_t) { zero(flat.*member); });
}

void ParamStore::allocate(Device device, DType compute, Purpose purpose,
                          const std::shared_ptr<GpuStream>& gpu) {
  device_ = device;
  compute_ = compute;
  gpu_ = gpu;
  for (Unit& unit : units_) {
    for (const Kind kind : {kWhole, kTensor, kExperts}) {
      std::int64_t& size = unit.flats[kind].size;
      size = round_up(size, kAlignment * group_of(kind).size);
    }
  }
  allocate_buffers();
  const bool training = purpose == Purpose::training, f32 = compute == DType::f32;
  const bool sharded_weights = shards(ZeroStage::weights);
  // A model that computes in f32 has master weights that are a view of its weights.
  if (!f32 || !sharded_weights)
    lay_out(f32 ? master_ : working_, compute, &Flat::weights, sharded_weights, false);
  if (sharded_weights) lay_out(moment_, compute, &Flat::gathered, false, true);
  if (f32 && !sharded_weights) {
    for (Unit& unit : units_) {
      for (const Kind kind : {kWhole, kTensor, kExperts}) {
        Flat& flat = unit.flats[kind];
        if (flat.size > 0)
          flat.master = shards(ZeroStage::optimizer) ? own(flat.weights, kind) : flat.weights;
      }
    }
  } else if (training || f32) {
    lay_out(master_, DType::f32, &Flat::master, shards(ZeroStage::optimizer), false);
  }
  if (!training) return;
  lay_out(gradients_, DType::f32, &Flat::gradient, shards(ZeroStage::gradients), false);
  if (shards(ZeroStage::gradients)) lay_out(unreduced_, DType::f32, &Flat::unreduced, false, true);
  lay_out(m_, DType::f32, &Flat::m, shards(ZeroStage::optimizer), false);
  lay_out(v_, DType::f32, &Flat::v, shards(ZeroStage::optimizer), false);
}

void ParamStore::initialize(std::uint64_t seed) {
  std::vector<float> drawn;
  for (const ParamState& state : states()) {
    if (!gpu_) {
      draw(state, mesh_, seed, state.master.as<float>());
      continue;
    }
    drawn.resize(static_cast<std::size_t>(state.master.numel()));
    draw(state, mesh_, seed, drawn.data());
    gpu_->upload(state.master.data(), drawn.data(), drawn.size() * sizeof(float));
  }
}

Gradients ParamStore::gradients(UnitId unit, bool accumulate) {
  if (!shards(ZeroStage::gradients)) return {*this, unit, accumulate};
  // Whoever had this memory before must have sent its gradients off.
  for (std::size_t u = 0; u < units_.size(); ++u) {
    const Unit& other = units_[u];
    const bool same = static_cast<UnitId>(u) == unit ||
                      (other.recurring && units_[static_cast<std::size_t>(unit)].recurring &&
                       u % 2 == static_cast<std::size_t>(unit) % 2);
    if (same && mesh_.queue != nullptr && other.reduced > 0) mesh_.queue->wait(other.reduced);
  }
  clear_padding(unit);
  return {*this, unit, false};
}

void ParamStore::clear_padding(UnitId unit) const {
  for (const Kind kind : {kWhole, kTensor, kExperts}) {
    const Tensor& at_work = units_[static_cast<std::size_t>(unit)].flats[kind].unreduced;
    std::int64_t end = 0;  // of the parameters so far
    const auto clear_until = [&](std::int64_t begin) {
      if (begin > end) zero(at_work.slice(0, end, begin));
    };
    for (std::size_t id = 0; id < specs_.size(); ++id) {
      const Place& place = places_[id];
      if (place.unit != unit || place.kind != kind) continue;
      clear_until(place.offset);
      end = place.offset + specs_[id].numel();
    }
    if (at_work) clear_until(at_work.numel());
  }
}

void ParamStore::zero(const Tensor& tensor) const {
  if (device_ == Device::meta) return;
  const auto bytes = static_cast<std::size_t>(tensor.bytes());
  gpu_ ? gpu_->zero(tensor.data(), bytes) : static_cast<void>(std::memset(tensor.data(), 0, bytes));
}

ParamStore::Cut ParamStore::cut(std::size_t id, bool sharded) const {
  const Place& place = places_[id];
  const Group& group = group_of(place.kind);
  const std::int64_t length = flat_of(place).size / (sharded ? group.size : 1);
  const std::int64_t first = sharded ? length * group.rank : 0;
  return {.first = first,
          .begin = std::max(place.offset, first),
          .end = std::min(place.offset + specs_[id].numel(), first + length)};
}

std::vector<ParamState> ParamStore::states() const {
  std::vector<ParamState> result;
  for (std::size_t id = 0; id < specs_.size(); ++id) {
    const Place& place = places_[id];
    const Flat& flat = flat_of(place);
    const bool sharded = shards(ZeroStage::optimizer);
    const Cut own = cut(id, sharded);
    if (own.begin >= own.end) continue;
    const auto of_shard = [&](const Tensor& tensor) {
      return tensor ? tensor.slice(0, own.begin - own.first, own.end - own.first) : Tensor{};
    };
    const auto of_flat = [&](const Tensor& tensor, bool is_shard) {
      return is_shard || !tensor ? of_shard(tensor) : tensor.slice(0, own.begin, own.end);
    };
    result.push_back({.spec = specs_[id],
                      .unit = place.unit,
                      .begin = own.begin - place.offset,
                      .master = of_shard(flat.master),
                      .m = of_shard(flat.m),
                      .v = of_shard(flat.v),
                      .working = compute_ == DType::f32
                                     ? Tensor{}
                                     : of_flat(flat.weights, shards(ZeroStage::weights)),
                      .gradient = of_flat(flat.gradient, shards(ZeroStage::gradients)),
                      .counts = (sharded || group_of(place.kind).rank == 0) &&
                                counts(units_[static_cast<std::size_t>(place.unit)], place.kind)});
  }
  return result;
}

std::vector<ConstTensor> ParamStore::norm_gradients() const {
  std::vector<ConstTensor> result;
  for (const Unit& unit : units_) {
    for (const Kind kind : {kWhole, kTensor, kExperts}) {
      const Flat& flat = unit.flats[kind];
      if (flat.size == 0 || !counts(unit, kind)) continue;
      result.push_back(shards(ZeroStage::gradients) ? flat.gradient : own(flat.gradient, kind));
    }
  }
  return result;
}

std::vector<const Arena*> ParamStore::arenas() const {
  return {&working_, &master_, &gradients_, &m_, &v_, &moment_, &unreduced_, &buffers_arena_};
}

Tensor ParamStore::own(const Tensor& whole, Kind kind) const {
  return part_of(whole, group_of(kind));
}

const ParamStore::Place& ParamStore::place_of(ParamId id, UnitId unit) const {
  const Place& place = places_[static_cast<std::size_t>(id)];
  HG_CHECK(place.unit == unit, "parameter {} is not in unit {}",
           specs_[static_cast<std::size_t>(id)].name, unit_name(unit));
  return place;
}

const ParamStore::Flat& ParamStore::flat_of(const Place& place) const {
  return units_[static_cast<std::size_t>(place.unit)].flats[place.kind];
}

Tensor ParamStore::part(const Tensor& flat, ParamId id) const {
  const auto i = static_cast<std::size_t>(id);
  const std::int64_t offset = places_[i].offset;
  return flat.slice(0, offset, offset + specs_[i].numel()).view(specs_[i].shape);
}

}  // namespace hg
