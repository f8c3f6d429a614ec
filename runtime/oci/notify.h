// NOTIFY_SOCKET: a container that says by sd_notify(3) that it is ready says it to a socket of ours, and we
// to the service manager that started us: as runc. Ours lies in the container's state directory, which is
// bound into the container.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/spec/config.h"

namespace runtime {

inline std::string notify_directory(const std::string& state_directory) {
  return state_directory + "/notify";
}
constexpr const char* kNotifyName = "/notify.sock";

// $NOTIFY_SOCKET of our own; "": nobody is to be told.
std::string notify_host();
// The mount and the variable. `directory`: the host's, made by then.
void add_notify(Config& config, const std::string& directory);

class NotifySocket {
 public:
  // Invalid without a host, or without `directory`: the container was made without one.
  static base::Result<NotifySocket> listen(const std::string& directory);
  int fd() const { return socket_.get(); }
  // Takes one message; true when it says READY, which is passed on, with `main_pid` as who is to be watched.
  // Blocks until the manager has read it, 10 s at most.
  base::Result<bool> take(pid_t main_pid);
  // Until the container is ready, or its process has ended.
  base::Status wait(int pidfd, pid_t main_pid);

 private:
  base::UniqueFd socket_;
};

}  // namespace runtime
