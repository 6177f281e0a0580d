#include "dist/world.h"

#include <algorithm>

#include "core/check.h"
#include "dist/host_list.h"

namespace hg {
namespace {

using Source = World::Source;

/// The names under which a launcher says who the process is; null where it does not say.
struct Launcher {
  Source source;
  const char* name;
  const char *rank, *size, *local_rank, *local_size, *node;
};

constexpr Launcher kFlags = {Source::flags,  "the command line", "--rank", "--world-size",
                             "--local-rank", "--local-size",     nullptr};
constexpr Launcher kTorchrun = {Source::torchrun, "torchrun",         "RANK",      "WORLD_SIZE",
                                "LOCAL_RANK",     "LOCAL_WORLD_SIZE", "GROUP_RANK"};
constexpr Launcher kSlurm = {Source::slurm,   "Slurm", "SLURM_PROCID", "SLURM_NTASKS",
                             "SLURM_LOCALID", nullptr, "SLURM_NODEID"};
constexpr Launcher kOpenMpi = {Source::open_mpi,
                               "Open MPI",
                               "OMPI_COMM_WORLD_RANK",
                               "OMPI_COMM_WORLD_SIZE",
                               "OMPI_COMM_WORLD_LOCAL_RANK",
                               "OMPI_COMM_WORLD_LOCAL_SIZE",
                               nullptr};
constexpr Launcher kPmi = {Source::pmi,       "PMI",  "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID",
                           "MPI_LOCALNRANKS", nullptr};

const Launcher* const kLaunchers[] = {&kFlags, &kTorchrun, &kSlurm, &kOpenMpi, &kPmi};

/// Reads variables, and turns what is wrong with them into one sentence.
class Variables {
 public:
  explicit Variables(const EnvironmentLookup& environment) : environment_(environment) {}

  const char* text(const char* name) const { return name ? environment_(name) : nullptr; }

  std::optional<int> number(const char* name) const {
    const char* value = text(name);
    if (value == nullptr) return std::nullopt;
    const auto parsed = parse_count(value);
    HG_CHECK(parsed.has_value(), "{} is '{}', expected a number >= 0", name, value);
    return parsed;
  }

 private:
  const EnvironmentLookup& environment_;
};

bool is_localhost(std::string_view host) {
  return host == "localhost" || host.starts_with("localhost.") || host.starts_with("127.") ||
         host == "::1" || host == "[::1]";
}

/// "host", "host:port" or "[v6]:port"; an address with several colons is a bare IPv6 one.
void set_master(World& world, const std::string& text, const char* name) {
  const std::size_t colon = text.rfind(':');
  const bool has_port =
      colon != text.npos && (text.find(':') == colon || (colon > 0 && text[colon - 1] == ']'));
  world.master_host = has_port ? text.substr(0, colon) : text;
  HG_CHECK(!world.master_host.empty(), "{} is '{}', expected a host", name, text);
  if (!has_port) return;
  const auto port = parse_count(std::string_view(text).substr(colon + 1));
  HG_CHECK(port && 0 < *port && *port < 65536, "{} is '{}', expected a port from 1 to 65535", name,
           text);
  world.master_port = *port;
}

/// The nodes of a Slurm step, in its order; empty where Slurm does not say.
std::vector<std::string> slurm_hosts(const Variables& variables) {
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"}) {
    const char* list = variables.text(name);
    if (list == nullptr) continue;
    auto hosts = expand_hosts(list);
    HG_CHECK(hosts.has_value(), "{} is '{}', expected a list of nodes like 'gpu[01-03,7],big'",
             name, list);
    return *std::move(hosts);
  }
  return {};
}

/// Fills in how a Slurm step's ranks lie on its nodes.
void add_slurm_layout(World& world, const Variables& variables) {
  const std::vector<std::string> hosts = slurm_hosts(variables);
  if (!hosts.empty()) {
    world.master_host = hosts.front();
    world.nodes = static_cast<int>(hosts.size());
  }
  world.node = variables.number("SLURM_NODEID").value_or(0);
  world.local_size = (world.size + world.nodes - 1) / world.nodes;  // unless it says
  if (const char* list = variables.text("SLURM_STEP_TASKS_PER_NODE")) {
    const auto counts = expand_counts(list);
    HG_CHECK(counts && world.node < std::ssize(*counts),
             "SLURM_STEP_TASKS_PER_NODE is '{}', expected a list like '4(x2),3' with node {}", list,
             world.node);
    world.local_size = (*counts)[static_cast<std::size_t>(world.node)];
  } else if (const auto most = variables.number("SLURM_NTASKS_PER_NODE")) {
    world.local_size = std::min(*most, world.size);
  }
  if (hosts.empty())
    world.nodes = std::max((world.size - 1) / std::max(world.local_size, 1), world.node) + 1;
  HG_CHECK(world.node < world.nodes, "SLURM_NODEID is {}, but the node list has {}", world.node,
           world.nodes);
}

/// Fills in how the ranks lie on nodes for the other launchers.
void add_layout(World& world, const Launcher& launcher, const Variables& variables) {
  const auto local_size = variables.number(launcher.local_size);
  HG_CHECK(local_size.has_value() == variables.number(launcher.local_rank).has_value(),
           "{} and {} must be set together", launcher.local_rank, launcher.local_size);
  world.local_size = local_size.value_or(1);
  HG_CHECK(world.local_size <= world.size, "{} is {}, but {} is {}", launcher.local_size,
           world.local_size, launcher.size, world.size);
  const auto node = variables.number(launcher.node);
  world.node = node.value_or((world.rank - world.local_rank) / std::max(world.local_size, 1));
  world.nodes = std::max((world.size - 1) / std::max(world.local_size, 1), world.node) + 1;
}

void add_master(World& world, const Variables& variables, const WorldFlags& flags) {
  const char* name = world.source == Source::slurm ? "SLURM_JOB_NODELIST" : "MASTER_ADDR";
  if (flags.master) {
    name = "--master";
    set_master(world, *flags.master, name);
  } else if (world.source == Source::flags || world.source == Source::torchrun) {
    if (const char* host = variables.text(name)) {
      world.master_host = host;
      HG_CHECK(!world.master_host.empty(), "MASTER_ADDR is empty, expected the host of rank 0");
    }
    if (const auto port = variables.number("MASTER_PORT")) {
      HG_CHECK(0 < *port && *port < 65536, "MASTER_PORT is {}, expected 1 to 65535", *port);
      world.master_port = *port;
    }
  }
  HG_CHECK(
      world.nodes == 1 || !is_localhost(world.master_host),
      "{} is '{}', but the {} ranks lie on {} nodes: expected a name of rank 0's host that the "
      "other nodes know. If all ranks are on this node, say so by {}",
      name, world.master_host, world.size, world.nodes,
      world.source == Source::flags ? kFlags.local_size : kTorchrun.local_size);
}

/// What a launcher says; nothing if it says no rank.
std::optional<World> ask(const Launcher& launcher, const Variables& variables) {
  const auto rank = variables.number(launcher.rank), size = variables.number(launcher.size);
  // WORLD_SIZE or SLURM_NTASKS alone means nothing: the shell of an allocation has them, too.
  if (!rank) return std::nullopt;
  HG_CHECK(size.has_value(), "{} is {}, but {} is not set", launcher.rank, *rank, launcher.size);
  HG_CHECK(*rank < *size, "{} is {}, but {} is {}", launcher.rank, *rank, launcher.size, *size);
  World world;
  world.rank = *rank;
  world.size = *size;
  world.source = launcher.source;
  world.local_rank = variables.number(launcher.local_rank).value_or(0);
  if (launcher.source == Source::slurm) {
    add_slurm_layout(world, variables);
  } else {
    add_layout(world, launcher, variables);
  }
  HG_CHECK(world.local_rank < world.local_size, "{} is {}, but this node has {} ranks",
           launcher.local_rank, world.local_rank, world.local_size);
  return world;
}

/// The flags as variables.
EnvironmentLookup with_flags(const EnvironmentLookup& environment, const WorldFlags& flags) {
  const auto text = [](const std::optional<int>& flag) {
    return flag ? std::to_string(*flag) : std::string();
  };
  return [&environment, rank = text(flags.rank), size = text(flags.size),
          local_rank = text(flags.local_rank),
          local_size = text(flags.local_size)](const char* name) -> const char* {
    const std::string_view asked = name;
    const std::string* flag = asked == kFlags.rank         ? &rank
                              : asked == kFlags.size       ? &size
                              : asked == kFlags.local_rank ? &local_rank
                              : asked == kFlags.local_size ? &local_size
                                                           : nullptr;
    if (flag == nullptr) return environment(name);
    return flag->empty() ? nullptr : flag->c_str();
  };
}

}  // namespace

World find_world(const EnvironmentLookup& environment, const WorldFlags& flags) {
  const EnvironmentLookup all = with_flags(environment, flags);
  const Variables variables(all);
  HG_CHECK(flags.rank || !(flags.size || flags.local_rank || flags.local_size),
           "--world-size, --local-rank and --local-size need --rank");
  World world;
  for (const Launcher* launcher : kLaunchers) {
    auto found = ask(*launcher, variables);
    if (!found) continue;
    if (found->source == Source::slurm) {
      const auto inside = ask(kOpenMpi, variables);
      if (inside && (inside->rank != found->rank || inside->size != found->size)) found = inside;
    }
    world = *found;
    break;
  }
  add_master(world, variables, flags);
  return world;
}

std::vector<std::string> variables_of(World::Source source) {
  std::vector<std::string> names;
  for (const Launcher* launcher : kLaunchers) {
    if (launcher->source != source || source == Source::flags) continue;
    for (const char* name : {launcher->rank, launcher->size, launcher->local_rank,
                             launcher->local_size, launcher->node})
      if (name != nullptr) names.emplace_back(name);
  }
  if (source == Source::slurm)
    for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST",
                             "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"})
      names.emplace_back(name);
  if (source == Source::flags || source == Source::torchrun)
    for (const char* name : {"MASTER_ADDR", "MASTER_PORT"}) names.emplace_back(name);
  return names;
}

std::string World::sentence() const {
  if (source == Source::single) return "one process: no launcher's variables found";
  const auto* launcher =
      *std::ranges::find_if(kLaunchers, [&](const Launcher* l) { return l->source == source; });
  std::string text = fmt::format("rank {} of {}, local rank {} of {} on node {} of {}, by {}", rank,
                                 size, local_rank, local_size, node, nodes, launcher->name);
  if (!master_host.empty()) {
    text += fmt::format("; rank 0 is on {}", master_host);
    if (master_port > 0) text += fmt::format(", port {}", master_port);
  }
  return text;
}

}  // namespace hg
