// The module that calls NCCL and the CUDA runtime; see api.h.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <string>

#include "dist/nccl/api.h"

namespace hg {

struct NcclApi::Communicator {
  ncclComm_t handle = nullptr;
};

namespace {

using Comm = NcclApi::Comm;

static_assert(sizeof(ncclUniqueId) == NcclApi::kIdBytes);
static_assert(ncclSuccess == 0 && ncclRemoteError == NcclApi::kRemoteError &&
              ncclInProgress == NcclApi::kInProgress);

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

ncclDataType_t type_of(DType dtype) {
  return dtype == DType::f32 ? ncclFloat32 : dtype == DType::bf16 ? ncclBfloat16 : ncclInt32;
}

std::size_t unsigned_of(std::int64_t count) { return static_cast<std::size_t>(count); }

int code_of(cudaError_t error) {
  return error == cudaSuccess ? 0 : NcclApi::kCudaError + static_cast<int>(error);
}

/// What communicators are made with: no call of them waits, so that an abort always gets through.
ncclConfig_t config() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

/// Passes on the code of a call that makes a communicator, which is freed if there is none.
int made(ncclResult_t code, Comm comm, Comm* result) {
  if (code == ncclSuccess || code == ncclInProgress) {
    *result = comm;
    return code;
  }
  delete comm;
  return code;
}

void error_words(Comm comm, int code, char* text, int capacity) {
  std::string words;
  if (code >= NcclApi::kCudaError) {
    words = cudaGetErrorString(static_cast<cudaError_t>(code - NcclApi::kCudaError));
  } else {
    words = ncclGetErrorString(static_cast<ncclResult_t>(code));
    const char* last = ncclGetLastError(comm == nullptr ? nullptr : comm->handle);
    if (last != nullptr && *last != '\0') words += std::string(": ") + last;
  }
  text[words.copy(text, unsigned_of(capacity) - 1)] = '\0';
}

int nccl_version(int* version) { return ncclGetVersion(version); }

int device_count(int* count) { return code_of(cudaGetDeviceCount(count)); }
int use(int device) { return code_of(cudaSetDevice(device)); }

int copy_to_device(void* to, const void* from, std::int64_t bytes, void* stream) {
  return code_of(
      cudaMemcpyAsync(to, from, unsigned_of(bytes), cudaMemcpyHostToDevice, stream_of(stream)));
}

int copy_to_host(void* to, const void* from, std::int64_t bytes, void* stream) {
  return code_of(
      cudaMemcpyAsync(to, from, unsigned_of(bytes), cudaMemcpyDeviceToHost, stream_of(stream)));
}

int stream_done(void* stream, int* done) {
  const cudaError_t error = cudaStreamQuery(stream_of(stream));
  *done = error == cudaSuccess;
  return error == cudaErrorNotReady ? 0 : code_of(error);
}

int unique_id(char* id) {
  ncclUniqueId made_id;
  const ncclResult_t code = ncclGetUniqueId(&made_id);
  std::memcpy(id, &made_id, sizeof made_id);
  return code;
}

int initialize(Comm* result, int size, const char* id, int rank) {
  ncclUniqueId its_id;
  std::memcpy(&its_id, id, sizeof its_id);
  ncclConfig_t its_config = config();
  auto* comm = new NcclApi::Communicator;
  return made(ncclCommInitRankConfig(&comm->handle, size, its_id, rank, &its_config), comm, result);
}

int split(Comm comm, int color, int key, Comm* result) {
  ncclConfig_t its_config = config();
  auto* part = new NcclApi::Communicator;
  return made(ncclCommSplit(comm->handle, color < 0 ? NCCL_SPLIT_NOCOLOR : color, key,
                            &part->handle, &its_config),
              part, result);
}

int state(Comm comm) {
  if (comm->handle == nullptr) return NcclApi::kInProgress;
  ncclResult_t state = ncclSuccess;
  const ncclResult_t code = ncclCommGetAsyncError(comm->handle, &state);
  return code == ncclSuccess ? state : code;
}

int finalize(Comm comm) { return ncclCommFinalize(comm->handle); }

int all_reduce(void* x, std::int64_t count, DType dtype, int max, Comm comm, void* stream) {
  return ncclAllReduce(x, x, unsigned_of(count), type_of(dtype), max != 0 ? ncclMax : ncclSum,
                       comm->handle, stream_of(stream));
}

int reduce_scatter(const void* in, void* out, std::int64_t out_count, DType dtype, Comm comm,
                   void* stream) {
  return ncclReduceScatter(in, out, unsigned_of(out_count), type_of(dtype), ncclSum, comm->handle,
                           stream_of(stream));
}

int all_gather(const void* in, void* out, std::int64_t in_count, DType dtype, Comm comm,
               void* stream) {
  return ncclAllGather(in, out, unsigned_of(in_count), type_of(dtype), comm->handle,
                       stream_of(stream));
}

int broadcast(void* x, std::int64_t count, DType dtype, int root, Comm comm, void* stream) {
  return ncclBroadcast(x, x, unsigned_of(count), type_of(dtype), root, comm->handle,
                       stream_of(stream));
}

int group_start() { return ncclGroupStart(); }

int send(const void* in, std::int64_t count, DType dtype, int to, Comm comm, void* stream) {
  return ncclSend(in, unsigned_of(count), type_of(dtype), to, comm->handle, stream_of(stream));
}

int receive(void* out, std::int64_t count, DType dtype, int from, Comm comm, void* stream) {
  return ncclRecv(out, unsigned_of(count), type_of(dtype), from, comm->handle, stream_of(stream));
}

int group_end() { return ncclGroupEnd(); }

int allocate(std::int64_t bytes, void** memory) {
  return code_of(cudaMalloc(memory, unsigned_of(bytes)));
}
int release(void* memory) { return code_of(cudaFree(memory)); }

/// A communicator left out of a split, or not finished, has no handle.
int ended(ncclResult_t (*end)(ncclComm_t), Comm comm) {
  const int code = comm->handle == nullptr ? ncclSuccess : end(comm->handle);
  delete comm;
  return code;
}

int destroy(Comm comm) { return ended(ncclCommDestroy, comm); }
int abort(Comm comm) { return ended(ncclCommAbort, comm); }

constexpr NcclApi kApi = {.version = NcclApi::kVersion,
                          .built_with = NCCL_VERSION_CODE,
                          .error_words = error_words,
                          .nccl_version = nccl_version,
                          .device_count = device_count,
                          .use = use,
                          .copy_to_device = copy_to_device,
                          .copy_to_host = copy_to_host,
                          .stream_done = stream_done,
                          .unique_id = unique_id,
                          .initialize = initialize,
                          .split = split,
                          .state = state,
                          .finalize = finalize,
                          .all_reduce = all_reduce,
                          .reduce_scatter = reduce_scatter,
                          .all_gather = all_gather,
                          .broadcast = broadcast,
                          .group_start = group_start,
                          .send = send,
                          .receive = receive,
                          .group_end = group_end,
                          .allocate = allocate,
                          .release = release,
                          .destroy = destroy,
                          .abort = abort};

}  // namespace
}  // namespace hg

extern "C" const hg::NcclApi* headgate_nccl_api() { return &hg::kApi; }
