#include "dist/rendezvous.h"

#include <arpa/inet.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/check.h"
#include "dist/ranks_words.h"

namespace hg {
namespace {

constexpr int kProtocol = 1;
/// Seconds for a hello, which is a single packet behind a connection.
constexpr double kHelloSeconds = 10;

/// Seconds for the others to hear why the rendezvous ends.
constexpr double kEndSeconds = 2;

/// In front of what rank 0 answers.
constexpr char kText = '+', kError = '-';

Socket::Deadline in_seconds(double seconds) {
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// Each with its length in front.
std::string pack(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    const std::uint32_t bytes = htonl(static_cast<std::uint32_t>(text.size()));
    all.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    all += text;
  }
  return all;
}

std::vector<std::string> unpack(std::string_view all) {
  std::vector<std::string> texts;
  while (!all.empty()) {
    std::uint32_t bytes = 0;
    HG_CHECK(all.size() >= sizeof bytes, "half a length in a message of rank 0");
    std::memcpy(&bytes, all.data(), sizeof bytes);
    all.remove_prefix(sizeof bytes);
    HG_CHECK(all.size() >= ntohl(bytes), "a message of rank 0 is cut off");
    texts.emplace_back(all.substr(0, ntohl(bytes)));
    all.remove_prefix(ntohl(bytes));
  }
  return texts;
}

std::string hello_of(const RendezvousOptions& options) {
  return nlohmann::json{
      {"protocol", kProtocol}, {"size", options.size}, {"rank", options.rank}, {"job", options.job}}
      .dump();
}

/// The rank that says hello; throws if it does not belong here.
int rank_of(const std::string& hello, const RendezvousOptions& options) {
  const auto said = nlohmann::json::parse(hello, nullptr, false);  // discarded if it is none
  HG_CHECK(said.is_object() && said.contains("protocol"), "says '{}' instead of hello", hello);
  HG_CHECK(said["protocol"] == kProtocol, "speaks version {} of the protocol, rank 0 version {}",
           said["protocol"].dump(), kProtocol);
  HG_CHECK(said.contains("rank") && said["rank"].is_number_integer() && said.contains("size") &&
               said["size"].is_number_integer() && said.contains("job") && said["job"].is_string(),
           "says '{}' instead of hello", hello);
  const auto rank = said["rank"].get<std::int64_t>(), size = said["size"].get<std::int64_t>();
  const auto job = said["job"].get<std::string>();
  HG_CHECK(job == options.job, "is rank {} of job '{}', but rank 0 is of job '{}'", rank, job,
           options.job);
  HG_CHECK(size == options.size, "is rank {} of {} ranks, but rank 0 is of {}", rank, size,
           options.size);
  HG_CHECK(0 < rank && rank < size, "says that it is rank {}, expected 1 to {}", rank, size - 1);
  return static_cast<int>(rank);
}

}  // namespace

RendezvousOptions rendezvous_of(const World& world, const EnvironmentLookup& environment) {
  HG_CHECK(world.size == 1 || !world.master_host.empty(),
           "the launcher does not say where rank 0 is: set MASTER_ADDR, and MASTER_PORT");
  RendezvousOptions options;
  options.rank = world.rank;
  options.size = world.size;
  options.host = world.master_host;
  if (world.master_port != 0) options.port = world.master_port;
  const auto value = [&](const char* name) {
    const char* found = environment(name);
    return std::string(found == nullptr ? "" : found);
  };
  if (const std::string job = value("SLURM_JOB_ID"); !job.empty()) {
    options.job = job + "." + value("SLURM_STEP_ID");
  } else {
    options.job = value("TORCHELASTIC_RUN_ID");
  }
  return options;
}

Rendezvous::Rendezvous(const RendezvousOptions& options)
    : Rendezvous(options,
                 options.rank == 0 && options.size > 1 ? Socket::bound(options.port) : Socket()) {}

Rendezvous::Rendezvous(const RendezvousOptions& options, Socket port) : options_(options) {
  HG_CHECK(0 <= options.rank && options.rank < options.size, "a rendezvous of rank {} of {}",
           options.rank, options.size);
  if (options.size == 1) return;
  options.rank == 0 ? receive_ranks(std::move(port)) : join();
}

Socket::Deadline Rendezvous::deadline(double times) const {
  return in_seconds(times * options_.timeout);
}

void Rendezvous::fail_all(const std::string& sentence) {
  std::ranges::move(strangers_, std::back_inserter(members_));
  std::erase_if(members_, [](const Member& member) { return !member.socket; });
  const Socket::Deadline until = in_seconds(kEndSeconds);
  for (Member& member : members_) {
    try {
      member.socket.send_message(kError + sentence, until);
    } catch (const Error&) {
      // It has gone, too.
    }
  }
  for (Member& member : members_) member.socket.finish(until);
  throw Error(sentence);
}

std::string Rendezvous::missing() const {
  std::vector<int> ranks;
  for (int r = 1; r < size(); ++r)
    if (!members_[static_cast<std::size_t>(r)].socket) ranks.push_back(r);
  return ranks.empty() ? "" : ranks_words(ranks);
}

void Rendezvous::receive_ranks(Socket port) {
  members_.resize(static_cast<std::size_t>(size()));
  const Socket::Deadline until = deadline();
  port.listen();
  while (!missing().empty()) {
    std::vector<pollfd> wanted = {{.fd = port.descriptor(), .events = POLLIN, .revents = 0}};
    for (const Member& stranger : strangers_)
      wanted.push_back({.fd = stranger.socket.descriptor(), .events = POLLIN, .revents = 0});
    const int ready = ::poll(wanted.data(), wanted.size(), milliseconds_to(until));
    if (ready < 0 && errno != EINTR) fail_errno(errno, "cannot wait for ranks");
    if (ready == 0) {
      fail_all(fmt::format("{} did not come to rank 0 on port {} within {} s", missing(),
                           port.port(), options_.timeout));
    }
    if (ready < 0) continue;
    for (std::size_t i = strangers_.size(); i-- > 0;) {
      if (wanted[i + 1].revents == 0) continue;
      Member member = std::move(strangers_[i]);
      strangers_.erase(strangers_.begin() + static_cast<std::ptrdiff_t>(i));
      // Whoever only looks whether the port is open does no harm.
      if (!member.socket.ended()) admit(std::move(member), in_seconds(kHelloSeconds));
    }
    if (wanted[0].revents != 0) {
      Member& stranger = strangers_.emplace_back();
      stranger.socket = port.accept(stranger.address);
    }
  }
  strangers_.clear();
  for (int r = 1; r < size(); ++r)
    members_[static_cast<std::size_t>(r)].socket.send_message(std::string(1, kText), deadline());
}

void Rendezvous::admit(Member member, Socket::Deadline its_deadline) {
  std::string problem;
  try {
    const int rank = rank_of(member.socket.receive_message(its_deadline), options_);
    Member& place = members_[static_cast<std::size_t>(rank)];
    if (!place.socket) {
      place = std::move(member);
      return;
    }
    problem = fmt::format("{} and {} both say that they are rank {}", place.address, member.address,
                          rank);
  } catch (const Error& e) {
    problem = fmt::format("{}, which came to rank 0: {}", member.address, e.what());
  }
  strangers_.push_back(std::move(member));  // it gets the sentence, too
  fail_all(problem);
}

void Rendezvous::join() {
  try {
    root_ = Socket::connected(options_.host, options_.port, deadline());
    root_.send_message(hello_of(options_), deadline());
  } catch (const Error& e) {
    fail("rank {} does not get to rank 0: {}", rank(), e.what());
  }
  receive_from_root("the ranks to come together", deadline(2));
}

std::string Rendezvous::receive_from(int rank, std::string_view what, Socket::Deadline until) {
  Member& member = members_[static_cast<std::size_t>(rank)];
  try {
    return member.socket.receive_message(until);
  } catch (const Error& e) {
    member.socket = {};
    fail_all(fmt::format("rank 0 waits for rank {} ({}), for {}: {}", rank, member.address, what,
                         e.what()));
  }
}

std::string Rendezvous::receive_from_root(std::string_view what, Socket::Deadline until) {
  std::string answer;
  try {
    answer = root_.receive_message(until);
    HG_CHECK(!answer.empty(), "it says nothing");
  } catch (const Error& e) {
    fail("rank {} waits for rank 0 ({}:{}), for {}: {}", rank(), options_.host, options_.port, what,
         e.what());
  }
  if (answer[0] == kError) throw Error(answer.substr(1));
  return answer.substr(1);
}

std::vector<std::string> Rendezvous::gather(const std::string& text, std::string_view what) {
  if (size() == 1) return {text};
  if (rank() != 0) {
    try {
      root_.send_message(text, deadline());
    } catch (const Error&) {
      // Rank 0 may have said why before it ended the connection.
    }
    return unpack(receive_from_root(what, deadline(2)));  // rank 0 may come late, and wait itself
  }
  const Socket::Deadline until = deadline();
  std::vector<std::string> texts = {text};
  for (int r = 1; r < size(); ++r) texts.push_back(receive_from(r, what, until));
  const std::string all = kText + pack(texts);
  for (int r = 1; r < size(); ++r) {
    try {
      members_[static_cast<std::size_t>(r)].socket.send_message(all, deadline());
    } catch (const Error& e) {
      fail_all(fmt::format("rank {} has gone, for {}: {}", r, what, e.what()));
    }
  }
  return texts;
}

}  // namespace hg
