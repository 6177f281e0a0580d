// What an op needs to run, passed to every call: no globals.
#pragma once

#include <memory>

#include "core/arena.h"
#include "core/cpu_info.h"
#include "core/gpu.h"
#include "core/trace.h"

namespace hg {

class OneDnn;
class CublasLt;
class Sdpa;

/// meta checks shapes and counts memory and work but computes nothing.
enum class Device { meta, cpu, cuda };

struct Context {
  Device device = Device::cpu;
  Device plans_for = Device::cpu;  ///< what a meta run sizes memory for
  std::shared_ptr<GpuStream> gpu;  ///< that ops go to, on Device::cuda
  CpuInfo cpu;
  Fp8 fp8 = Fp8::off;                   ///< of the linear layers of blocks (model/linear.h)
  Arena activations{"activations"};     ///< what forward keeps for backward
  Arena scratch{"scratch"};             ///< what an op, or one block's backward, needs for a moment
  Trace* trace = nullptr;               ///< counts and times ops when set
  std::shared_ptr<OneDnn> onednn;       ///< its primitives, made at first use (ops/cpu/onednn.h)
  std::shared_ptr<CublasLt> cublas_lt;  ///< its algorithms, likewise (ops/cuda/lt_matmul.h)
  std::shared_ptr<Sdpa> sdpa;           ///< plans of cuDNN's attention, likewise (ops/cuda/sdpa.h)

  /// The device whose bodies an op's scratch is for.
  Device scratch_device() const { return device == Device::meta ? plans_for : device; }
};

}  // namespace hg
