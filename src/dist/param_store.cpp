#include "dist/param_store.h"

#include <cstring>

#include "core/parallel.h"
#include "core/random.h"

namespace hg {
namespace {

// 64 bytes of bf16, so that every parameter starts on a cache line in either element type.
constexpr std::int64_t kAlignment = 32;

void draw(const Tensor& to, const ParamSpec& spec, std::uint64_t seed) {
  const RandomStream stream(seed, spec.name);
  auto* values = to.as<float>();
  constexpr std::int64_t kGrain = 1 << 14;
  for_parts(spec, [&](const ParamSpec::Part& part, std::int64_t first, std::int64_t last) {
    parallel_ranges(last - first, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = first + begin; i < first + end; ++i) {
        values[i] = part.init.kind == Init::Kind::ones
                        ? 1.0F
                        : part.init.std * stream.normal(static_cast<std::uint64_t>(i));
      }
    });
  });
}

std::int64_t total(const ParamSpec& spec) {
  std::int64_t sum = 0;
  for (const ParamSpec::Part& part : spec.parts) sum += part.numel;
  return spec.repeats * sum;
}

}  // namespace

ConstTensor Weights::operator[](ParamId id) const {
  const auto& unit = store_.unit_of(id);
  HG_CHECK(store_.unit_ids_[static_cast<std::size_t>(id)] == unit_,
           "parameter {} is not in unit {}", store_.specs_[static_cast<std::size_t>(id)].name,
           store_.unit_name(unit_));
  return store_.part(unit.working ? unit.working : unit.master, id);
}

Tensor Weights::buffer(BufferId id) const {
  return store_.buffers()[static_cast<std::size_t>(id)].values;
}

Tensor Gradients::operator[](ParamId id) const {
  const auto& unit = store_.unit_of(id);
  HG_CHECK(store_.unit_ids_[static_cast<std::size_t>(id)] == unit_,
           "parameter {} is not in unit {}", store_.specs_[static_cast<std::size_t>(id)].name,
           store_.unit_name(unit_));
  return store_.part(unit.gradient, id);
}

UnitId ParamStore::begin_unit(std::string name) {
  units_.push_back({.name = std::move(name),
                    .size = 0,
                    .master = {},
                    .m = {},
                    .v = {},
                    .working = {},
                    .gradient = {}});
  return units() - 1;
}

ParamId ParamStore::add(ParamSpec spec) {
  HG_CHECK(total(spec) == spec.shape.numel(), "parameter {}: parts of {} elements in a shape of {}",
           spec.name, total(spec), spec.shape.numel());
  Unit& unit = units_.back();
  offsets_.push_back(unit.size);
  unit_ids_.push_back(units() - 1);
  unit.size += (spec.shape.numel() + kAlignment - 1) / kAlignment * kAlignment;
  specs_.push_back(std::move(spec));
  return static_cast<ParamId>(specs_.size()) - 1;
}

BufferId ParamStore::add_buffer(BufferSpec spec) {
  buffers_.push_back({.spec = std::move(spec), .values = {}});
  return static_cast<BufferId>(buffers_.size()) - 1;
}

void ParamStore::allocate_buffers(Device device) {
  const auto lay_out = [&](Arena& arena) {
    for (Buffer& buffer : buffers_)
      buffer.values = arena.allocate("buffers", buffer.spec.dtype, buffer.spec.shape);
  };
  lay_out(buffers_arena_);
  if (device == Device::meta || buffers_.empty()) return;
  const std::size_t bytes = buffers_arena_.high_water();
  buffers_arena_.release(0);
  buffers_arena_.reserve(bytes);
  lay_out(buffers_arena_);
  for (const Buffer& buffer : buffers_)
    std::memset(buffer.values.data(), 0, static_cast<std::size_t>(buffer.values.bytes()));
}

void ParamStore::allocate(Device device, DType compute, Purpose purpose) {
  compute_ = compute;
  std::int64_t total = 0;
  for (const Unit& unit : units_) total += unit.size;
  const auto lay_out = [&](Arena& arena, DType dtype, Tensor Unit::*member) {
    if (device != Device::meta) arena.reserve(static_cast<std::size_t>(total * size_of(dtype)));
    for (Unit& unit : units_) unit.*member = arena.allocate("parameters", dtype, {unit.size});
  };
  allocate_buffers(device);
  const bool training = purpose == Purpose::training;
  if (compute != DType::f32) lay_out(working_, compute, &Unit::working);
  if (training || compute == DType::f32) lay_out(master_, DType::f32, &Unit::master);
  if (!training) return;
  lay_out(gradients_, DType::f32, &Unit::gradient);
  lay_out(m_, DType::f32, &Unit::m);
  lay_out(v_, DType::f32, &Unit::v);
}

void ParamStore::initialize(std::uint64_t seed) {
  for (const ParamState& state : states()) draw(state.master, state.spec, seed);
}

std::vector<ParamState> ParamStore::states() const {
  std::vector<ParamState> result;
  for (ParamId id = 0; id < static_cast<ParamId>(specs_.size()); ++id) {
    const Unit& unit = unit_of(id);
    const auto flat = [&](const Tensor& all) {
      return all ? part(all, id).view({specs_[static_cast<std::size_t>(id)].shape.numel()})
                 : Tensor{};
    };
    result.push_back({.spec = specs_[static_cast<std::size_t>(id)],
                      .unit = unit_ids_[static_cast<std::size_t>(id)],
                      .master = flat(unit.master),
                      .m = flat(unit.m),
                      .v = flat(unit.v),
                      .working = flat(unit.working),
                      .gradient = flat(unit.gradient)});
  }
  return result;
}

Tensor ParamStore::flat_gradients(UnitId unit) const {
  return units_[static_cast<std::size_t>(unit)].gradient;
}

std::vector<const Arena*> ParamStore::arenas() const {
  return {&working_, &master_, &gradients_, &m_, &v_, &buffers_arena_};
}

const ParamStore::Unit& ParamStore::unit_of(ParamId id) const {
  return units_[static_cast<std::size_t>(unit_ids_[static_cast<std::size_t>(id)])];
}

Tensor ParamStore::part(const Tensor& flat, ParamId id) const {
  const auto i = static_cast<std::size_t>(id);
  const Shape& shape = specs_[i].shape;
  return flat.slice(0, offsets_[i], offsets_[i] + shape.numel()).view(shape);
}

}  // namespace hg
