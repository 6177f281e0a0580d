// Places of ranks, and the groups that they form.
#include "dist/mesh.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "dist/run_ranks.h"

namespace hg::test {
namespace {

constexpr MeshShape kShape{.pipeline = 2, .data = 2, .context = 2, .tensor = 2, .expert = 4};

TEST(Mesh, EveryRankHasAPlaceOfItsOwn) {
  std::set<std::array<int, 4>> places;
  for (int rank = 0; rank < kShape.size(); ++rank) {
    const Mesh mesh = Mesh::place(kShape, rank);
    EXPECT_EQ(mesh.world.rank, rank);
    EXPECT_EQ(mesh.stage.size, 8);
    EXPECT_EQ(mesh.replicas.size, 4);
    EXPECT_EQ(mesh.expert_data.size, 2);
    places.insert({mesh.pipeline.rank, mesh.data.rank, mesh.context.rank, mesh.tensor.rank});
  }
  EXPECT_EQ(places.size(), 16U);
  EXPECT_EQ(Mesh::place(kShape, 1).tensor.rank, 1);  // neighbours
  EXPECT_EQ(Mesh::place(kShape, 2).context.rank, 1);
  EXPECT_EQ(Mesh::place(kShape, 2).context_back.rank, 0);
  EXPECT_EQ(Mesh::place(kShape, 4).data.rank, 1);
  EXPECT_EQ(Mesh::place(kShape, 8).pipeline.rank, 1);
}

TEST(Mesh, SaysItsShapeInWords) {
  EXPECT_EQ(kShape.to_string(), "pipeline 2 x data 2 x context 2 x tensor 2 (expert 4)");
  EXPECT_EQ((MeshShape{.data = 4}).to_string(), "data 4 x tensor 1");
}

/// Each group has the ranks whose other places are this rank's, in the order of their own.
TEST(Mesh, GroupsAreOfTheRanksAlongAnAxis) {
  run_ranks(kShape.size(), [](Comm& world) {
    const MeshComms comms(world, kShape);
    const Mesh& mesh = comms.mesh();
    const auto check = [&](Group Mesh::*axis, const char* name) {
      const Group& group = mesh.*axis;
      HG_CHECK(group.comm != nullptr && group.comm->size() == group.size, "{} has no ranks", name);
      for (int i = 0; i < group.size; ++i) {
        const Mesh other = Mesh::place(kShape, group.comm->members()[static_cast<std::size_t>(i)]);
        HG_CHECK((other.*axis).rank == i, "{}: rank {} is not at its place", name, i);
        int same = 0;  // of the four axes
        for (Group Mesh::*place : {&Mesh::pipeline, &Mesh::data, &Mesh::context, &Mesh::tensor})
          same += (other.*place).rank == (mesh.*place).rank ? 1 : 0;
        HG_CHECK(same == (i == group.rank ? 4 : 3), "{}: rank {} differs elsewhere", name, i);
      }
    };
    check(&Mesh::pipeline, "pipeline");
    check(&Mesh::data, "data");
    check(&Mesh::context, "context");
    check(&Mesh::tensor, "tensor");
    const auto stage_of = [](int rank) { return Mesh::place(kShape, rank).pipeline.rank; };
    for (const Group* group : {&mesh.stage, &mesh.replicas, &mesh.expert, &mesh.expert_data}) {
      for (const int rank : group->comm->members())
        HG_CHECK(stage_of(rank) == mesh.pipeline.rank, "rank {} is on another stage", rank);
    }
  });
}

TEST(Mesh, WaitingIsWhatARankSpendsInCallsForOthers) {
  run_ranks(2, [](Comm& world) {
    const MeshComms comms(world, {.data = 2});
    const double before = comms.mesh().waiting_seconds();
    if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    comms.mesh().data.comm->barrier();
    const double waited = comms.mesh().waiting_seconds() - before;
    // That rank 1 begins to sleep before rank 0 begins to wait is likely, not certain.
    if (world.rank() == 0) HG_CHECK(waited > 0.005, "waited {} s", waited);
  });
}

}  // namespace
}  // namespace hg::test
