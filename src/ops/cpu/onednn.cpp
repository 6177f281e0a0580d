// Written for oneDNN 2 (Debian 12) and 3.
#include "ops/cpu/onednn.h"

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "core/parallel.h"

namespace hg {
namespace {

/// HEADGATE_ISA holds for oneDNN as well. Its limit is one for the process and must be set before
/// its first primitive, so it follows what the process may use, not what one context was told to.
void cap_isa() {
  const CpuInfo cpu = detect_cpu();
  if (cpu.isa == Isa::avx2) {
    dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
  } else if (!cpu.amx_bf16) {
    dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16);
  }
}

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::memory::desc matrix(std::int64_t rows, std::int64_t columns, DType dtype, bool transposed) {
  using Tag = dnnl::memory::format_tag;
  return {{rows, columns}, type_of(dtype), transposed ? Tag::ba : Tag::ab};
}

dnnl::matmul::primitive_desc describe(const Product& p, const dnnl::engine& engine) {
  const auto a = matrix(p.m, p.k, p.input, p.a_transposed);
  const auto b = matrix(p.k, p.n, p.input, p.b_transposed);
  const auto c = matrix(p.m, p.n, p.output, false);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c, attributes};
#else
  return {{a, b, c}, attributes, engine};
#endif
}

/// One worker's handles on the operands: oneDNN keeps addresses in them, so workers cannot share.
struct Operands {
  dnnl::memory a, b, c, scratch;
  std::unordered_map<int, dnnl::memory> arguments;

  Operands(const dnnl::matmul::primitive_desc& description, const dnnl::engine& engine)
      : a(description.src_desc(), engine, DNNL_MEMORY_NONE),
        b(description.weights_desc(), engine, DNNL_MEMORY_NONE),
        c(description.dst_desc(), engine, DNNL_MEMORY_NONE),
        scratch(description.scratchpad_desc(), engine, DNNL_MEMORY_NONE),
        arguments({{DNNL_ARG_SRC, a},
                   {DNNL_ARG_WEIGHTS, b},
                   {DNNL_ARG_DST, c},
                   {DNNL_ARG_SCRATCHPAD, scratch}}) {}
};

struct Matmul {
  dnnl::matmul primitive;
  std::int64_t scratch_bytes;
  mutable std::vector<Operands> operands;  // one for each worker
};

}  // namespace

struct OneDnn::State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Product, Matmul> matmuls;
};

OneDnn::OneDnn() {
  cap_isa();
  state_ = std::make_unique<State>();
}
OneDnn::~OneDnn() = default;

std::int64_t OneDnn::prepare(const Product& product) {
  const auto workers = static_cast<std::size_t>(num_threads());
  auto found = state_->matmuls.find(product);
  if (found != state_->matmuls.end() && found->second.operands.size() >= workers) {
    return found->second.scratch_bytes;
  }
  try {
    const SingleThreadedLibraries alone;  // oneDNN decides at creation how many threads to use
    const auto description = describe(product, state_->engine);
    if (found == state_->matmuls.end()) {
      const auto bytes = static_cast<std::int64_t>(description.scratchpad_desc().get_size());
      found = state_->matmuls.emplace(product, Matmul{dnnl::matmul(description), bytes, {}}).first;
    }
    auto& operands = found->second.operands;
    while (operands.size() < workers) operands.emplace_back(description, state_->engine);
  } catch (const dnnl::error& error) {
    fail("oneDNN cannot multiply [{}, {}] by [{}, {}] in {}: {}", product.m, product.k, product.k,
         product.n, name_of(product.input), error.what());
  }
  return found->second.scratch_bytes;
}

void OneDnn::run(const Product& product, int worker, const void* a, const void* b, void* c,
                 void* scratch) const {
  const Matmul& matmul = state_->matmuls.at(product);
  Operands& operands = matmul.operands[static_cast<std::size_t>(worker)];
  operands.a.set_data_handle(const_cast<void*>(a));  // oneDNN's handles know no const
  operands.b.set_data_handle(const_cast<void*>(b));
  operands.c.set_data_handle(c);
  operands.scratch.set_data_handle(scratch);
  const SingleThreadedLibraries alone;  // some of its kernels ask again
  try {
    matmul.primitive.execute(state_->stream, operands.arguments);
  } catch (const dnnl::error& error) {
    fail("oneDNN failed in a product of [{}, {}] by [{}, {}]: {}", product.m, product.k, product.k,
         product.n, error.what());
  }
}

OneDnn& onednn(Context& ctx) {
  if (!ctx.onednn) ctx.onednn = std::make_shared<OneDnn>();
  return *ctx.onednn;
}

}  // namespace hg
