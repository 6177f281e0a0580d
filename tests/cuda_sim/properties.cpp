// What simulated devices say of themselves.
#include <cstring>

#include "core/check.h"
#include "cuda_sim/machine.h"

namespace {

using cuda_sim::error;
using cuda_sim::machine;

constexpr std::size_t kMemory = std::size_t{8} << 30;

}  // namespace

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = machine().options.architecture / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = machine().options.architecture % 10;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = machine().options.multiprocessors;
      return cudaSuccess;
    default:
      return error(cudaErrorInvalidValue, "an attribute that the simulation does not know");
  }
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "a simulated GPU");
  properties->totalGlobalMem = kMemory;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* address, int bytes, int device) {
  fmt::format_to_n(address, bytes, "0000:{:02x}:00.0{}", device + 1, '\0');
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* all) {
  *all = kMemory;
  *available = kMemory - machine().memory.held_of(cuda_sim::current_device());
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 12080;
  return cudaSuccess;
}
