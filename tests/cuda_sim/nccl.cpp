// The functions of a simulated NCCL. Communicators that do not block do as little as they may in a
// call: what it asks for is enqueued when their state is looked at, and only then do new groups
// appear. Of what the real one forbids, it refuses what it sees.
#include <nccl.h>

#include <atomic>
#include <cstring>
#include <map>

#include "core/check.h"
#include "cuda_sim/machine.h"
#include "cuda_sim/nccl_comm.h"

using namespace cuda_sim;

namespace {

thread_local std::string the_last_words;

ncclResult_t refuse(ncclResult_t code, const std::string& words) {
  the_last_words = words;
  return code;
}

/// Of the calling thread, between ncclGroupStart and ncclGroupEnd.
struct Group {
  using Calls = std::vector<std::pair<cudaStream_t, Ask>>;
  int depth = 0;
  std::map<ncclComm*, Calls> calls;
};
thread_local Group the_group;

/// Goes on with what was begun: for a communicator that blocks, to its end.
ncclResult_t begin(Member& member, std::function<bool()> pending) {
  member.begin(std::move(pending));
  if (!member.blocking()) return ncclInProgress;
  ncclResult_t state = ncclInProgress;
  while ((state = member.state()) == ncclInProgress) machine().advance(member.device());
  return state == ncclSuccess ? state : refuse(state, member.words());
}

/// A call while another one is in progress, or after a failure.
ncclResult_t check_ready(ncclComm* comm) {
  if (comm == nullptr || !comm->member) return refuse(ncclInvalidArgument, "no communicator");
  if (comm->member->pending())
    return refuse(ncclInvalidUsage, "a call while another one is in progress");
  const ncclResult_t state = comm->member->state();
  return state == ncclSuccess ? state : refuse(state, comm->member->words());
}

ncclResult_t close_group() {
  if (--the_group.depth > 0) return ncclSuccess;
  ncclResult_t result = ncclSuccess;
  for (auto& [comm, calls] : std::exchange(the_group.calls, {})) {
    Member* member = comm->member.get();
    const ncclResult_t code = begin(*member, [member, its_calls = std::move(calls)] {
      member->enqueue(its_calls);
      return true;
    });
    if (code != ncclSuccess) result = code;
  }
  return result;
}

bool on_device(const void* memory, std::size_t bytes) {
  return bytes == 0 || machine().memory.kind_of(memory, bytes) == MemoryKind::device;
}

/// One call, which is a group of its own outside of any. `in_count` and `out_count` are elements at
/// ask.in and ask.out.
ncclResult_t call(ncclComm* comm, cudaStream_t stream, const Ask& ask, std::size_t in_count,
                  std::size_t out_count) {
  if (const ncclResult_t code = check_ready(comm)) return code;
  if (current_device() != comm->member->device())
    return refuse(ncclInvalidUsage, "the calling thread uses another device");
  try {
    const std::size_t size = size_of(ask.type);
    HG_CHECK(on_device(ask.in, in_count * size) && on_device(ask.out, out_count * size),
             "{}: the memory is not on the device", ask.words());
    HG_CHECK(ask.op == ncclSum || ask.op == ncclMax, "the simulation has no operation {}",
             static_cast<int>(ask.op));
    HG_CHECK(std::max(ask.peer, ask.root) < comm->member->clique()->size(), "{}: no such rank",
             ask.words());
  } catch (const std::runtime_error& e) {
    return refuse(ncclInvalidArgument, e.what());
  }
  ++the_group.depth;
  the_group.calls[comm].emplace_back(stream, ask);
  return close_group();
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  const int simulated = machine().options.nccl_version;
  *version = simulated != 0 ? simulated : NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t code) {
  constexpr const char* kWords[] = {"no error",
                                    "unhandled cuda error",
                                    "unhandled system error",
                                    "internal error",
                                    "invalid argument",
                                    "invalid usage",
                                    "remote process exited or there was a network error",
                                    "NCCL operation in progress"};
  return code < std::ssize(kWords) ? kWords[code] : "unknown result code";
}

const char* ncclGetLastError(ncclComm_t comm) {
  if (comm != nullptr && comm->member->state() != ncclSuccess)
    the_last_words = comm->member->words();
  return the_last_words.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::scoped_lock lock(machine().cliques_mutex);
  std::memset(id, 0, sizeof *id);
  const char* own = std::getenv("NCCL_COMM_ID");
  const std::string text = own != nullptr ? own : fmt::format("id {}", ++machine().ids);
  text.copy(id->internal, sizeof id->internal - 1);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* result, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  *result = nullptr;
  if (rank < 0 || rank >= size) return refuse(ncclInvalidArgument, "a rank outside of the size");
  std::shared_ptr<Clique> clique;
  {
    // One that has failed stays: late ranks are to see it.
    const std::scoped_lock lock(machine().cliques_mutex);
    auto& known = machine().cliques[std::string(id.internal, sizeof id.internal)];
    if (!known || known->complete())
      known = std::make_shared<Clique>(size, machine().options.nccl_timeout);
    clique = known;
  }
  if (clique->size() != size) return refuse(ncclInvalidArgument, "ranks of different sizes");
  const bool blocking = config == nullptr || config->blocking != 0;
  auto member = std::make_shared<Member>(clique, rank, current_device(), blocking);
  *result = new ncclComm{member};
  return begin(*member, [clique, rank, device = current_device(), since = hg::Clock::now()] {
    return clique->join(rank, device, since);
  });
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* result,
                           ncclConfig_t* config) {
  if (const ncclResult_t code = check_ready(comm)) return code;
  Member* member = comm->member.get();
  const bool blocking = config == nullptr ? member->blocking() : config->blocking != 0;
  const Ask ask{.kind = Ask::Kind::split, .color = color, .key = key};
  *result = nullptr;
  return begin(*member, [=, number = member->next_number(), since = hg::Clock::now()] {
    if (!member->clique()->collective(member->rank(), number, ask, since)) return false;
    const auto [part, rank] = member->clique()->part_of(member->rank(), number);
    if (!part) return true;
    *result = new ncclComm{std::make_shared<Member>(part, rank, member->device(), blocking)};
    if (!blocking) (*result)->member->begin([looks = 0]() mutable { return ++looks > 1; });
    return true;
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  *state = comm->member->state();
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (const ncclResult_t code = check_ready(comm)) return code;
  Member* member = comm->member.get();
  if (member->in_graphs()) ++machine().outlived;
  return begin(*member, [member] {
    if (!member->idle()) machine().advance(member->device());
    return member->idle();
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm->member->in_graphs()) ++machine().outlived;
  machine().wait(comm->member->device(), [&] { return comm->member->idle(); });
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (comm->member->in_graphs()) ++machine().outlived;
  comm->member->abort();
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++the_group.depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (the_group.depth == 0) return refuse(ncclInvalidUsage, "no group has been started");
  return close_group();
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call(
      comm, stream,
      {.kind = Ask::Kind::all_reduce, .in = in, .out = out, .count = count, .type = type, .op = op},
      count, count);
}

ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  const auto size = static_cast<std::size_t>(comm->member->clique()->size());
  return call(comm, stream,
              {.kind = Ask::Kind::reduce_scatter,
               .in = in,
               .out = out,
               .count = count,
               .type = type,
               .op = op},
              size * count, count);
}

ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  const auto size = static_cast<std::size_t>(comm->member->clique()->size());
  return call(comm, stream,
              {.kind = Ask::Kind::all_gather, .in = in, .out = out, .count = count, .type = type},
              count, size * count);
}

ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream,
              {.kind = Ask::Kind::broadcast,
               .in = in,
               .out = out,
               .count = count,
               .type = type,
               .root = root},
              count, count);
}

ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call(comm, stream,
              {.kind = Ask::Kind::send, .in = in, .count = count, .type = type, .peer = peer},
              count, 0);
}

ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call(comm, stream,
              {.kind = Ask::Kind::receive, .out = out, .count = count, .type = type, .peer = peer},
              0, count);
}
}
