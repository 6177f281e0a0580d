// TCP with deadlines, and messages with their length in front.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/clock.h"

namespace hg {

/// A connection, or a port that others connect to. Closed with the object.
class Socket {
 public:
  using Deadline = Clock::time_point;

  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;

  explicit operator bool() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

  /// Takes a port of all of this machine's addresses; 0: one that is free. Connections are refused
  /// until `listen`.
  static Socket bound(int port);
  int port() const;
  void listen();
  /// The next connection, with the address it comes from.
  Socket accept(std::string& address);

  /// A connection to `host`, tried again and again until the deadline; then throws what the last
  /// attempt said.
  static Socket connected(const std::string& host, int port, Deadline deadline);

  /// Both throw at the deadline, and if the other end closes the connection.
  void send_message(const std::string& text, Deadline deadline);
  std::string receive_message(Deadline deadline);
  /// Ends the connection so that what was sent arrives: waits until the other end has closed it,
  /// too, or until the deadline.
  void finish(Deadline deadline);
  /// Whether the other end has closed the connection, and nothing is left to receive.
  bool ended() const;
  /// Longer messages are refused: whoever sends one does not speak this protocol.
  static constexpr std::uint32_t kLongest = 64U << 20;

 private:
  void wait_for(short events, Deadline deadline) const;
  void transfer(bool sending, char* data, std::size_t bytes, Deadline deadline);

  int descriptor_ = -1;
};

/// Milliseconds to a deadline, as poll() takes them; 0 if it has passed.
int milliseconds_to(Socket::Deadline deadline);

}  // namespace hg
