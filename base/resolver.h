// Resolver: addresses of host names for event loops, by libc in one thread of its own, which is
// started by the first name and waits for the next. Answers are kept for half a minute.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"

namespace base {

class Resolver {
 public:
  explicit Resolver(Loop& loop);
  // No callback after it. It does not wait for the thread: libc may take a minute for a name.
  ~Resolver();
  // `done` is called once on the loop, at once for an address and for what is known: an address that
  // parse_address() takes, or why there is none. At most 64 names wait; more are refused.
  using Done = std::function<void(Result<std::string> address)>;
  void resolve(const std::string& host, Done done);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace base
