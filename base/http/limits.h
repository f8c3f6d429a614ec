// What the peers of a server may hold of it, by address and in all: connections on which nobody is known
// yet, and the bytes of unanswered requests. Memory that a burst took goes back to the system when it is
// over. Internal to base/http*.cc. Loop thread only.
#pragma once

#include <sys/socket.h>

#include <map>
#include <memory>
#include <string>

#include "base/http/server.h"

namespace base::http {

class ServerConnection;
struct Limits;

struct AddressUse {
  size_t strangers = 0, known_bytes = 0, stranger_bytes = 0;
};

// One connection's place. Leaves the strangers with known(), or with its end.
class Standing {
 public:
  Standing() = default;  // no address: nothing is counted
  Standing(std::shared_ptr<Limits> limits, const sockaddr_storage& address);
  Standing(Standing&& other) noexcept { *this = std::move(other); }
  Standing& operator=(Standing&& other) noexcept;
  ~Standing() { end(); }
  void is(std::weak_ptr<ServerConnection> connection);  // whom to close when strangers are too many
  void known();
  bool is_known() const { return known_; }
  // False where this request has to be the last of its connection: strangers get so many.
  bool count_request();

 private:
  friend class Charge;
  void leave();
  void end();
  std::shared_ptr<Limits> limits_;
  std::shared_ptr<AddressUse> use_;
  uint64_t id_ = 0;  // 0: not among the strangers
  bool known_ = false;
  int requests_ = 0;
};

// Bytes held for one request.
class Charge {
 public:
  Charge() = default;
  Charge(Charge&& other) noexcept { *this = std::move(other); }
  Charge& operator=(Charge&& other) noexcept;
  ~Charge() { release(); }
  bool grow(const Standing& standing, size_t bytes);  // false: more than is left, and nothing is added
  void take(Charge other);                            // adds what the other holds
  void known();
  void release();
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Limits> limits_;
  std::shared_ptr<AddressUse> use_;
  size_t bytes_ = 0;
  bool known_ = false;
};

struct Limits : std::enable_shared_from_this<Limits> {
  Limits(Loop& loop, const Server::Options& options) : loop(loop), options(options) {}
  struct Stranger {
    std::weak_ptr<ServerConnection> connection;
    std::shared_ptr<AddressUse> use;
    Loop::Steady since;
  };
  // Makes room for one stranger more from this address; false: it must go at once.
  bool make_room(const sockaddr_storage& address);
  std::shared_ptr<AddressUse> use_of(const sockaddr_storage& address);
  void fell();  // bytes were given back

  Loop& loop;
  const Server::Options options;
  bool ended = false;  // the server is gone: exchanges may outlive it
  std::map<std::string, std::weak_ptr<AddressUse>> addresses;
  std::map<uint64_t, Stranger> strangers;  // the oldest first
  uint64_t next = 1;
  size_t bytes = 0, peak = 0;
  size_t gone = 0;  // connections since memory was last given back
  Loop::Handle trim;
};

}  // namespace base::http
