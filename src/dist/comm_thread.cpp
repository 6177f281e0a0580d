#include "dist/comm_thread.h"

#include <algorithm>
#include <numeric>

#include "dist/comm_reduce.h"
#include "dist/thread_group.h"

namespace hg {
namespace {

class ThreadChannel final : public SideChannel {
 public:
  ThreadChannel(std::shared_ptr<ThreadWorld> world, std::size_t rank)
      : world_(std::move(world)), rank_(rank) {}

  void send(int to, const std::string& text) override {
    const std::scoped_lock lock(world_->mutex);
    world_->mail[static_cast<std::size_t>(to)].push_back(
        {.from = static_cast<int>(rank_), .text = text});
  }
  std::optional<Message> poll() override {
    const std::scoped_lock lock(world_->mutex);
    auto& mail = world_->mail[rank_];
    if (mail.empty()) return std::nullopt;
    Message message = std::move(mail.front());
    mail.pop_front();
    return message;
  }

 private:
  std::shared_ptr<ThreadWorld> world_;
  std::size_t rank_;
};

class CommThread final : public Comm {
 public:
  CommThread(std::shared_ptr<ThreadGroup> group, int rank, std::shared_ptr<FlightRecord> record)
      : Comm({.rank = rank,
              .name = group->name,
              .members = group->members,
              .record = std::move(record)}),
        group_(std::move(group)) {}

  void abort(const std::string& sentence) override {
    ThreadWorld& world = *group_->world;
    const std::scoped_lock lock(world.mutex);
    for (std::size_t rank = 0; rank < world.stopped.size(); ++rank) world.stop(rank, sentence);
  }
  void interrupt(const std::string& sentence) override {
    const std::scoped_lock lock(group_->world->mutex);
    group_->world->stop(world_rank(), sentence);
  }
  std::unique_ptr<SideChannel> side_channel() override {
    return std::make_unique<ThreadChannel>(group_->world, world_rank());
  }

 private:
  using Offer = ThreadOffer;

  std::size_t world_rank() const {
    return static_cast<std::size_t>(members()[static_cast<std::size_t>(rank())]);
  }

  /// Reduces `count` elements from `begin` on of what all ranks brought.
  void reduce_piece(Reduce reduce, DType dtype, std::int64_t begin, std::int64_t count, void* out) {
    std::vector<const void*> inputs;
    for (int r = 0; r < size(); ++r)
      inputs.push_back(static_cast<const std::byte*>(group_->offer(r).in) + begin * size_of(dtype));
    reduce_in_order(reduce, dtype, inputs, out, count);
  }

  void do_all_reduce(const Tensor& x, Reduce reduce) override {
    const Offer mine{.kind = CommKind::all_reduce,
                     .in = x.data(),
                     .out = x.data(),
                     .elements = x.numel(),
                     .dtype = x.dtype(),
                     .reduce = reduce};
    group_->collective(rank(), mine, [&] {
      // Each rank makes one piece for all, and nobody else looks at that piece of any tensor.
      const std::int64_t begin = piece_begin(x.numel(), rank(), size());
      const std::int64_t count = piece_begin(x.numel(), rank() + 1, size()) - begin;
      const std::int64_t offset = begin * size_of(x.dtype());
      auto* own = static_cast<std::byte*>(x.data()) + offset;
      reduce_piece(reduce, x.dtype(), begin, count, own);
      for (int r = 0; r < size(); ++r) {
        copy_bytes(static_cast<std::byte*>(group_->offer(r).out) + offset, own,
                   count * size_of(x.dtype()));
      }
    });
  }

  void do_reduce_scatter(const Tensor& out, const ConstTensor& in) override {
    const Offer mine{.kind = CommKind::reduce_scatter,
                     .in = in.data(),
                     .elements = in.numel(),
                     .dtype = in.dtype()};
    group_->collective(rank(), mine, [&] {
      reduce_piece(Reduce::sum, in.dtype(), rank() * out.numel(), out.numel(), out.data());
    });
  }

  void do_all_gather(const Tensor& out, const ConstTensor& in) override {
    const Offer mine{
        .kind = CommKind::all_gather, .in = in.data(), .elements = in.numel(), .dtype = in.dtype()};
    group_->collective(rank(), mine, [&] {
      for (int r = 0; r < size(); ++r) {
        copy_bytes(static_cast<std::byte*>(out.data()) + r * in.bytes(), group_->offer(r).in,
                   in.bytes());
      }
    });
  }

  void do_all_to_all(const Tensor& out, std::span<const std::int64_t> receive_rows,
                     const ConstTensor& in, std::span<const std::int64_t> send_rows) override {
    const std::int64_t row = row_bytes(in);
    const Offer mine{.kind = CommKind::all_to_all,
                     .in = in.data(),
                     .elements = row / size_of(in.dtype()),  // ranks may have different rows
                     .dtype = in.dtype(),
                     .receive_rows = receive_rows,
                     .send_rows = send_rows};
    group_->collective(rank(), mine, [&] {
      auto* to = static_cast<std::byte*>(out.data());
      for (int r = 0; r < size(); ++r) {
        const Offer& theirs = group_->offer(r);
        const auto before = theirs.send_rows.first(static_cast<std::size_t>(rank()));
        const std::int64_t skip = std::accumulate(before.begin(), before.end(), std::int64_t{0});
        const std::int64_t bytes = receive_rows[static_cast<std::size_t>(r)] * row;
        copy_bytes(to, static_cast<const std::byte*>(theirs.in) + skip * row, bytes);
        to += bytes;
      }
    });
  }

  void do_broadcast(const Tensor& x, int root) override {
    const Offer mine{.kind = CommKind::broadcast,
                     .in = x.data(),
                     .elements = x.numel(),
                     .dtype = x.dtype(),
                     .root = root};
    group_->collective(rank(), mine,
                       [&] { copy_bytes(x.data(), group_->offer(root).in, x.bytes()); });
  }

  void do_send_receive(const ConstTensor& in, int to, const Tensor& out, int from) override {
    group_->send_receive(rank(), in, to, out, from);
  }

  void do_barrier() override {
    group_->collective(rank(), {.kind = CommKind::barrier}, [] {});
  }

  std::unique_ptr<Comm> do_split(int color, int key, std::string its_name) override {
    group_->collective(rank(), {.kind = CommKind::split, .color = color, .key = key}, [&] {
      if (rank() == 0) group_->splits = groups_by_color(its_name);
    });
    if (color < 0) return nullptr;
    const std::shared_ptr<ThreadGroup>& group = group_->splits.at(color);
    const auto self = std::ranges::find(group->members, static_cast<int>(world_rank()));
    return std::make_unique<CommThread>(group, static_cast<int>(self - group->members.begin()),
                                        shared_record());
  }

  std::map<int, std::shared_ptr<ThreadGroup>> groups_by_color(const std::string& its_name) const {
    std::map<int, std::vector<std::pair<int, int>>> ranks;  // by color: (key, rank)
    for (int r = 0; r < size(); ++r) {
      const Offer& theirs = group_->offer(r);
      if (theirs.color >= 0) ranks[theirs.color].emplace_back(theirs.key, r);
    }
    std::map<int, std::shared_ptr<ThreadGroup>> groups;
    for (auto& [color, members_of_color] : ranks) {
      std::ranges::sort(members_of_color);
      std::vector<int> world_ranks;
      for (const auto& [key, r] : members_of_color)
        world_ranks.push_back(members()[static_cast<std::size_t>(r)]);
      groups[color] = std::make_shared<ThreadGroup>(group_->world, its_name, world_ranks);
    }
    return groups;
  }

  std::shared_ptr<ThreadGroup> group_;
};

}  // namespace

std::vector<std::unique_ptr<Comm>> thread_world(int size) {
  std::vector<int> everyone(static_cast<std::size_t>(size));
  std::iota(everyone.begin(), everyone.end(), 0);
  const auto group =
      std::make_shared<ThreadGroup>(std::make_shared<ThreadWorld>(size), "world", everyone);
  std::vector<std::unique_ptr<Comm>> comms;
  for (const int rank : everyone) {
    comms.push_back(
        std::make_unique<CommThread>(group, rank, std::make_shared<FlightRecord>(rank)));
  }
  return comms;
}

}  // namespace hg
