#include "train/stop_signals.h"

namespace hg {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

// A handler reaches nothing but a global.
volatile std::sig_atomic_t noted = 0;

void note(int signal) {
  // The second does what it does by default; also if both had come before either was handled.
  for (const int other : kSignals) std::signal(other, SIG_DFL);
  if (noted != 0) std::raise(signal);
  noted = signal;
}

}  // namespace

StopSignals::StopSignals() {
  noted = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  for (const int signal : kSignals) {
    before_.push_back({signal, {}});
    ::sigaction(signal, &action, &before_.back().action);
  }
}

StopSignals::~StopSignals() {
  for (const Before& before : before_) ::sigaction(before.signal, &before.action, nullptr);
}

int StopSignals::received() const { return noted; }

}  // namespace hg
