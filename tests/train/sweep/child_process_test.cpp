// Programs that never outlive the one that started them.
#include "train/sweep/child_process.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "support/temp_folder.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

int wait_for(ChildProcess& child) {
  while (!child.poll()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return *child.poll();
}

TEST(ChildProcess, SaysHowItEndedAndWhatItWrote) {
  const TempFolder folder;
  for (const char* word : {"one", "two"}) {
    ChildProcess child({"sh", "-c", std::string("echo ") + word + "; exit 3"}, folder / "log");
    const int status = wait_for(child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    EXPECT_EQ(child.output(), std::string(word) + "\n") << "its own words, behind earlier ones";
  }
  ChildProcess none({"no-such-program"}, folder / "log");
  EXPECT_EQ(WEXITSTATUS(wait_for(none)), 127);
  EXPECT_THAT(none.output(), HasSubstr("cannot start no-such-program: ENOENT"));
}

TEST(ChildProcess, EndsWhenAsked) {
  const TempFolder folder;
  ChildProcess child({"sleep", "100"}, folder / "log");
  child.terminate();
  EXPECT_EQ(WTERMSIG(wait_for(child)), SIGTERM);
}

TEST(ChildProcess, LocksItsLog) {
  const TempFolder folder;
  ChildProcess child({"sleep", "100"}, folder / "log");
  bool prepared = false;
  EXPECT_THAT(
      error_of([&] { ChildProcess other({"true"}, folder / "log", [&] { prepared = true; }); }),
      HasSubstr("is locked: another process runs this already"));
  EXPECT_FALSE(prepared);
  child.kill();
  ChildProcess other({"true"}, folder / "log");
  EXPECT_EQ(wait_for(other), 0);
}

TEST(ChildProcess, DiesWithTheProcessThatStartedIt) {
  const TempFolder folder;
  const pid_t parent = ::fork();
  if (parent == 0) {
    const ChildProcess child({"sh", "-c", "echo $$; exec sleep 100"}, folder / "log");
    while (child.output().empty()) ::usleep(1000);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(parent, &status, 0), parent);
  ASSERT_EQ(WTERMSIG(status), SIGKILL);
  // The lock is free once the child is gone.
  ChildProcess next({"true"}, folder / "log");
  EXPECT_EQ(wait_for(next), 0);
}

}  // namespace
}  // namespace hg::test
