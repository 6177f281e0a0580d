// Runs the tests of kernels on nvcc's PTX. And the interpreter itself: what it does not know, and
// what kernels must not touch, is an error.
#include "cuda_sim/ptx/translate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "cuda_sim/kernels/planted.h"
#include "cuda_sim/ptx/program.h"
#include "support/device_tensors.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

using cuda_sim::ptx::Module;
using testing::AllOf;
using testing::HasSubstr;

/// The error of decoding a kernel of these statements.
std::string error_of(const std::string& statements) {
  const TempFolder folder;
  const std::string path = (folder.path() / "small.ptx").string();
  std::ofstream(path) << ".version 9.0\n.target sm_90\n\n.visible .entry small()\n{\n"
                      << "\t.reg .pred %p<2>;\n\t.reg .b32 %r<4>;\n\t" << statements
                      << "\n\tret;\n}\n";
  const Module module(path);
  try {
    decode(module.parse(module.entries().at(0)));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Ptx, EveryKernelIsImplemented) {
  std::size_t kernels = 0;
  for (const std::string& file : cuda_sim::ptx::ptx_files()) {
    const Module module(file);
    for (const Module::Entry& entry : module.entries()) {
      EXPECT_NO_THROW(decode(module.parse(entry))) << file << " " << entry.name;
      ++kernels;
    }
  }
  EXPECT_GT(kernels, 200U);
}

TEST(Ptx, AnInstructionThatIsNotImplementedIsAnErrorThatNamesIt) {
  EXPECT_EQ(error_of("add.s32 %r1, %r2, 3;"), "");
  EXPECT_THAT(error_of("add.s32 %r1, %r2, 3;\n\tadd.f16x2 %r1, %r2, %r3;"),
              HasSubstr("small.ptx:9: add.f16x2: the simulation does not implement"));
  EXPECT_THAT(error_of("add.sat.s32 %r1, %r2, %r3;"), HasSubstr("add.sat.s32"));
  EXPECT_THAT(error_of("bar.sync 0, 64;"), HasSubstr("2 operands where 1 are implemented"));
  EXPECT_THAT(error_of("mov.u32 %r1, %clock;"), HasSubstr("register %clock is not declared"));
  EXPECT_THAT(error_of("mov.u32 %r1, table;"), HasSubstr("table is not declared"));
  EXPECT_THAT(error_of("@%p1 bra nowhere;"), HasSubstr("nowhere"));
}

TEST(Ptx, NamesAreThoseOfTheCompilerThatCompilesTheHost) {
  EXPECT_EQ(cuda_sim::ptx::plain_name(
                "_ZN2hg45_GLOBAL__N__224b7eaf_7_norm_cu_28b50d6a_1799810sum_piecesEPfPKfllb"),
            "_ZN2hg12_GLOBAL__N_110sum_piecesEPfPKfllb");
  EXPECT_EQ(cuda_sim::ptx::plain_name("_ZN2hg12_GLOBAL__N_110sum_piecesEPfPKfllb"),
            "_ZN2hg12_GLOBAL__N_110sum_piecesEPfPKfllb");
}

TEST(Ptx, AnAccessOutsideOfEveryAllocationIsAnError) {
  for (const std::int64_t size : {128, 127}) {
    const cuda_sim::Simulation simulation;
    DeviceTensors device;
    Tensors host;
    const Tensor in = device.copy(host.normal("in", {64})), out = device.empty({size});
    block_sums(out.as<float>(), in.as<float>(), true);
    const cudaError_t code = cudaDeviceSynchronize();
    const std::string error = code == cudaSuccess ? "" : cudaGetErrorString(code);
    if (size == 128) {
      EXPECT_EQ(error, "");
    } else {
      EXPECT_THAT(error, AllOf(HasSubstr("planted.cu:23: thread (63, 0, 0)"),
                               HasSubstr("4 bytes are written at"), HasSubstr("in no allocation")));
    }
  }
}

}  // namespace
}  // namespace hg::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  cuda_sim::translate() = cuda_sim::ptx::interpret;
  return RUN_ALL_TESTS();
}
