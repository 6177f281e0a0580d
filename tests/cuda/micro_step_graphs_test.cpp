// Which work becomes a graph, and what cannot, on a simulated GPU.
#include "train/micro_step_graphs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "dist/comm_queue.h"
#include "ops/elementwise.h"
#include "ops/route.h"
#include "support/checked_graphs.h"

namespace hg::test {
namespace {

/// A stream of one GPU and an op, whose coefficient is the host's.
class GpuGraphOfAnOp : public testing::Test {
 protected:
  GpuGraphOfAnOp() {
    config.training.device = Device::cuda;
    ctx.device = Device::cuda;
    ctx.gpu = checked_module()->open(0);
    memory.reserve(1 << 12, ctx.gpu);
    counts = memory.allocate("counts", DType::i32, {1, 2});
    balance = memory.allocate("balance", DType::f32, {1, 2});
    const std::int32_t even[] = {3, 3};
    store_values(ctx, counts, even);
  }
  ~GpuGraphOfAnOp() override { ctx.gpu->synchronize(); }

  /// Both elements of `balance` become the coefficient.
  void run_op(float coefficient) {
    run(ctx, RouterBalance{.balance = balance, .counts = counts, .coefficient = coefficient});
  }
  float result() const { return HostValues<float>(ctx, balance)[0]; }
  GpuGraphs& graphs() const { return dynamic_cast<GpuGraphs&>(*ctx.gpu); }
  std::string error_of(const std::function<void()>& work) const {
    try {
      graphs().record(work);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  const cuda_sim::Simulation simulation;
  RunConfig config;
  ParamStore store;
  Context ctx;
  Arena memory{"memory"};
  Tensor counts, balance;
};

TEST_F(GpuGraphOfAnOp, RunsWithoutTheHostFromItsSecondTimeOn) {
  int calls = 0;
  MicroStepGraphs its(config, ctx, store);
  ASSERT_TRUE(its);
  const MicroStepKey key{};
  for (int i = 0; i < 4; ++i) {
    const float zeros[] = {0, 0};
    store_values(ctx, balance, zeros);
    its.run(ctx, key, [&] {
      ++calls;
      run_op(2);
    });
    EXPECT_EQ(result(), 2) << i;
  }
  // By op, recorded, and once more for each of the three checks.
  EXPECT_EQ(calls, 2 + 3);
  EXPECT_EQ(cuda_sim::Simulation::counts().graph_launches, 3);
}

TEST_F(GpuGraphOfAnOp, WhatTheHostDecidesAndTheKeyDoesNotHaveIsFound) {
  MicroStepGraphs its(config, ctx, store);
  float coefficient = 0;
  const auto step = [&] { its.run(ctx, {}, [&] { run_op(++coefficient); }); };
  step();
  // The very first check records again, and so counts on, before there is anything to compare.
  step();
  try {
    step();
    FAIL() << "the coefficient is not in the key";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("node 0, a kernel: operand 3 differs"));
  }
}

TEST_F(GpuGraphOfAnOp, WhatCannotBeRecordedRunsByOp) {
  MicroStepGraphs its(config, ctx, store);
  for (int i = 0; i < 4; ++i) {
    its.run(ctx, {}, [&] {
      run_op(5);
      ctx.gpu->synchronize();  // planted: only a graph minds
    });
    EXPECT_EQ(result(), 5);
  }
  EXPECT_EQ(cuda_sim::Simulation::counts().graph_launches, 0);
  its.run(ctx, {.accumulates = true}, [&] { run_op(6); });
  its.run(ctx, {.accumulates = true}, [&] { run_op(6); });
  EXPECT_EQ(result(), 6);
  EXPECT_EQ(cuda_sim::Simulation::counts().graph_launches, 1) << "others are";
}

TEST_F(GpuGraphOfAnOp, RefusesWhatWouldBeDoneAgainAsItWas) {
  const std::int32_t odd[] = {1, 2};
  const GpuStream::Mark before = ctx.gpu->mark();
  run_op(1);
  EXPECT_THAT(error_of([&] { store_values(ctx, counts, odd); }),
              testing::HasSubstr("an upload cannot be part of a graph"));
  EXPECT_THAT(error_of([&] { ctx.gpu->wait_for(before); }),
              testing::HasSubstr("an event that was not recorded with it"));
  EXPECT_THAT(error_of([&] { ctx.gpu->allocate(64); }),
              testing::HasSubstr("an allocation while a stream records"));
  EXPECT_THAT(error_of([&] { result(); }), testing::HasSubstr("while a stream records"));
  EXPECT_THAT(error_of([] { fail("its own error"); }), testing::HasSubstr("its own error"));
  EXPECT_EQ(result(), 1) << "nothing of it was done, and the stream goes on";
}

/// The queue's stream adds 2 to what is there.
class GpuGraphOfTwoStreams : public GpuGraphOfAnOp {
 protected:
  GpuGraphOfTwoStreams() : twos(memory.allocate("twos", DType::f32, {1, 2})) {
    const float values[] = {2, 2};
    store_values(ctx, twos, values);
  }
  void add(Context& its) const { run(its, Add{.y = balance, .x = twos}); }
  void submit() {
    queue.submit([&](Context& its) { add(its); });
  }
  void clear() const {
    const float zeros[] = {0, 0};
    store_values(ctx, balance, zeros);
  }

  Tensor twos;
  StreamQueue queue{ctx.gpu, ctx.gpu->another()};
};

TEST_F(GpuGraphOfTwoStreams, DoesWhatTheQueueDoes) {
  const auto work = [&] {
    run_op(1);
    submit();
    queue.wait_all();
    add(ctx);
  };
  const GpuGraphs::Graph graph = graphs().record(work);
  for (int launch = 0; launch < 3; ++launch) {
    clear();
    graphs().launch(graph, work);
    queue.wait_all();  // adds nothing
    EXPECT_EQ(result(), 5);
  }
}

TEST_F(GpuGraphOfTwoStreams, WaitsForNothingFromBefore) {
  clear();
  submit();
  EXPECT_THAT(error_of([&] { queue.wait_all(); }),  // planted: too late
              testing::HasSubstr("an event that was not recorded with it"));
  queue.wait_all();
  EXPECT_EQ(result(), 2) << "the streams go on";
}

TEST_F(GpuGraphOfTwoStreams, LeavesNothingUnderWay) {
  EXPECT_THAT(error_of([&] { submit(); }),  // planted: nobody waits
              testing::HasSubstr("cudaErrorStreamCaptureUnjoined"));
  clear();
  try {
    queue.wait_all();  // planted: for what will not be done
    FAIL() << "a mark of a recording that has ended";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("of a recording that has ended"));
  }
  queue.forget();
  queue.wait_all();
  EXPECT_EQ(result(), 0);
  submit();
  queue.wait_all();
  EXPECT_EQ(result(), 2);
}

TEST_F(GpuGraphOfTwoStreams, IsMadeByMicroStepsAndGivenUpWhereItCannotBe) {
  Mesh mesh;
  mesh.queue = &queue;
  ParamStore its_store(mesh);
  MicroStepGraphs its(config, ctx, its_store);
  for (const bool waits : {false, true}) {
    for (int i = 0; i < 4; ++i) {
      clear();
      its.run(ctx, {.accumulates = waits}, [&] {
        run_op(1);
        submit();
        if (waits) ctx.gpu->synchronize();  // planted
      });
      queue.wait_all();
      EXPECT_EQ(result(), 3);
    }
    EXPECT_EQ(cuda_sim::Simulation::counts().graph_launches, 3);
  }
}

TEST(GpuGraphsOfRanks, AreGivenUpByAllWhereOneCannotRecord) {
  const cuda_sim::Simulation simulation({.devices = 2});
  std::atomic<int> calls = 0;
  run_ranks(2, [&](Comm& control) {
    RunConfig config;
    Context ctx;
    ctx.device = Device::cuda;
    ctx.gpu = headgate_gpu_module()->open(control.rank());
    Mesh mesh;
    mesh.host = &control;
    ParamStore store(mesh);
    MicroStepGraphs its(config, ctx, store);
    for (int i = 0; i < 3; ++i) {
      its.run(ctx, {}, [&] {
        ++calls;
        if (control.rank() == 1) ctx.gpu->synchronize();  // planted
      });
    }
  });
  EXPECT_EQ(cuda_sim::Simulation::counts().graph_launches, 0);
  EXPECT_EQ(calls, 2 * (3 + 1)) << "once more, to be recorded";
}

TEST_F(GpuGraphOfAnOp, AreNotMoreThanTheGpuShouldKeep) {
  MicroStepGraphs its(config, ctx, store);
  for (int turn = 0; turn < 3; ++turn) {
    for (int documents = 1; documents <= 20; ++documents) {
      its.run(ctx, {.documents = documents}, [&] { run_op(static_cast<float>(documents)); });
      EXPECT_EQ(result(), static_cast<float>(documents));
    }
  }
  EXPECT_EQ(cuda_sim::Simulation::counts().graphs, 16);
  EXPECT_EQ(cuda_sim::Simulation::counts().graph_launches, 2 * 16);
}

TEST_F(GpuGraphOfAnOp, AreAWish) {
  config.training.cuda_graphs = false;
  EXPECT_FALSE(MicroStepGraphs(config, ctx, store));
  config.training.cuda_graphs = true;
  Context cpu;
  EXPECT_FALSE(MicroStepGraphs(config, cpu, store));
}

}  // namespace
}  // namespace hg::test
