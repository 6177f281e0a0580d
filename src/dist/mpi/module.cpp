// The module that calls MPI; see api.h. Nothing else includes mpi.h.
#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "dist/mpi/api.h"

namespace hg {
namespace {

// Handles are pointers in one MPI and integers in another: their bits travel in a pointer.
template <class Handle>
Handle unpack(void* bits) {
  static_assert(sizeof(Handle) <= sizeof(void*));
  Handle handle;
  std::memcpy(&handle, &bits, sizeof handle);
  return handle;
}

template <class Handle>
void* pack(Handle handle) {
  void* bits = nullptr;
  std::memcpy(&bits, &handle, sizeof handle);
  return bits;
}

MPI_Comm comm_of(void* bits) { return unpack<MPI_Comm>(bits); }

/// Packs what an MPI call made.
template <class Handle>
int packed(int code, Handle handle, void** bits) {
  if (code == MPI_SUCCESS) *bits = pack(handle);
  return code;
}

void error_words(int code, char* text, int capacity) {
  char words[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, words, &length) != MPI_SUCCESS) length = 0;
  const std::string all(words, static_cast<std::size_t>(length));
  text[all.copy(text, static_cast<std::size_t>(capacity) - 1)] = '\0';
}

int rank(void* comm, int* result) { return MPI_Comm_rank(comm_of(comm), result); }
int size(void* comm, int* result) { return MPI_Comm_size(comm_of(comm), result); }

int start_send(const void* data, int bytes, int to, int tag, void* comm, void** request) {
  MPI_Request started;
  const int code = MPI_Isend(data, bytes, MPI_BYTE, to, tag, comm_of(comm), &started);
  return packed(code, started, request);
}

int start_receive(void* data, int bytes, int from, int tag, void* comm, void** request) {
  MPI_Request started;
  const int code = MPI_Irecv(data, bytes, MPI_BYTE, from, tag, comm_of(comm), &started);
  return packed(code, started, request);
}

int start_broadcast(void* data, int bytes, int root, void* comm, void** request) {
  MPI_Request started;
  const int code = MPI_Ibcast(data, bytes, MPI_BYTE, root, comm_of(comm), &started);
  return packed(code, started, request);
}

int start_barrier(void* comm, void** request) {
  MPI_Request started;
  const int code = MPI_Ibarrier(comm_of(comm), &started);
  return packed(code, started, request);
}

int test(void** request, int* done, int* bytes) {
  auto pending = unpack<MPI_Request>(*request);
  MPI_Status status;
  int code = MPI_Test(&pending, done, &status);
  if (code == MPI_SUCCESS && *done != 0) code = MPI_Get_count(&status, MPI_BYTE, bytes);
  *request = pack(pending);
  return code;
}

int probe(void* comm, int tag, int* found, int* from, int* bytes) {
  MPI_Status status;
  const int code = MPI_Iprobe(MPI_ANY_SOURCE, tag, comm_of(comm), found, &status);
  if (code != MPI_SUCCESS || *found == 0) return code;
  *from = status.MPI_SOURCE;
  return MPI_Get_count(&status, MPI_BYTE, bytes);
}

int initialize(void** world, int* serialized) {
  int level = 0;
  if (const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level))
    return code;
  *serialized = level >= MPI_THREAD_SERIALIZED;
  *world = pack(MPI_COMM_WORLD);
  return MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);  // groups inherit it
}

int duplicate(void* comm, void** result) {
  MPI_Comm made;
  const int code = MPI_Comm_dup(comm_of(comm), &made);
  return packed(code, made, result);
}

int split(void* comm, int color, int key, void** result) {
  MPI_Comm made;
  const int code = MPI_Comm_split(comm_of(comm), color < 0 ? MPI_UNDEFINED : color, key, &made);
  *result = nullptr;
  return color < 0 ? code : packed(code, made, result);
}

int release(void* comm) {
  MPI_Comm released = comm_of(comm);
  return MPI_Comm_free(&released);
}

int finalize() { return MPI_Finalize(); }

void abort(void* world, int exit_code) { MPI_Abort(comm_of(world), exit_code); }

constexpr MpiApi kApi = {.version = MpiApi::kVersion,
                         .error_words = error_words,
                         .rank = rank,
                         .size = size,
                         .start_send = start_send,
                         .start_receive = start_receive,
                         .start_broadcast = start_broadcast,
                         .start_barrier = start_barrier,
                         .test = test,
                         .probe = probe,
                         .initialize = initialize,
                         .duplicate = duplicate,
                         .split = split,
                         .release = release,
                         .finalize = finalize,
                         .abort = abort};

}  // namespace
}  // namespace hg

extern "C" const hg::MpiApi* headgate_mpi_api() { return &hg::kApi; }
