#include "dist/collectives.h"

#include <cstring>

namespace hg {
namespace {

/// What a ring sends of a whole tensor: `times` (n - 1) / n of it.
Cost ring_cost(const Group& group, const ConstTensor& whole, double times) {
  const double n = group.size;
  return {.flops = 0, .bytes = times * (n - 1) / n * static_cast<double>(whole.bytes())};
}

void check_parts(std::string_view op, const ConstTensor& part, const ConstTensor& whole,
                 const Group& group) {
  HG_CHECK(part.shape().with(0, part.dim(0) * group.size) == whole.shape() &&
               part.dtype() == whole.dtype(),
           "{}: {} {} is not one of {} parts of {} {}", op, name_of(part.dtype()),
           part.shape().to_string(), group.size, name_of(whole.dtype()), whole.shape().to_string());
}

void copy(const Tensor& to, const ConstTensor& from) {
  if (to.data() != from.data())
    std::memcpy(to.data(), from.data(), static_cast<std::size_t>(to.bytes()));
}

}  // namespace

void AllReduce::check() const { check_contiguous(name.data(), "x", x, x.shape(), x.dtype()); }

Cost AllReduce::cost() const { return ring_cost(group, x, 2); }

void AllReduce::cpu(Context&) const {
  if (group.comm != nullptr) group.comm->all_reduce(x, reduce, label);
}

void ReduceScatter::check() const { check_parts(name, y, x, group); }

Cost ReduceScatter::cost() const { return ring_cost(group, x, 1); }

void ReduceScatter::cpu(Context&) const {
  group.comm != nullptr ? group.comm->reduce_scatter(y, x, label) : copy(y, x);
}

void AllGather::check() const { check_parts(name, x, y, group); }

Cost AllGather::cost() const { return ring_cost(group, y, 1); }

void AllGather::cpu(Context&) const {
  group.comm != nullptr ? group.comm->all_gather(y, x, label) : copy(y, x);
}

}  // namespace hg
