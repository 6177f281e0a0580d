// What a GPU is, and how much of its memory is left.
#pragma once

#include <cstdint>
#include <string>

namespace hg {

class GpuStream;

/// What a GPU says of itself, and of the software that reaches it.
struct GpuFacts {
  std::string name;            ///< "NVIDIA H100 80GB HBM3"
  std::string address;         ///< on the machine's PCI bus, whatever of the machine is visible
  int architecture = 0;        ///< 90 is sm_90
  std::int64_t memory = 0;     ///< bytes, of all who use it
  std::int64_t available = 0;  ///< of these, what nobody has at the moment
  std::string driver = {};     ///< "12.8": the newest CUDA that the driver knows
  std::string runtime = {};    ///< of the CUDA runtime
};

/// What a GpuStream may be besides: one that says so.
class GpuWithFacts {
 public:
  virtual GpuFacts facts() const = 0;

 protected:
  ~GpuWithFacts() = default;
};

/// Of the GPU that the stream is of; throws if it does not say.
GpuFacts facts_of(const GpuStream& gpu);

}  // namespace hg
