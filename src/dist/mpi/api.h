// The MPI calls that headgate makes, as a table of plain functions in a module of its own. So the
// program starts without loading MPI and runs where there is none, and only the module is rebuilt
// for another MPI.
#pragma once

#include <cstdint>

namespace hg {

/// Functions return 0, or an error code of MPI for error_words. None of them waits for another
/// rank, but for those under "waits". One thread at a time may call them.
struct MpiApi {
  using Comm = void*;
  using Request = void*;

  std::uint32_t version;  ///< kVersion of the header that the module was built with
  static constexpr std::uint32_t kVersion = 1;

  void (*error_words)(int code, char* text, int capacity);
  int (*rank)(Comm comm, int* rank);
  int (*size)(Comm comm, int* size);

  int (*start_send)(const void* data, int bytes, int to, int tag, Comm comm, Request* request);
  int (*start_receive)(void* data, int bytes, int from, int tag, Comm comm, Request* request);
  int (*start_broadcast)(void* data, int bytes, int root, Comm comm, Request* request);
  int (*start_barrier)(Comm comm, Request* request);
  /// `bytes` is what a receive got.
  int (*test)(Request* request, int* done, int* bytes);
  /// Whether a message has come, from whom, and its length.
  int (*probe)(Comm comm, int tag, int* found, int* from, int* bytes);

  // Waits.
  /// MPI_Init_thread; `serialized` is false if MPI allows calls from one thread only.
  int (*initialize)(Comm* world, int* serialized);
  int (*duplicate)(Comm comm, Comm* result);
  /// A negative color gets none: null.
  int (*split)(Comm comm, int color, int key, Comm* result);
  int (*release)(Comm comm);
  int (*finalize)();

  /// Ends all processes, this one too.
  void (*abort)(Comm world, int exit_code);
};

/// The one symbol of the module: a function of this type.
using MpiApiFunction = const MpiApi*();
inline constexpr char kMpiApiSymbol[] = "headgate_mpi_api";
inline constexpr char kMpiModule[] = "libheadgate_mpi.so";

}  // namespace hg
