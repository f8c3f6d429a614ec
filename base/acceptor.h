// Acceptor: takes connections off a listening socket, a bounded number a round. Where the process has
// no descriptors or memory left the socket stays readable for ever: it is then left alone for a second,
// instead of turning the loop round and round. The descriptor stays the caller's and must outlive this.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>

#include "base/fd.h"
#include "base/loop.h"

namespace base {

class Acceptor {
 public:
  using Taken = std::function<void(UniqueFd connection, const sockaddr_storage& from)>;
  // Makes the listener non-blocking. `flags` are accept4(2)'s for what it takes, beside SOCK_CLOEXEC.
  // `taken` may destroy the Acceptor.
  Acceptor(Loop& loop, int listener, int flags, Taken taken);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace base
