// Plans: what cuDNN's heuristics propose for a graph, and the first of it that can be built.
#include "cuda/cudnn.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "cuda/cudnn/graph.h"

namespace hg {
namespace {

struct Handle {
  const CudnnLibrary& library;
  cudnnHandle_t handle = nullptr;

  explicit Handle(const CudnnLibrary& its) : library(its) {
    library.check(library.create(&handle), "it does not start");
  }
  ~Handle() { library.destroy(handle); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

/// The number that follows "name": in JSON.
int number_in(std::string_view json, std::string_view name) {
  const std::size_t at = json.find(fmt::format("\"{}\":", name));
  int value = 0;
  if (at != std::string_view::npos) {
    const std::string_view rest = json.substr(at + name.size() + 3);
    std::from_chars(rest.data() + rest.find_first_not_of(' '), rest.data() + rest.size(), value);
  }
  HG_CHECK(value > 0, "cuDNN does not say the {} of the device", name);
  return value;
}

}  // namespace

struct CudnnPlan::State {
  const CudnnLibrary& library;
  const std::optional<Handle>& handle;  // none for a device that is not here
  CudnnDescriptor plan;
  std::int64_t workspace;
  std::vector<std::int64_t> ids;      // of tensors that are memory
  std::vector<SdpaOperand> operands;  // which memory

  State(const CudnnLibrary& its_library, const std::optional<Handle>& its_handle,
        CudnnDescriptor its_plan, const SdpaGraph& graph)
      : library(its_library),
        handle(its_handle),
        plan(std::move(its_plan)),
        workspace(
            plan.read<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64)) {
    for (std::size_t i = 0; i < graph.tensors.size(); ++i) {
      if (graph.tensors[i].operand == SdpaOperand::none) continue;
      ids.push_back(CudnnGraph::id_of(i));
      operands.push_back(graph.tensors[i].operand);
    }
  }
};

CudnnPlan::CudnnPlan(std::unique_ptr<State> state) : state_(std::move(state)) {}
CudnnPlan::CudnnPlan(CudnnPlan&&) noexcept = default;
CudnnPlan::~CudnnPlan() = default;

std::int64_t CudnnPlan::workspace() const { return state_->workspace; }

void CudnnPlan::run(const SdpaMemory& memory, void* workspace, cudaStream_t stream) const {
  const CudnnLibrary& library = state_->library;
  HG_CHECK(state_->handle.has_value(), "cuDNN: a plan for a device that is not here does not run");
  std::vector<const void*> pointers;
  for (const SdpaOperand operand : state_->operands)
    pointers.push_back(memory[static_cast<std::size_t>(operand)]);
  CudnnDescriptor pack(library, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
           std::span<const std::int64_t>(state_->ids))
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
           std::span<const void* const>(pointers))
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
      .finish("operands");
  library.check(library.set_stream(state_->handle->handle, stream), "the stream");
  library.check(library.execute(state_->handle->handle, state_->plan.get(), pack.get()), "a plan");
}

struct Cudnn::State {
  CudnnLibrary library;
  std::optional<Handle> handle;
  CudnnDescriptor device{library, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR};
  int architecture;

  explicit State(const std::string& properties) {
    HG_CHECK(library.version() >= 91900, "cuDNN is {}, expected 9.19.0 (91900) or newer",
             library.version());
    if (properties.empty()) {
      int index = 0;
      HG_CHECK(cudaGetDevice(&index) == cudaSuccess, "cuDNN: there is no current device");
      handle.emplace(library);
      device.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, index);
    } else {
      device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                 std::span<const char>(properties));
    }
    device.finish("the device");
    const std::string json = device.read_text(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
    architecture = number_in(json, "deviceVer") / 10;
  }

  /// Configurations of engines that cuDNN proposes for the graph, the best first.
  std::vector<CudnnDescriptor> proposals(const CudnnGraph& graph) const {
    CudnnDescriptor heuristics(library, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.operations())
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A)
        .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device)
        .finish("a proposal");
    return heuristics.read_all(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  }

  /// The engine for sm_100 that sums dq in one order, by knobs that cuDNN does not propose. From
  /// 9.23.0 on, knobs have other meanings.
  bool has_order_knob() const { return architecture / 10 == 10 && library.version() < 92300; }
  CudnnDescriptor in_order(const CudnnGraph& graph) const {
    constexpr std::int64_t kEngine = 5, kBackward = 31, kInOrder = 2;
    CudnnDescriptor engine(library, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph.operations())
        .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, kEngine)
        .set(CUDNN_ATTR_ENGINE_DEVICEPROP, device)
        .finish("an engine");
    const auto knob = [&](cudnnBackendKnobType_t which, std::int64_t value) {
      CudnnDescriptor choice(library, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
      choice.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, which)
          .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value)
          .finish("a knob");
      return choice;
    };
    const CudnnDescriptor kernel = knob(CUDNN_KNOB_TYPE_KERNEL_CFG, kBackward);
    const CudnnDescriptor order = knob(CUDNN_KNOB_TYPE_STAGES, kInOrder);
    const cudnnBackendDescriptor_t knobs[] = {kernel.get(), order.get()};
    CudnnDescriptor result(library, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    result.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine)
        .set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
             std::span<const cudnnBackendDescriptor_t>(knobs))
        .finish("an engine with knobs");
    return result;
  }

  CudnnDescriptor build(const CudnnDescriptor& configuration) const {
    CudnnDescriptor plan(library, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration)
        .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device)
        .finish("a plan");
    return plan;
  }
};

Cudnn::Cudnn(const std::string& properties) : state_(std::make_unique<State>(properties)) {}
Cudnn::~Cudnn() = default;

int Cudnn::version() const { return static_cast<int>(state_->library.version()); }
int Cudnn::architecture() const { return state_->architecture; }

CudnnPlan Cudnn::plan(const SdpaGraph& graph, bool in_order, std::int64_t workspace) const {
  const CudnnGraph its(state_->library, graph);
  std::string refusal = "cuDNN has no engine for it";
  const auto attempt = [&](auto&& engine) -> std::unique_ptr<CudnnPlan::State> {
    try {
      auto plan = std::make_unique<CudnnPlan::State>(state_->library, state_->handle,
                                                     state_->build(engine()), graph);
      if (plan->workspace <= workspace) return plan;
      refusal = fmt::format("cuDNN wants a workspace of {} bytes, and there are {}",
                            plan->workspace, workspace);
    } catch (const Error& error) {
      refusal = error.what();
    }
    return nullptr;
  };
  if (in_order && state_->has_order_knob()) {
    auto plan = attempt([&] { return state_->in_order(its); });
    if (plan) return CudnnPlan(std::move(plan));
  }
  for (CudnnDescriptor& engine : state_->proposals(its)) {
    auto plan = attempt([&] { return std::move(engine); });
    if (plan) return CudnnPlan(std::move(plan));
  }
  fail("{}", refusal);
}

}  // namespace hg
