#include "dist/comm_nccl.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "core/load_module.h"
#include "dist/comm_reduce.h"
#include "dist/nccl/greeting.h"
#include "dist/nccl/process.h"
#include "dist/rendezvous.h"

namespace hg {
namespace {

/// What the Comms of one rank's world share.
struct Shared {
  std::shared_ptr<NcclProcess> process;
  NcclApi::Stream stream;
  NcclPeers peers;
};

class CommNccl final : public Comm {
 public:
  CommNccl(std::shared_ptr<const Shared> shared, NcclProcess::Handle handle, bool is_world,
           Identity identity)
      : Comm(std::move(identity)),
        shared_(std::move(shared)),
        process_(*shared_->process),
        stream_(shared_->stream),
        handle_(handle),
        is_world_(is_world) {
    process_.call(&NcclApi::allocate, "memory for small messages",
                  std::int64_t{size()} * std::int64_t{sizeof(Place)}, &small_);
  }
  ~CommNccl() override {
    process_.close(handle_);
    process_.api().release(small_);  // an error of which shows in the next call, too
  }

  void abort(const std::string& sentence) override {
    process_.interrupt(sentence);
    shared_->peers.abort(sentence);
  }
  void interrupt(const std::string& sentence) override { process_.interrupt(sentence); }
  std::unique_ptr<SideChannel> side_channel() override {
    return is_world_ && shared_->peers.side_channel ? shared_->peers.side_channel() : nullptr;
  }

 private:
  /// What a rank says of itself in a split.
  struct Place {
    std::int32_t color, key;
  };

  /// Enqueues one call; without elements there is none.
  template <class Fn>
  void enqueue(const char* what, std::int64_t elements, Fn&& fn) {
    if (elements == 0) return;
    process_.enqueue(handle_, fmt::format("{} of {}", what, name()), std::forward<Fn>(fn));
  }

  void do_all_reduce(const Tensor& x, Reduce reduce) override {
    enqueue("all_reduce", x.numel(), [&](const NcclApi& api) {
      return api.all_reduce(x.data(), x.numel(), x.dtype(), reduce == Reduce::max, handle_,
                            stream_);
    });
  }

  void do_reduce_scatter(const Tensor& out, const ConstTensor& in) override {
    enqueue("reduce_scatter", out.numel(), [&](const NcclApi& api) {
      return api.reduce_scatter(in.data(), out.data(), out.numel(), in.dtype(), handle_, stream_);
    });
  }

  void do_all_gather(const Tensor& out, const ConstTensor& in) override {
    enqueue("all_gather", in.numel(), [&](const NcclApi& api) {
      return api.all_gather(in.data(), out.data(), in.numel(), in.dtype(), handle_, stream_);
    });
  }

  void do_broadcast(const Tensor& x, int root) override {
    enqueue("broadcast", x.numel(), [&](const NcclApi& api) {
      return api.broadcast(x.data(), x.numel(), x.dtype(), root, handle_, stream_);
    });
  }

  /// A group of sends and receives, which fn(send, receive) asks for.
  template <class Fn>
  void exchange(const char* what, Fn&& fn) {
    enqueue(what, 1, [&](const NcclApi& api) {
      int code = api.group_start();
      const auto note = [&](int its) {
        if (code == 0 || code == NcclApi::kInProgress) code = its;
      };
      fn(
          [&](const void* in, std::int64_t count, DType dtype, int to) {
            if (count > 0) note(api.send(in, count, dtype, to, handle_, stream_));
          },
          [&](void* out, std::int64_t count, DType dtype, int from) {
            if (count > 0) note(api.receive(out, count, dtype, from, handle_, stream_));
          });
      note(api.group_end());
      return code;
    });
  }

  void do_all_to_all(const Tensor& out, std::span<const std::int64_t> receive_rows,
                     const ConstTensor& in, std::span<const std::int64_t> send_rows) override {
    const std::int64_t row = row_bytes(in), row_elements = row / size_of(in.dtype());
    exchange("all_to_all", [&](auto&& send, auto&& receive) {
      const auto* from = static_cast<const std::byte*>(in.data());
      auto* to = static_cast<std::byte*>(out.data());
      for (int r = 0; r < size(); ++r) {
        const std::int64_t sent = send_rows[static_cast<std::size_t>(r)];
        const std::int64_t received = receive_rows[static_cast<std::size_t>(r)];
        send(std::exchange(from, from + sent * row), sent * row_elements, in.dtype(), r);
        receive(std::exchange(to, to + received * row), received * row_elements, in.dtype(), r);
      }
    });
  }

  void do_send_receive(const ConstTensor& in, int to, const Tensor& out, int from) override {
    exchange(to < 0     ? "receive"
             : from < 0 ? "send"
                        : "send_receive",
             [&](auto&& send, auto&& receive) {
               if (to >= 0) send(in.data(), in.numel(), in.dtype(), to);
               if (from >= 0) receive(out.data(), out.numel(), out.dtype(), from);
             });
  }

  void do_barrier() override {
    enqueue("barrier", 1, [&](const NcclApi& api) {
      return api.all_reduce(small_, 1, DType::i32, 0, handle_, stream_);
    });
    process_.wait(handle_, stream_, fmt::format("barrier of {}", name()));
  }

  /// Every rank's, by rank.
  std::vector<Place> gather_places(const Place& own) {
    const std::int64_t bytes = sizeof own;
    auto* const its = static_cast<Place*>(small_) + rank();
    process_.call(&NcclApi::copy_to_device, "split", static_cast<void*>(its),
                  static_cast<const void*>(&own), bytes, stream_);
    enqueue("split", 1, [&](const NcclApi& api) {
      return api.all_gather(its, small_, 2, DType::i32, handle_, stream_);
    });
    process_.wait(handle_, stream_, fmt::format("split of {}", name()));
    std::vector<Place> places(static_cast<std::size_t>(size()));
    process_.call(&NcclApi::copy_to_host, "split", static_cast<void*>(places.data()),
                  static_cast<const void*>(small_), size() * bytes, stream_);
    process_.wait(handle_, stream_, fmt::format("split of {}", name()));
    return places;
  }

  std::unique_ptr<Comm> do_split(int color, int key, std::string its_name) override {
    const std::vector<Place> places = gather_places({.color = color, .key = key});
    std::vector<int> ranks;
    for (int r = 0; r < size(); ++r)
      if (color >= 0 && places[static_cast<std::size_t>(r)].color == color) ranks.push_back(r);
    std::ranges::stable_sort(ranks, {},
                             [&](int r) { return places[static_cast<std::size_t>(r)].key; });
    const auto its_rank = static_cast<int>(std::ranges::find(ranks, rank()) - ranks.begin());
    const NcclProcess::Handle part = process_.split(
        handle_, color, its_rank, fmt::format("split of {} into {}", name(), its_name));
    if (color < 0) return nullptr;
    for (int& r : ranks) r = members()[static_cast<std::size_t>(r)];
    return std::make_unique<CommNccl>(shared_, part, false,
                                      Identity{.rank = its_rank,
                                               .name = std::move(its_name),
                                               .members = std::move(ranks),
                                               .record = shared_record()});
  }

  const std::shared_ptr<const Shared> shared_;
  NcclProcess& process_;
  const NcclApi::Stream stream_;
  const NcclProcess::Handle handle_;
  const bool is_world_;
  void* small_ = nullptr;  // on the device: a Place of each rank
};

}  // namespace

NcclPeers peers_over(Comm& world) {
  return {.rank = world.rank(),
          .size = world.size(),
          .gather = [&](const std::string& text) { return gather_text(world, text, "NCCL"); },
          .abort = [&](const std::string& sentence) { world.abort(sentence); },
          .side_channel = [&] { return world.side_channel(); }};
}

NcclPeers peers_over(Rendezvous& rendezvous) {
  return {.rank = rendezvous.rank(),
          .size = rendezvous.size(),
          .gather = [&](const std::string& text) { return rendezvous.gather(text, "NCCL"); },
          .abort = [](const std::string&) { std::_Exit(1); },
          .side_channel = nullptr};
}

const NcclApi& load_nccl() { return load_module<NcclApi>(kNcclModule, kNcclApiSymbol, "NCCL"); }

std::unique_ptr<Comm> nccl_world(const NcclApi& api, const NcclPeers& peers,
                                 const NcclPlace& place) {
  std::shared_ptr<NcclProcess> process;
  NcclGreeting own;
  try {
    process = std::make_shared<NcclProcess>(api, place.device);
    own.version = process->version();
    if (peers.rank == 0 || !peers.gather) own.id = process->new_id();
  } catch (const Error& e) {
    if (!peers.gather) throw;
    own.problem = e.what();
  }
  const std::string id = peers.gather ? exchange_id(peers.gather, own) : own.id;
  const NcclProcess::Handle handle = process->initialize(peers.size, id, peers.rank);
  std::vector<int> everyone(static_cast<std::size_t>(peers.size));
  std::iota(everyone.begin(), everyone.end(), 0);
  const auto shared = std::make_shared<const Shared>(
      Shared{.process = process, .stream = place.stream, .peers = peers});
  return std::make_unique<CommNccl>(
      shared, handle, true,
      Comm::Identity{.rank = peers.rank,
                     .name = "world",
                     .members = std::move(everyone),
                     .record = std::make_shared<FlightRecord>(peers.rank)});
}

}  // namespace hg
