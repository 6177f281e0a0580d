// The calls of NCCL, and those of the CUDA runtime around them, as a table of plain functions in a
// module of its own. So the program starts without loading either and runs where there is none.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace hg {

/// Functions return 0 or an error code for error_words: of NCCL as it is, of CUDA from kCudaError
/// on. None of them waits, neither for another rank nor for the device, but for those under
/// "waits": what is under way shows in state(). Operands are addresses in device memory; counts are
/// elements.
struct NcclApi {
  struct Communicator;  // where NCCL puts its handle, which may be after the call that makes it
  using Comm = Communicator*;
  using Stream = void*;  // a cudaStream_t
  static constexpr int kIdBytes = 128;
  static constexpr int kRemoteError = 6, kInProgress = 7, kCudaError = 1000;

  std::uint32_t version;  ///< kVersion of the header that the module was built with
  static constexpr std::uint32_t kVersion = 1;
  int built_with;  ///< NCCL's version at that time: 22809 for 2.28.9

  /// With what NCCL has to say about it, if anything.
  void (*error_words)(Comm comm, int code, char* text, int capacity);
  int (*nccl_version)(int* version);

  // The device and its memory. `use` is for the calling thread, and for all calls below.
  int (*device_count)(int* count);
  int (*use)(int device);
  int (*copy_to_device)(void* to, const void* from, std::int64_t bytes, Stream stream);
  int (*copy_to_host)(void* to, const void* from, std::int64_t bytes, Stream stream);
  int (*stream_done)(Stream stream, int* done);

  // Communicators. New ones are in progress until their state is another.
  int (*unique_id)(char* id);
  int (*initialize)(Comm* comm, int size, const char* id, int rank);
  /// In progress are `comm` first, then the result; with a negative color that is to be destroyed
  /// when `comm` is done, and good for nothing else.
  int (*split)(Comm comm, int color, int key, Comm* result);
  int (*state)(Comm comm);
  int (*finalize)(Comm comm);

  // Collectives of a communicator, enqueued when its state is 0 again. `max`: else the sum.
  int (*all_reduce)(void* x, std::int64_t count, DType dtype, int max, Comm comm, Stream stream);
  int (*reduce_scatter)(const void* in, void* out, std::int64_t out_count, DType dtype, Comm comm,
                        Stream stream);
  int (*all_gather)(const void* in, void* out, std::int64_t in_count, DType dtype, Comm comm,
                    Stream stream);
  int (*broadcast)(void* x, std::int64_t count, DType dtype, int root, Comm comm, Stream stream);
  /// Between group_start and group_end, so that all of them go on together.
  int (*group_start)();
  int (*send)(const void* in, std::int64_t count, DType dtype, int to, Comm comm, Stream stream);
  int (*receive)(void* out, std::int64_t count, DType dtype, int from, Comm comm, Stream stream);
  int (*group_end)();

  // Waits, but not for ever: for the device, and for threads of NCCL.
  int (*allocate)(std::int64_t bytes, void** memory);
  int (*release)(void* memory);
  /// After finalize, when that is done.
  int (*destroy)(Comm comm);
  /// At any time instead.
  int (*abort)(Comm comm);
};

/// The one symbol of the module: a function of this type.
using NcclApiFunction = const NcclApi*();
inline constexpr char kNcclApiSymbol[] = "headgate_nccl_api";
inline constexpr char kNcclModule[] = "libheadgate_nccl.so";

}  // namespace hg
