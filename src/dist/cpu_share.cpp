#include "dist/cpu_share.h"

#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "dist/gather_text.h"

namespace hg {

std::vector<int> usable_cpus() {
  // The kernel refuses a set that is too small for all processors that the machine could have.
  for (int room = CPU_SETSIZE; room <= (1 << 20); room *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(
        CPU_ALLOC(static_cast<std::size_t>(room)), [](cpu_set_t* s) { CPU_FREE(s); });
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(room));
    if (::sched_getaffinity(0, bytes, set.get()) != 0) continue;
    std::vector<int> cpus;
    for (int cpu = 0; cpu < room; ++cpu)
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, set.get())) cpus.push_back(cpu);
    return cpus;
  }
  fail_errno(errno, "cannot ask for the processors of this process");
}

std::string host_name() {
  utsname system{};
  if (::uname(&system) != 0) fail_errno(errno, "cannot ask for the system's name");
  return system.nodename;
}

std::string ranges_of(std::span<const int> ascending) {
  std::string text;
  for (std::size_t begin = 0, end = 0; begin < ascending.size(); begin = end) {
    for (end = begin + 1; end < ascending.size() && ascending[end] == ascending[end - 1] + 1;)
      ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", ascending[begin]);
    if (end - begin > 1) text += fmt::format("-{}", ascending[end - 1]);
  }
  return text;
}

int fair_threads(std::span<const std::vector<int>> cpus_of_ranks, std::size_t rank) {
  double share = 1e-9;  // so that three thirds are 1
  for (const int cpu : cpus_of_ranks[rank]) {
    share += 1.0 / static_cast<double>(
                       std::ranges::count_if(cpus_of_ranks, [cpu](const std::vector<int>& cpus) {
                         return std::ranges::binary_search(cpus, cpu);
                       }));
  }
  return std::max(1, static_cast<int>(share));
}

int fair_threads(Comm& world) {
  const std::string host = host_name();
  const std::vector<int> own = usable_cpus();
  const std::string_view bytes(reinterpret_cast<const char*>(own.data()),
                               own.size() * sizeof own[0]);
  std::vector<std::vector<int>> of_node;
  std::size_t place = 0;
  const auto texts = gather_text(world, fmt::format("{}\n{}", host, bytes), "processors");
  for (std::size_t r = 0; r < texts.size(); ++r) {
    const std::string_view text = texts[r];
    const std::size_t line = text.find('\n');
    if (text.substr(0, line) != host) continue;
    if (r == static_cast<std::size_t>(world.rank())) place = of_node.size();
    auto& cpus = of_node.emplace_back((text.size() - line - 1) / sizeof own[0]);
    text.copy(reinterpret_cast<char*>(cpus.data()), cpus.size() * sizeof own[0], line + 1);
  }
  return fair_threads(of_node, place);
}

}  // namespace hg
