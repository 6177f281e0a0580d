// NCCL's communicator: what it does on a simulated machine, and what the real module says where
// there is no GPU.
#include "dist/comm_nccl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <set>
#include <thread>

#include "dist/collective_checks.h"
#include "dist/comm_self.h"
#include "dist/rendezvous.h"
#include "dist/values.h"
#include "support/nccl_ranks.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

class NcclCollectives : public testing::TestWithParam<std::tuple<int, CollectiveCheck>> {};

TEST_P(NcclCollectives, DoWhatTheySay) {
  const auto& [ranks, check] = GetParam();
  run_devices(ranks, {.devices = ranks}, [&its_check = check](Comm& control) {
    const Stream stream;
    StagedComm comm(simulated_world(control, stream), stream);
    its_check.run(comm);
  });
}

INSTANTIATE_TEST_SUITE_P(Comm, NcclCollectives,
                         testing::Combine(testing::Values(1, 2, 4, 8),
                                          testing::ValuesIn(collective_checks())),
                         [](const auto& one) {
                           return fmt::format("nccl{}_{}", std::get<0>(one.param),
                                              std::get<1>(one.param).name);
                         });

TEST(CommNccl, SumsAsThreadsDoButInAnotherOrder) {
  int different = 0;
  run_devices(4, {.devices = 4}, [&](Comm& control) {
    const Stream stream;
    StagedComm comm(simulated_world(control, stream), stream);
    const auto own = [&](std::int64_t i) { return std::sin(double(i + 100 * comm.rank())); };
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Values sums(dtype, {1001}, own), expected(dtype, {1001}, own);
      const double tolerance = dtype == DType::f32 ? 1e-6 : 0.05;
      comm.all_reduce(sums, Reduce::sum);
      control.all_reduce(expected, Reduce::sum);
      for (std::int64_t i = 0; i < 1001; ++i) {
        HG_CHECK(std::abs(sums.get(i) - expected.get(i)) <= tolerance, "{} is not {}", sums.get(i),
                 expected.get(i));
        if (comm.rank() == 0) different += sums.get(i) != expected.get(i) ? 1 : 0;
      }
    }
  });
  EXPECT_GT(different, 0);
}

TEST(CommNccl, AMaximumLeavesNanOut) {
  run_devices(3, {.devices = 3}, [](Comm& control) {
    const Stream stream;
    StagedComm comm(simulated_world(control, stream), stream);
    const Values x(DType::f32, {2}, [&](std::int64_t i) {
      return i == 1 || comm.rank() == 1 ? std::nan("") : comm.rank();
    });
    comm.all_reduce(x, Reduce::max);
    HG_CHECK(x.get(0) == 2 && std::isnan(x.get(1)), "{} and {}", x.get(0), x.get(1));
  });
}

/// What every rank that throws says.
std::set<std::string> sentences(int ranks, const cuda_sim::Options& options,
                                const std::function<void(Comm& control, cudaStream_t)>& fn) {
  std::mutex mutex;
  std::set<std::string> all;
  run_devices(ranks, options, [&](Comm& control) {
    const Stream stream;
    try {
      fn(control, stream);
    } catch (const Error& e) {
      const std::scoped_lock lock(mutex);
      all.insert(e.what());
    }
  });
  return all;
}

/// Ranks that do not do the same thing; the sentence must name both.
struct Mistake {
  const char* name;
  std::function<void(Comm&, const Tensor& x)> run;  // x: 64 numbers on the device
  const char* words;
};

void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.name; }

class NcclMistakes : public testing::TestWithParam<Mistake> {};

TEST_P(NcclMistakes, AreNamed) {
  const auto all =
      sentences(4, {.devices = 4, .nccl_timeout = 1.5}, [](Comm& control, cudaStream_t stream) {
        const auto world = simulated_world(control, stream);
        const DeviceMemory memory(256);
        GetParam().run(*world, Tensor(memory.data(), DType::f32, {64}));
        world->barrier();
      });
  EXPECT_THAT(all, testing::Contains(HasSubstr(GetParam().words)));
}

INSTANTIATE_TEST_SUITE_P(
    Comm, NcclMistakes,
    testing::ValuesIn(std::vector<Mistake>{
        {"counts",
         [](Comm& c, const Tensor& x) {
           c.all_reduce(x.rows(0, c.rank() == 2 ? 5 : 4), Reduce::sum);
         },
         "rank 0 calls AllReduce of 4 float32, rank 2 calls AllReduce of 5 float32"},
        {"types",
         [](Comm& c, const Tensor& x) {
           c.broadcast(Tensor(x.data(), c.rank() == 1 ? DType::i32 : DType::f32, {4}), 0);
         },
         "rank 0 calls Broadcast of 4 float32, from 0, rank 1 calls Broadcast of 4 int32"},
        {"order",
         [](Comm& c, const Tensor& x) {
           if (c.rank() == 3) c.all_gather(x, x.rows(48, 64));
           c.all_reduce(x, Reduce::max);
           if (c.rank() != 3) c.all_gather(x, x.rows(16 * c.rank(), 16 * c.rank() + 16));
         },
         "rank 0 calls AllReduce of 64 float32, max, rank 3 calls AllGather of 16 float32"},
        {"a_rank_that_never_comes",
         [](Comm& c, const Tensor& x) {
           if (c.rank() == 2) fail("no luck");
           c.all_reduce(x, Reduce::sum);
           c.barrier();
         },
         "no luck"},
        {"messages",
         [](Comm& c, const Tensor& x) {
           if (c.rank() == 0) c.send(x.rows(0, 4), 1);
           if (c.rank() == 1) c.receive(x.rows(0, 5), 0);
         },
         "rank 0 calls Send of 4 float32 to rank 1, which calls Recv of 5 float32"},
        {"host_memory",
         [](Comm& c, const Tensor&) {
           float numbers[4] = {};
           c.all_reduce(Tensor(numbers, DType::f32, {4}), Reduce::sum);
         },
         "NCCL, all_reduce of world: invalid argument: AllReduce of 4 float32: the memory is not "
         "on the device"},
        {"past_the_end",
         [](Comm& c, const Tensor& x) {
           c.all_reduce(Tensor(x.data(), DType::f32, {65}), Reduce::sum);
         },
         "260 bytes from byte 0 of an allocation go beyond its end, which has 256"},
    }),
    [](const auto& instance) { return instance.param.name; });

TEST(CommNccl, NamesARankThatIsMissingInACollective) {
  run_devices(4, {.devices = 4, .nccl_timeout = 1.5}, [](Comm& control) {
    const Stream stream;
    const auto world = simulated_world(control, stream);
    if (world->rank() != 2) {  // which is there, but does not take part
      try {
        world->barrier();
        ADD_FAILURE() << "a barrier without rank 2";
      } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr("NCCL, barrier of world: unhandled system error: rank"));
        EXPECT_THAT(e.what(), HasSubstr("waits in AllReduce of 1 int32 for rank 2, which did not "
                                        "come within 1.5 s"));
      }
    }
    control.barrier();
  });
}

TEST(CommNccl, NamesTheRankThatCannotTakePart) {
  const auto world_on = [](Comm& control, cudaStream_t stream, int device) {
    nccl_world(*headgate_nccl_api(), peers_over(control), {.device = device, .stream = stream});
  };
  EXPECT_THAT(sentences(3, {.devices = 3},
                        [&](Comm& control, cudaStream_t stream) {
                          world_on(control, stream, control.rank() == 1 ? 7 : control.rank());
                        }),
              testing::ElementsAre("rank 1: there is no CUDA device 7, but 3 of them here"));
  EXPECT_THAT(sentences(3, {.devices = 3},
                        [&](Comm& control, cudaStream_t stream) { world_on(control, stream, 1); }),
              testing::Each(testing::AllOf(HasSubstr("NCCL, connecting the ranks: invalid usage"),
                                           HasSubstr("both on CUDA device 1"))));
  EXPECT_THAT(sentences(2, {.devices = 2, .nccl_version = 21805},
                        [&](Comm& control, cudaStream_t stream) {
                          world_on(control, stream, control.rank());
                        }),
              testing::ElementsAre(
                  HasSubstr("ranks 0, 1: NCCL is 2.18.5 here, but headgate was built with 2.")));
}

TEST(CommNccl, FindsItsRanksWithNcclsOwnBootstrap) {
  ::setenv("NCCL_COMM_ID", "10.0.0.1:4000", 1);
  run_devices(2, {.devices = 2}, [](Comm& control) {
    const Stream stream;
    const auto world = nccl_world(*headgate_nccl_api(),
                                  {.rank = control.rank(),
                                   .size = control.size(),
                                   .gather = nullptr,
                                   .abort = nullptr,
                                   .side_channel = nullptr},
                                  {.device = control.rank(), .stream = stream});
    world->barrier();
  });
  ::unsetenv("NCCL_COMM_ID");
}

TEST(CommNccl, FindsItsRanksOverTcp) {
  Socket port = Socket::bound(0);
  const int number = port.port();
  run_devices(3, {.devices = 3}, [&](Comm& control) {
    RendezvousOptions options;
    options.rank = control.rank();
    options.size = control.size();
    options.host = "localhost";
    options.port = number;
    Rendezvous rendezvous =
        control.rank() == 0 ? Rendezvous(options, std::move(port)) : Rendezvous(options);
    const Stream stream;
    StagedComm world(nccl_world(*headgate_nccl_api(), peers_over(rendezvous),
                                {.device = control.rank(), .stream = stream}),
                     stream);
    EXPECT_EQ(world.side_channel(), nullptr);
    const Values x(DType::i32, {1}, [](std::int64_t) { return 1; });
    world.all_reduce(x, Reduce::sum);
    HG_CHECK(x.get(0) == 3, "{} ranks", x.get(0));
  });
}

TEST(CommNccl, AnInterruptEndsWaiting) {
  const auto all = sentences(2, {.devices = 2}, [](Comm& control, cudaStream_t stream) {
    const auto world = simulated_world(control, stream);
    const auto part = world->split(0, 0, "part");
    control.barrier();
    if (control.rank() == 1) return control.barrier();  // and not the world's
    std::jthread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      world->interrupt("enough");
    });
    try {
      world->barrier();
    } catch (const CommAborted& e) {
      EXPECT_STREQ(e.what(), "enough");
      EXPECT_THROW(part->barrier(), CommAborted);
    }
    control.barrier();
  });
  EXPECT_EQ(all.size(), 0U);
}

TEST(CommNccl, AnAbortReachesTheRanksThatItIsOver) {
  run_devices(3, {.devices = 3}, [](Comm& control) {
    const Stream stream;
    const auto world = simulated_world(control, stream);
    control.barrier();  // all have one
    try {
      if (control.rank() == 1) {
        world->abort("rank 1 has had enough");
        control.barrier();
      } else {
        world->barrier();
      }
      ADD_FAILURE() << "an abort was not noticed";
    } catch (const CommAborted& e) {
      EXPECT_STREQ(e.what(), "rank 1 has had enough");
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("remote process exited"));
    }
  });
}

TEST(CommNccl, TheRealModuleLoadsAndMissesADevice) {
  const NcclApi& api = load_nccl();
  EXPECT_GT(api.built_with, 20000);
  int devices = 0;
  if (api.device_count(&devices) == 0 && devices > 0) GTEST_SKIP() << "this machine has a GPU";
  const auto control = alone();
  try {
    nccl_world(api, peers_over(*control), {.device = 0, .stream = nullptr});
    ADD_FAILURE() << "found a device";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("rank 0: NCCL needs a GPU, and CUDA finds none: "));
  }
}

}  // namespace
}  // namespace hg::test
