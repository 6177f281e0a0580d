// One rank of a test under mpirun: ranks MODE FOLDER. Rank 1 is the one that misbehaves.
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "core/log.h"
#include "dist/collective_checks.h"
#include "dist/comm_queue.h"
#include "dist/connect.h"
#include "dist/watchdog.h"

namespace hg {
namespace {

constexpr double kTimeout = 2;

void all_collectives(Comm& world) {
  const auto again = world.split(0, -world.rank(), "again");  // another order of the same ranks
  for (const test::CollectiveCheck& check : test::collective_checks()) check.run(world);
  for (const test::CollectiveCheck& check : test::host_checks()) {
    check.run(world);
    check.run(*again);
  }
  ThreadQueue queue(world);
  const auto background = world.split(0, world.rank(), "background");
  std::vector<float> sums(100000, 1.0F);
  const Tensor x(sums.data(), DType::f32, {100000});
  for (int i = 0; i < 20; ++i) {
    const auto ticket =
        queue.submit([&](Context&) { background->all_reduce(x, Reduce::sum, "background"); });
    test::collective_checks().front().run(world);
    queue.wait(ticket);
  }
  HG_CHECK(sums.back() == std::pow(static_cast<float>(world.size()), 20.0F), "a sum is {}",
           sums.back());
  world.barrier("the end");
}

void misbehave(const std::string& mode, Comm& world) {
  std::vector<float> values(1000);
  const Tensor x(values.data(), DType::f32, {1000});
  world.all_reduce(x, Reduce::sum, "layers.0 gradients");
  if (mode == "throw_in_queue") {  // with a reduction under way that nobody else takes part in
    ThreadQueue queue(world);
    const auto group = world.split(0, 0, "background");
    if (world.rank() == 1) {
      queue.submit([&](Context&) { group->all_reduce(x, Reduce::sum, "layers.0 gradients"); });
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      fail("no luck");
    }
    return world.barrier("layers.1 norm");
  }
  if (world.rank() == 1) {
    if (mode == "throw") fail("no luck");
    if (mode == "kill") std::raise(SIGKILL);
    if (mode == "stop") std::raise(SIGSTOP);
    if (mode == "sleep") std::this_thread::sleep_for(std::chrono::seconds(60));
    if (mode == "exit") std::_Exit(3);
  }
  world.all_reduce(x, Reduce::sum, "layers.1 gradients");
}

void run(const std::string& mode, Comm& world, const World& found) {
  agree(world, {.size = found.size,
                .build = "test",
                .config = mode == "differ" && world.rank() == 1 ? "b" : "a"});
  mode == "collectives" ? all_collectives(world) : misbehave(mode, world);
}

int rank_main(const std::string& mode, const std::string& folder) {
  const World found = find_world(std::getenv);
  const auto world = connect(found);
  Watchdog watchdog(*world, {.timeout = mode == "collectives" ? 60 : kTimeout,
                             .grace = 3,
                             .records = folder,
                             .report = [](const std::string& sentence) { log_error(sentence); }});
  try {
    run(mode, *world, found);
  } catch (const CommAborted& e) {
    watchdog.fail(e.what());  // the cause has been reported
  } catch (const std::exception& e) {
    const std::string sentence = fmt::format("rank {}: {}", world->rank(), e.what());
    log_error(sentence);
    watchdog.fail(sentence);
  }
  if (world->rank() == 0) log_info("all is well");
  return 0;
}

}  // namespace
}  // namespace hg

int main(int argc, char** argv) {
  hg::init_logging();
  try {
    HG_CHECK(argc == 3, "usage: {} MODE FOLDER", argv[0]);
    return hg::rank_main(argv[1], argv[2]);
  } catch (const std::exception& e) {
    hg::log_error(e.what());
    return 1;
  }
}
