#include "train/stop_signals.h"

#include <atomic>

namespace hg {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};
/// What StopSignals::ask sends with its signal.
constexpr int kRequest = 0x6867;

// A handler reaches nothing but globals.
std::atomic<int> noted = 0;      // the first
std::atomic<bool> once = false;  // one that was no request has come
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void note(int signal, siginfo_t* info, void*) {
  const bool request = info->si_code == SI_QUEUE && info->si_value.sival_int == kRequest;
  if (!request && once.exchange(true)) {
    // Does what it does by default, as soon as this handler has returned.
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  int none = 0;
  noted.compare_exchange_strong(none, signal);
}

}  // namespace

StopSignals::StopSignals() {
  noted = 0;
  once = false;
  struct sigaction action {};
  action.sa_sigaction = note;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  for (const int signal : kSignals) {
    before_.push_back({signal, {}});
    ::sigaction(signal, &action, &before_.back().action);
  }
}

StopSignals::~StopSignals() {
  for (const Before& before : before_) ::sigaction(before.signal, &before.action, nullptr);
}

int StopSignals::received() const { return noted; }

void StopSignals::ask(pid_t process) {
  sigval value{};
  value.sival_int = kRequest;
  ::sigqueue(process, SIGTERM, value);
}

}  // namespace hg
