// What stands for cuDNN where headgate is built without it.
#include "core/check.h"
#include "cuda/cudnn.h"

namespace hg {

struct CudnnPlan::State {};
struct Cudnn::State {};

CudnnPlan::CudnnPlan(std::unique_ptr<State> state) : state_(std::move(state)) {}
CudnnPlan::CudnnPlan(CudnnPlan&&) noexcept = default;
CudnnPlan::~CudnnPlan() = default;
std::int64_t CudnnPlan::workspace() const { return 0; }
void CudnnPlan::run(const SdpaMemory&, void*, cudaStream_t) const { fail("there is no cuDNN"); }

Cudnn::Cudnn(const std::string&) { fail("headgate was built without cuDNN"); }
Cudnn::~Cudnn() = default;
int Cudnn::version() const { return 0; }
int Cudnn::architecture() const { return 0; }
CudnnPlan Cudnn::plan(const SdpaGraph&, bool, std::int64_t) const { fail("there is no cuDNN"); }

}  // namespace hg
