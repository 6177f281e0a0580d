// Makes cuDNN's plans for the attention of all configurations, for a GPU that is not here, and says
// which it has, and whether those are the ones that docs/cuda.md says.
//
//   cudnn_plans a100|h100|b200 FOLDER_OF_CONFIGS
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "core/config.h"
#include "ops/cuda/sdpa.h"
#include "train/config.h"

namespace hg {
namespace {

/// What cuDNN asks about a device, from NVIDIA's data sheets.
struct Gpu {
  const char* name;
  int architecture, multiprocessors;
  std::int64_t memory, l2_cache;
  int shared_memory, clock, memory_clock;  // bytes of a block, kHz

  std::string properties() const {
    return fmt::format(
        R"({{"deviceName": "{}", "deviceVer": {}, "multiProcessorCount": {}, "totalGlobalMem": {}, )"
        R"("l2CacheSize": {}, "maxSharedMemoryPerBlockOptin": {}, "smClockRateKHz": {}, )"
        R"("memClockRateKHz": {}, "driverVer": 13000, "cudaDeviceId": 0, "pciDeviceId": 0, )"
        R"("isTccDriver": 0, "supportCoopLaunch": 1, "warpSize": 32, "regsPerBlock": 65536, )"
        R"("maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152, )"
        R"("reservedSharedMemoryPerBlock": 1024, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, )"
        R"("maxThreadsPerSM": 2048, "maxGridSize": [2147483647, 65535, 65535], )"
        R"("maxBlockSize": [1024, 1024, 64]}})",
        name, 10 * architecture, multiprocessors, memory, l2_cache, shared_memory, clock,
        memory_clock);
  }
};

const std::map<std::string, Gpu> kGpus{
    {"a100", {"A100", 80, 108, 85094825984, 41943040, 166912, 1410000, 1593000}},
    {"h100", {"H100", 90, 132, 85029158912, 52428800, 232448, 1980000, 2619000}},
    {"b200", {"B200", 100, 148, 191501107200, 132644864, 232448, 1965000, 3996000}}};

struct Case {
  std::int64_t heads, kv_heads, d, length, documents;
  auto operator<=>(const Case&) const = default;
};

std::set<Case> cases_of(const std::string& folder) {
  std::set<Case> cases;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".yaml") continue;
    const RunConfig config = load_config<RunConfig>(file.path().string()).value;
    cases.insert({config.model.num_attention_heads, config.model.num_key_value_heads,
                  config.model.head_dim, config.training.seq_len,
                  config.training.micro_batch_size});
  }
  return cases;
}

/// An attention op of a case, of shapes alone: documents are as long as they can be or, `packed`,
/// each of 16 is as long at most.
template <class Op>
struct ShapedOp {
  Context ctx;
  Arena memory{"operands"};
  Op op;

  ShapedOp(const Case& c, bool packed) {
    ctx.device = Device::meta;
    ctx.plans_for = Device::cuda;
    const std::int64_t tokens = c.length * c.documents, group = c.heads / c.kv_heads;
    const std::int64_t all = c.heads + 2 * c.kv_heads;
    const auto make = [&](const Shape& shape, DType type = DType::bf16) {
      return memory.allocate("operand", type, shape);
    };
    const Tensor qkv = make({tokens, all, 1, c.d});
    op.k = qkv.slice(1, c.heads, c.heads + c.kv_heads);
    op.v = qkv.slice(1, c.heads + c.kv_heads, all);
    op.q = op.o = make({tokens, c.kv_heads, group, c.d});
    op.documents = make({(packed ? 16 * c.documents : c.documents) + 1}, DType::i32);
    op.longest = c.length;
  }
};

struct Tally {
  int wrong = 0;

  void count(const std::string& what, const std::string& result, bool made, bool expected) {
    fmt::print("{}: {}{}\n", what, result, made == expected ? "" : "  <- not as expected");
    if (made != expected) ++wrong;
  }
};

/// Whether docs/cuda.md says that there is a plan.
bool expected(const Gpu& gpu, const SdpaShape& shape, bool backward) {
  if (shape.ragged && gpu.architecture < 90) return false;
  if (!backward) return true;
  if (shape.d > 128 && gpu.architecture != 90) return false;
  const std::int64_t per_query = 2 * shape.heads * shape.length;
  const std::int64_t pairs = per_query * shape.batch * shape.length;
  const std::int64_t room = std::min<std::int64_t>(512 << 20, per_query * shape.tokens);
  return gpu.architecture == 100 || pairs <= room;
}

template <class Op>
void make_plan(const Cudnn& cudnn, const Gpu& gpu, const Case& one, bool packed, Tally& tally) {
  constexpr bool kBackward = std::is_same_v<Op, AttentionBackward>;
  ShapedOp<Op> shaped(one, packed);
  const Op& op = shaped.op;
  const SdpaShape shape = sdpa_shape(op.q, op.k, op.v, op.documents, op.longest, kBackward);
  const std::string what =
      fmt::format("{} {:18} {:2} heads, {} of keys, of {:3}; {:7} {:3} documents of {:4} tokens",
                  gpu.name, op.name, shape.heads, shape.kv_heads, shape.d,
                  shape.ragged ? "at most" : "", shape.batch, shape.length);
  const bool wanted = expected(gpu, shape, kBackward);
  const std::int64_t room = op.scratch(shaped.ctx).library.bytes();
  try {
    HG_CHECK(!shape.ragged || cudnn.architecture() >= 90, "not asked: documents differ in length");
    const CudnnPlan plan =
        cudnn.plan(kBackward ? sdpa_backward_graph(shape) : sdpa_forward_graph(shape), kBackward,
                   room - sdpa_buffer_bytes(shape, kBackward));
    tally.count(what, fmt::format("workspace {} of {} bytes", plan.workspace(), room), true,
                wanted);
  } catch (const Error& refusal) {
    tally.count(what, refusal.what(), false, wanted);
  }
}

int make_plans(const Gpu& gpu, const std::string& configs) {
  const Cudnn cudnn(gpu.properties());
  HG_CHECK(cudnn.architecture() == gpu.architecture, "cuDNN takes {} for sm_{}", gpu.name,
           cudnn.architecture());
  Tally tally;
  for (const Case& one : cases_of(configs)) {
    for (const bool packed : {false, true}) {
      make_plan<AttentionForward>(cudnn, gpu, one, packed, tally);
      make_plan<AttentionBackward>(cudnn, gpu, one, packed, tally);
    }
  }
  fmt::print("{} plans are not as docs/cuda.md says\n", tally.wrong);
  return tally.wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace hg

int main(int argc, char** argv) {
  const auto gpu = argc == 3 ? hg::kGpus.find(argv[1]) : hg::kGpus.end();
  if (gpu == hg::kGpus.end()) {
    fmt::print(stderr, "usage: {} a100|h100|b200 FOLDER_OF_CONFIGS\n", argv[0]);
    return 2;
  }
  try {
    return hg::make_plans(gpu->second, argv[2]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
