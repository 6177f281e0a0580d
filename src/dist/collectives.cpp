#include "dist/collectives.h"

#include <numeric>
#include <vector>

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

void copy(const Context& ctx, const Tensor& to, const ConstTensor& from) {
  if (to.data() != from.data()) copy_values(ctx, to, from);
}

/// Rows of `x` that belong to each rank: the sums of the rows of `counts`, or equal parts.
std::vector<std::int64_t> rows_by_rank(const Context& ctx, const ConstTensor& counts,
                                       const ConstTensor& x, const Group& group) {
  if (!counts) {
    return std::vector<std::int64_t>(static_cast<std::size_t>(group.size), x.dim(0) / group.size);
  }
  const HostValues<std::int32_t> values(ctx, counts);
  std::vector<std::int64_t> rows;
  for (std::int64_t r = 0; r < counts.dim(0); ++r) {
    const auto* first = values.data() + r * counts.dim(1);
    rows.push_back(std::accumulate(first, first + counts.dim(1), std::int64_t{0}));
  }
  return rows;
}

}  // namespace

void AllReduce::check() const { check_contiguous(name, "x", x, x.shape(), x.dtype()); }

Cost AllReduce::cost() const { return ring_cost(group, x, 2); }

void AllReduce::cpu(Context&) const {
  if (group.comm != nullptr) group.comm->all_reduce(x, reduce, label);
}

void ReduceScatter::check() const { check_parts(name, y, x, group); }

Cost ReduceScatter::cost() const { return ring_cost(group, x, 1); }

void ReduceScatter::cpu(Context& ctx) const {
  group.comm != nullptr ? group.comm->reduce_scatter(y, x, label) : copy(ctx, y, x);
}

void AllGather::check() const { check_parts(name, x, y, group); }

Cost AllGather::cost() const { return ring_cost(group, y, 1); }

void AllGather::cpu(Context& ctx) const {
  group.comm != nullptr ? group.comm->all_gather(y, x, label) : copy(ctx, y, x);
}

void AllToAll::check() const {
  HG_CHECK(x.dtype() == y.dtype() && x.shape().with(0, 0) == y.shape().with(0, 0),
           "{}: rows of {} become rows of {}", name, x.shape().to_string(), y.shape().to_string());
  HG_CHECK(static_cast<bool>(received) == static_cast<bool>(sent),
           "{}: 'received' and 'sent' are given or absent together", name);
  for (const ConstTensor& counts : {received, sent}) {
    if (!counts) continue;
    check_contiguous(name, "counts", counts, counts.shape(), DType::i32);
    HG_CHECK(counts.rank() == 2 && counts.dim(0) == group.size, "{}: counts {} are not of {} ranks",
             name, counts.shape().to_string(), group.size);
  }
}

Cost AllToAll::cost() const { return ring_cost(group, x, 1); }

void AllToAll::cpu(Context& ctx) const {
  const auto to = rows_by_rank(ctx, sent, x, group), from = rows_by_rank(ctx, received, y, group);
  const std::int64_t leaving = std::accumulate(to.begin(), to.end(), std::int64_t{0});
  const std::int64_t arriving = std::accumulate(from.begin(), from.end(), std::int64_t{0});
  HG_CHECK(leaving <= x.dim(0) && arriving <= y.dim(0),
           "{} ({}): {} rows leave a tensor of {}, and {} arrive in one of {}", name, label,
           leaving, x.dim(0), arriving, y.dim(0));
  const ConstTensor source = x.rows(0, leaving);
  const Tensor target = y.rows(0, arriving);
  group.comm != nullptr ? group.comm->all_to_all(target, from, source, to, label)
                        : copy(ctx, target, source);
}

}  // namespace hg
