#include "dist/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "core/check.h"

namespace hg {
namespace {

using namespace std::chrono_literals;

/// In front of every message: this, and the length.
constexpr std::uint32_t kMagic = 0x68676d31;  // "hgm1"

std::string words_of(int error) { return std::generic_category().message(error); }

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// Empty with the reason in `problem`.
Addresses addresses_of(const std::string& host, int port, std::string& problem) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) problem = ::gai_strerror(code);
  return {code == 0 ? found : nullptr, &::freeaddrinfo};
}

/// The other end: "10.0.0.3:40112".
std::string name_of(const sockaddr_storage& address, socklen_t size) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  const int code =
      ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(),
                    port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV);
  if (code != 0) return "an unknown address";
  std::string_view name = host.data();
  if (name.starts_with("::ffff:")) name.remove_prefix(7);  // IPv4 that came through IPv6
  return fmt::format("{}:{}", name, port.data());
}

int new_socket(int family) { return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0); }

/// Small messages are on their way at once.
void send_at_once(int descriptor) {
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/// One attempt, with what became of it.
Socket attempt(const addrinfo& address, Socket::Deadline deadline, std::string& problem) {
  Socket socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) {
    problem = words_of(errno);
    return {};
  }
  int error = ::connect(socket.descriptor(), address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd wanted{.fd = socket.descriptor(), .events = POLLOUT, .revents = 0};
    const int ready = ::poll(&wanted, 1, std::min(milliseconds_to(deadline), 5000));
    socklen_t size = sizeof error;
    if (ready <= 0) {
      error = ETIMEDOUT;
    } else {
      ::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
  }
  if (error == 0) return socket;
  problem = words_of(error);
  return {};
}

}  // namespace

int milliseconds_to(Socket::Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30));
}

Socket::~Socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Socket::Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Socket Socket::bound(int port) {
  const int on = 1, off = 0;
  sockaddr_in6 any6{};
  any6.sin6_family = AF_INET6;
  any6.sin6_port = htons(static_cast<std::uint16_t>(port));
  Socket socket(new_socket(AF_INET6));
  if (socket) {
    ::setsockopt(socket.descriptor_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    ::setsockopt(socket.descriptor_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(socket.descriptor_, reinterpret_cast<sockaddr*>(&any6), sizeof any6) == 0)
      return socket;
    if (errno != EADDRNOTAVAIL) fail_errno(errno, fmt::format("cannot take port {}", port));
  }
  sockaddr_in any4{};  // a machine without IPv6
  any4.sin_family = AF_INET;
  any4.sin_port = htons(static_cast<std::uint16_t>(port));
  socket = Socket(new_socket(AF_INET));
  if (socket) ::setsockopt(socket.descriptor_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!socket || ::bind(socket.descriptor_, reinterpret_cast<sockaddr*>(&any4), sizeof any4) != 0)
    fail_errno(errno, fmt::format("cannot take port {}", port));
  return socket;
}

int Socket::port() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail_errno(errno, "a socket does not know its port");
  // The port is at the same place for both families.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

void Socket::listen() {
  if (::listen(descriptor_, SOMAXCONN) != 0)
    fail_errno(errno, fmt::format("cannot listen on port {}", port()));
}

Socket Socket::accept(std::string& address) {
  sockaddr_storage its{};
  socklen_t size = sizeof its;
  Socket socket(::accept4(descriptor_, reinterpret_cast<sockaddr*>(&its), &size, SOCK_CLOEXEC));
  if (!socket) fail_errno(errno, fmt::format("cannot accept a connection on port {}", port()));
  send_at_once(socket.descriptor_);
  address = name_of(its, size);
  return socket;
}

Socket Socket::connected(const std::string& host, int port, Deadline deadline) {
  const Clock::time_point start = Clock::now();
  std::string problem;
  for (auto pause = 20ms;; pause = std::min<std::chrono::milliseconds>(2 * pause, 2s)) {
    const Addresses addresses = addresses_of(host, port, problem);
    for (const addrinfo* address = addresses.get(); address != nullptr;
         address = address->ai_next) {
      Socket socket = attempt(*address, deadline, problem);
      if (!socket) continue;
      send_at_once(socket.descriptor_);
      return socket;
    }
    if (Clock::now() + pause >= deadline) {
      fail("cannot reach {}:{}, tried for {:.0f} s: {}", host, port, seconds_since(start), problem);
    }
    std::this_thread::sleep_for(pause);
  }
}

void Socket::wait_for(short events, Deadline deadline) const {
  pollfd wanted{.fd = descriptor_, .events = events, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&wanted, 1, milliseconds_to(deadline));
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) fail_errno(errno, "cannot wait for a connection");
  HG_CHECK(ready > 0, "nothing comes");
}

void Socket::transfer(bool sending, char* data, std::size_t bytes, Deadline deadline) {
  while (bytes > 0) {
    const ssize_t moved = sending ? ::send(descriptor_, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT)
                                  : ::recv(descriptor_, data, bytes, MSG_DONTWAIT);
    if (moved > 0) {
      data += moved;
      bytes -= static_cast<std::size_t>(moved);
    } else if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      wait_for(sending ? POLLOUT : POLLIN, deadline);
    } else if (moved == 0 || errno == ECONNRESET || errno == EPIPE) {
      fail("the connection has ended");
    } else if (errno != EINTR) {
      fail_errno(errno, "the connection is broken");
    }
  }
}

void Socket::finish(Deadline deadline) {
  ::shutdown(descriptor_, SHUT_WR);
  // Closing with something unread would throw away what the other end has not read yet.
  std::array<char, 4096> rest{};
  try {
    while (true) transfer(false, rest.data(), rest.size(), deadline);
  } catch (const Error&) {
    // The end, in one way or another.
  }
}

bool Socket::ended() const {
  char byte = 0;
  return ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void Socket::send_message(const std::string& text, Deadline deadline) {
  HG_CHECK(text.size() <= kLongest, "a message of {} bytes, expected at most {}", text.size(),
           kLongest);
  const std::uint32_t header[] = {htonl(kMagic), htonl(static_cast<std::uint32_t>(text.size()))};
  std::string all(sizeof header, '\0');
  std::memcpy(all.data(), header, sizeof header);
  all += text;
  transfer(true, all.data(), all.size(), deadline);
}

std::string Socket::receive_message(Deadline deadline) {
  std::uint32_t header[2];
  transfer(false, reinterpret_cast<char*>(header), sizeof header, deadline);
  const std::uint32_t bytes = ntohl(header[1]);
  HG_CHECK(ntohl(header[0]) == kMagic && bytes <= kLongest,
           "what comes is not a message of headgate: it begins with {:08x} {:08x}",
           ntohl(header[0]), bytes);
  std::string text(bytes, '\0');
  transfer(false, text.data(), text.size(), deadline);
  return text;
}

}  // namespace hg
