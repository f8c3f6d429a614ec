// seccomp notify: who answers a container's system calls is a process behind linux.seccomp.listenerPath,
// which gets the listener and the container process state (config-linux.md, "Container Process State").
#pragma once

#include <sys/types.h>

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace runtime {

// The profile hands calls to a listener (SCMP_ACT_NOTIFY); listenerPath alone says nothing.
bool has_listener(const base::json::value& profile);
// One connection, one message. `fd` stays the caller's.
base::Status send_listener(const base::json::value& profile, const std::string& state, pid_t pid, int fd);

// One message with one fd on a connection of its own.
base::Status send_fd(const std::string& path, const std::string& text, int fd, const char* what);

}  // namespace runtime
