// What a kubelet and a sampan-pod say to each other: JSON packets on a root-only SOCK_SEQPACKET
// unix socket, fds beside them (SCM_RIGHTS). A body over 32 KiB travels as a sealed memfd, which is
// then the first fd, and the packet is "@".
//
// request  {"seq": 7, "op": OP, …}            reply  {"seq": 7, …} or {"seq": 7, "error": {…}}
//   create      spec (SandboxSpec)             pid; fds: netns if its own, netlink
//   sandbox                                    pid; fds: netns if its own, netlink
//   start       container (ContainerSpec)      state (ContainerState)
//   signal      container, signal
//   remove      container
//   list                                       containers [ContainerState]
//   stats       container                      cpu_ns, memory_bytes, memory_working_set_bytes, pids
//   exec        container, process, terminal,  exec; fd: pty master with terminal
//               stdio [bool, bool, bool]; fds: those that are true, in order
//   signal-exec exec, signal
//   attach      container                      has ["in", "out", "err", "terminal"]; fds in that order
//   connect     port, family (4 or 6)          fd: a TCP socket on its way to the Pod's loopback
//   shutdown
// event    {"event": "exit", "state": ContainerState}; sent to every client, and for all that have
//          exited and are not removed when one connects
//          {"event": "exec-exit", "exec": ID, "code": N}; to the client that started it
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "base/result.h"
#include "runtime/runtime.h"

namespace runtime::protocol {

struct Packet {
  base::json::value body;  // null: the peer closed
  std::vector<base::UniqueFd> fds;
};
base::Status send(int socket, const base::json::object& body, std::span<const int> fds = {});
base::Result<Packet> receive(int socket);

base::json::object encode(const base::Error& error);
base::Error decode_error(const base::json::value& value);
base::json::object encode(const ContainerState& state);
ContainerState decode_state(const base::json::value& value);
base::json::object encode(const ContainerSpec& spec);
base::Result<ContainerSpec> decode_container(const base::json::value& value);
base::json::object encode(const SandboxSpec& spec);
SandboxSpec decode_sandbox(const base::json::value& value);

// "<run_dir>/<id>.sock" and "<run_dir>/<id>.json" (what a dead sampan-pod leaves to clean).
std::string socket_path(const std::string& run_dir, const std::string& id);
std::string record_path(const std::string& run_dir, const std::string& id);
// A listening (or connected) socket; the path may be longer than sun_path.
base::Result<base::UniqueFd> listen(const std::string& run_dir, const std::string& id);
base::Result<base::UniqueFd> connect(const std::string& run_dir, const std::string& id);
base::Status check_id(const std::string& id);  // [a-zA-Z0-9_.-], not empty, at most 128

}  // namespace runtime::protocol
