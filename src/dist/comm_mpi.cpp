#include "dist/comm_mpi.h"

#include <array>
#include <list>
#include <numeric>
#include <thread>
#include <utility>

#include "dist/comm_reduce.h"
#include "dist/mpi/process.h"

namespace hg {
namespace {

enum Tag { kCollective = 1, kMessage = 2, kWatchdog = 3 };

/// The parts in which a reduction goes from one rank to another: still in the cache when added.
constexpr std::int64_t kPartBytes = 512 << 10;
/// Up to here a sum goes to every rank whole: one round of messages instead of two.
constexpr std::int64_t kSmallBytes = 4 << 10;

const std::byte* bytes_of(const ConstTensor& x) { return static_cast<const std::byte*>(x.data()); }
std::byte* bytes_of(const Tensor& x) { return static_cast<std::byte*>(x.data()); }

class MpiChannel final : public SideChannel {
 public:
  MpiChannel(std::shared_ptr<MpiProcess> process, MpiApi::Comm comm)
      : process_(std::move(process)), comm_(comm) {}

  void send(int to, const std::string& text) override {
    if (process_->interrupted()) return;  // memory that others send to may be gone
    std::erase_if(outgoing_, [](Outgoing& message) { return message.transfer.done(); });
    Outgoing& message = outgoing_.emplace_back(
        Outgoing{.text = text, .transfer = MpiTransfers(*process_, comm_, kWatchdog)});
    message.transfer.send(message.text.data(), std::ssize(message.text), to);
  }

  std::optional<Message> poll() override {
    if (process_->interrupted()) return std::nullopt;
    int found = 0, from = 0, bytes = 0;
    process_->call(&MpiApi::probe, "MPI_Iprobe", comm_, int{kWatchdog}, &found, &from, &bytes);
    if (found == 0) return std::nullopt;
    Message message{.from = from, .text = std::string(static_cast<std::size_t>(bytes), ' ')};
    MpiTransfers transfer(*process_, comm_, kWatchdog);
    transfer.receive(message.text.data(), bytes, from);
    while (!transfer.done()) std::this_thread::yield();  // it has come
    return message;
  }

 private:
  struct Outgoing {
    std::string text;
    MpiTransfers transfer;
  };
  std::shared_ptr<MpiProcess> process_;
  MpiApi::Comm comm_;
  std::list<Outgoing> outgoing_;  // a silent rank does not take its messages
};

class CommMpi final : public Comm {
 public:
  CommMpi(std::shared_ptr<MpiProcess> process, MpiApi::Comm comm, Identity identity)
      : Comm(std::move(identity)), process_(std::move(process)), comm_(comm) {
    if (comm == process_->world()) {
      process_->call(&MpiApi::duplicate, "MPI_Comm_dup", comm, &channel_);
    }
  }
  ~CommMpi() override {
    if (comm_ == process_->world() || process_->interrupted() || std::uncaught_exceptions() > 0)
      return;
    try {
      process_->call(&MpiApi::release, "MPI_Comm_free", comm_);
    } catch (const Error&) {
      // Nothing is lost with it; what is wrong will show in the next call.
    }
  }

  void abort(const std::string&) override { process_->abort(1); }
  void interrupt(const std::string& sentence) override { process_->interrupt(sentence); }
  MpiProcess& process() { return *process_; }
  std::unique_ptr<SideChannel> side_channel() override {
    return channel_ ? std::make_unique<MpiChannel>(process_, channel_) : nullptr;
  }

 private:
  MpiTransfers transfers(Tag tag = kCollective) {
    process_->throw_if_interrupted();
    return {*process_, comm_, tag};
  }

  /// Calls fn(to, from) for the other ranks, so that no rank is everyone's target at once.
  template <class Fn>
  void for_others(Fn&& fn) const {
    for (int step = 1; step < size(); ++step)
      fn((rank() + step) % size(), (rank() + size() - step) % size());
  }

  /// out = the reduction of this rank's piece of everyone's `in`; pieces are as piece_begin says.
  /// They travel in parts: one is being added while the next arrives. All are sent at once, so that
  /// a rank goes on with what has come even while a sender has no processor.
  void reduce_own_piece(std::byte* out, const std::byte* in, std::int64_t numel, DType dtype,
                        Reduce reduce) {
    const std::int64_t element = size_of(dtype), part = kPartBytes / element;
    const auto begin_of = [&](int r) { return piece_begin(numel, r, size()); };
    MpiTransfers sending = transfers();
    for (std::int64_t done = 0; done < begin_of(1); done += part) {  // the first is the longest
      for_others([&](int to, int) {
        const std::int64_t begin = begin_of(to) + done;
        const std::int64_t count = std::min(part, begin_of(to + 1) - begin);
        sending.send(in + begin * element, count * element, to);
      });
    }

    const std::int64_t own = begin_of(rank() + 1) - begin_of(rank());
    const std::int64_t slot = size() * std::min(own, part) * element;
    scratch_.resize(static_cast<std::size_t>(2 * slot));
    std::array<MpiTransfers, 2> receiving = {transfers(), transfers()};
    const auto theirs = [&](std::int64_t index, int r, std::int64_t count) {
      return scratch_.data() + index % 2 * slot + r * count * element;
    };
    const auto start = [&](std::int64_t index) {
      const std::int64_t count = std::min(part, own - index * part);
      if (count <= 0) return;
      for_others([&](int, int from) {
        receiving[static_cast<std::size_t>(index % 2)].receive(theirs(index, from, count),
                                                               count * element, from);
      });
    };
    start(0);
    for (std::int64_t index = 0; index * part < own; ++index) {
      start(index + 1);
      receiving[static_cast<std::size_t>(index % 2)].wait();
      const std::int64_t count = std::min(part, own - index * part);
      std::vector<const void*> inputs;
      for (int r = 0; r < size(); ++r) inputs.push_back(theirs(index, r, count));
      inputs[static_cast<std::size_t>(rank())] = in + (begin_of(rank()) + index * part) * element;
      reduce_in_order(reduce, dtype, inputs, out + index * part * element, count);
    }
    sending.wait();
  }

  /// Everyone's piece of `all` goes to everyone; piece r begins at begin_of(r) bytes.
  template <class BeginOf>
  void gather_pieces(std::byte* all, BeginOf&& begin_of) {
    MpiTransfers moving = transfers();
    for_others([&](int to, int from) {
      moving.receive(all + begin_of(from), begin_of(from + 1) - begin_of(from), from);
      moving.send(all + begin_of(rank()), begin_of(rank() + 1) - begin_of(rank()), to);
    });
    moving.wait();
  }

  void do_all_reduce(const Tensor& x, Reduce reduce) override {
    if (x.bytes() <= kSmallBytes) {
      scratch_.resize(static_cast<std::size_t>(size() * x.bytes()));
      std::vector<const void*> inputs;
      for (int r = 0; r < size(); ++r) inputs.push_back(scratch_.data() + r * x.bytes());
      copy_bytes(scratch_.data() + rank() * x.bytes(), x.data(), x.bytes());
      gather_pieces(scratch_.data(), [&](int r) { return r * x.bytes(); });
      return reduce_in_order(reduce, x.dtype(), inputs, x.data(), x.numel());
    }
    const auto begin_of = [&](int r) {
      return piece_begin(x.numel(), r, size()) * size_of(x.dtype());
    };
    reduce_own_piece(bytes_of(x) + begin_of(rank()), bytes_of(x), x.numel(), x.dtype(), reduce);
    gather_pieces(bytes_of(x), begin_of);
  }

  void do_reduce_scatter(const Tensor& out, const ConstTensor& in) override {
    reduce_own_piece(bytes_of(out), bytes_of(in), in.numel(), in.dtype(), Reduce::sum);
  }

  void do_all_gather(const Tensor& out, const ConstTensor& in) override {
    copy_bytes(bytes_of(out) + rank() * in.bytes(), in.data(), in.bytes());
    gather_pieces(bytes_of(out), [&](int r) { return r * in.bytes(); });
  }

  void do_all_to_all(const Tensor& out, std::span<const std::int64_t> receive_rows,
                     const ConstTensor& in, std::span<const std::int64_t> send_rows) override {
    const std::int64_t row = row_bytes(in);
    std::vector<std::int64_t> incoming, outgoing;  // where each rank's rows begin, in bytes
    std::int64_t receive_begin = 0, send_begin = 0;
    for (std::size_t r = 0; r < send_rows.size(); ++r) {
      incoming.push_back(std::exchange(receive_begin, receive_begin + receive_rows[r] * row));
      outgoing.push_back(std::exchange(send_begin, send_begin + send_rows[r] * row));
    }
    const auto self = static_cast<std::size_t>(rank());
    MpiTransfers moving = transfers();
    for_others([&](int to, int from) {
      const auto target = static_cast<std::size_t>(to), source = static_cast<std::size_t>(from);
      moving.receive(bytes_of(out) + incoming[source], receive_rows[source] * row, from);
      moving.send(bytes_of(in) + outgoing[target], send_rows[target] * row, to);
    });
    copy_bytes(bytes_of(out) + incoming[self], bytes_of(in) + outgoing[self],
               send_rows[self] * row);
    moving.wait();
  }

  void do_broadcast(const Tensor& x, int root) override {
    MpiTransfers moving = transfers();
    moving.broadcast(x.data(), x.bytes(), root);
    moving.wait();
  }

  void do_send_receive(const ConstTensor& in, int to, const Tensor& out, int from) override {
    MpiTransfers moving = transfers(kMessage);
    if (from >= 0) moving.receive(out.data(), out.bytes(), from);
    if (to >= 0) moving.send(in.data(), in.bytes(), to);
    moving.wait();
  }

  void do_barrier() override {
    MpiTransfers moving = transfers();
    moving.barrier();
    moving.wait();
  }

  std::unique_ptr<Comm> do_split(int color, int key, std::string its_name) override {
    do_barrier();  // MPI_Comm_split waits where no interrupt reaches it: all must have come
    MpiApi::Comm part = nullptr;
    process_->call(&MpiApi::split, "MPI_Comm_split", comm_, color, key, &part);
    if (color < 0) return nullptr;
    int its_rank = 0, its_size = 0;
    process_->call(&MpiApi::rank, "MPI_Comm_rank", part, &its_rank);
    process_->call(&MpiApi::size, "MPI_Comm_size", part, &its_size);
    std::vector<std::int32_t> ranks(static_cast<std::size_t>(its_size));
    const std::int32_t own = members()[static_cast<std::size_t>(rank())];
    MpiTransfers moving(*process_, part, kCollective);
    for (int r = 0; r < its_size; ++r) {
      moving.receive(&ranks[static_cast<std::size_t>(r)], sizeof own, r);
      moving.send(&own, sizeof own, r);
    }
    moving.wait();
    return std::make_unique<CommMpi>(process_, part,
                                     Identity{.rank = its_rank,
                                              .name = std::move(its_name),
                                              .members = {ranks.begin(), ranks.end()},
                                              .record = shared_record()});
  }

  std::shared_ptr<MpiProcess> process_;
  MpiApi::Comm comm_, channel_ = nullptr;
  std::vector<std::byte> scratch_;
};

}  // namespace

void abort_mpi(Comm& world, int exit_code) {
  dynamic_cast<CommMpi&>(world).process().abort(exit_code);
}

std::unique_ptr<Comm> mpi_world() {
  const auto process = std::make_shared<MpiProcess>();
  int rank = 0, size = 0;
  process->call(&MpiApi::rank, "MPI_Comm_rank", process->world(), &rank);
  process->call(&MpiApi::size, "MPI_Comm_size", process->world(), &size);
  std::vector<int> everyone(static_cast<std::size_t>(size));
  std::iota(everyone.begin(), everyone.end(), 0);
  return std::make_unique<CommMpi>(process, process->world(),
                                   Comm::Identity{.rank = rank,
                                                  .name = "world",
                                                  .members = std::move(everyone),
                                                  .record = std::make_shared<FlightRecord>(rank)});
}

}  // namespace hg
