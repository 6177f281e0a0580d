// Signals that ask a run to end, each in a process of its own.
#include "train/stop_signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace hg::test {
namespace {

using testing::ExitedWithCode;
using testing::KilledBySignal;

TEST(StopSignals, TheSecondEndsTheProcess) {
  const auto twice = [](int first, int second) {
    const StopSignals signals;
    std::raise(first);
    if (signals.received() != first) std::_Exit(1);
    std::raise(second);
    std::_Exit(2);
  };
  EXPECT_EXIT(twice(SIGTERM, SIGTERM), KilledBySignal(SIGTERM), "");
  EXPECT_EXIT(twice(SIGINT, SIGTERM), KilledBySignal(SIGTERM), "");
  EXPECT_EXIT(twice(SIGUSR1, SIGINT), KilledBySignal(SIGINT), "");
}

TEST(StopSignals, ARequestIsNoSecondSignal) {
  const auto signalled_and_asked = [] {
    const StopSignals signals;
    std::raise(SIGUSR1);
    StopSignals::ask(::getpid());
    StopSignals::ask(::getpid());
    std::_Exit(signals.received() == SIGUSR1 ? 7 : 1);
  };
  EXPECT_EXIT(signalled_and_asked(), ExitedWithCode(7), "");
  const auto asked_and_signalled = [] {
    const StopSignals signals;
    StopSignals::ask(::getpid());
    if (signals.received() != SIGTERM) std::_Exit(1);
    std::raise(SIGTERM);
    std::_Exit(7);
  };
  EXPECT_EXIT(asked_and_signalled(), ExitedWithCode(7), "");
}

}  // namespace
}  // namespace hg::test
