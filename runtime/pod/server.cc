#include "runtime/pod/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

constexpr size_t kMaxClients = 64;

// Never waits: the socket is handed over while it connects, and keeps this network namespace.
base::Result<base::UniqueFd> connect_loopback(int64_t port, int64_t family) {
  if (port < 1 || port > 65535)
    return base::make_error(Kind::kInvalid, "connect to port", std::to_string(port));
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  v4.sin_port = v6.sin6_port = htons(static_cast<uint16_t>(port));
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  v6.sin6_addr = in6addr_loopback;
  bool six = family == 6;
  base::UniqueFd fd(::socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return sys::last_error("socket", "TCP");
  auto* address = six ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  if (::connect(fd.get(), address, six ? sizeof v6 : sizeof v4) != 0 && errno != EINPROGRESS)
    return sys::last_error("connect to port", std::to_string(port));
  return fd;
}

}  // namespace

PodServer::PodServer(base::Loop& loop, std::string id, std::string run_dir)
    : loop_(loop), id_(std::move(id)), run_dir_(std::move(run_dir)) {}

base::Status PodServer::run(base::UniqueFd connection) {
  // What a container without a pid namespace of its own leaves behind comes to us.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  signal_watch_ = TRY(loop_.on_signals({SIGCHLD, SIGTERM}, [this](int signal) {
    if (signal == SIGCHLD) return reap();
    if (created_) base::ignore(shutdown(), "clean_dead_pod finishes it");
    loop_.stop();
  }));
  add_client(std::move(connection));
  loop_.run();
  return {};
}

// ---- clients ---------------------------------------------------------------------------------

void PodServer::add_client(base::UniqueFd socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != 0) return;
  if (clients_.size() >= kMaxClients) return;
  ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  uint64_t id = next_client_++;
  int fd = socket.get();
  Client& client = clients_[id];
  client.socket = std::move(socket);
  client.watch = loop_.watch(fd, EPOLLIN, [this, id](uint32_t) { read_client(id); });
  for (const auto& [name, container] : containers_)
    if (container->state.phase == Phase::kExited)
      send(id, {{"event", "exit"}, {"state", protocol::encode(container->state)}});
}
void PodServer::drop_client(uint64_t id) {
  clients_.erase(id);
  run_exit_command();
  // Nobody ever asked for a Pod: there is none to hold.
  if (!created_ && clients_.empty()) loop_.stop();
}
void PodServer::send(uint64_t id, const Body& body, const Fds& fds) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return;
  std::vector<int> numbers;
  for (const base::UniqueFd& fd : fds) numbers.push_back(fd.get());
  // A client that does not read is let go rather than waited for; it can connect again.
  if (!protocol::send(it->second.socket.get(), body, numbers).ok())
    loop_.post([this, id] { drop_client(id); });
}
void PodServer::read_client(uint64_t id) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return;
  auto packet = protocol::receive(it->second.socket.get());
  if (!packet.ok() && packet.error().errno_value == EAGAIN) return;
  if (!packet.ok() || packet->body.is_null()) return drop_client(id);
  std::string op(base::string_at(packet->body, "op"));
  Body reply;
  Fds fds;
  base::Status status = answer(id, op, *packet, reply, fds);
  if (!status.ok()) {
    reply = Body{{"error", protocol::encode(status.error())}};
    fds.clear();
  }
  reply["seq"] = base::as_int(base::find(packet->body, "seq"));
  send(id, reply, fds);
  if ((op == "shutdown" && status.ok()) || (op == "create" && !status.ok() && !created_)) loop_.stop();
}

base::Status PodServer::answer(uint64_t client, const std::string& op, protocol::Packet& packet, Body& reply,
                               Fds& fds) {
  const json::value& body = packet.body;
  std::string name(base::string_at(body, "container"));
  if (op == "create") {
    if (created_) return base::make_error(Kind::kExists, "create Pod", id_);
    const json::value* spec = base::find(body, "spec");
    TRY(create(protocol::decode_sandbox(spec ? *spec : json::value())));
    return sandbox(reply, fds);
  }
  if (!created_) return base::make_error(Kind::kInvalid, "ask Pod to " + op, id_, "it is not created yet");
  if (op == "sandbox") return sandbox(reply, fds);
  if (op == "start") {
    const json::value* container = base::find(body, "container");
    ContainerSpec spec = TRY(protocol::decode_container(container ? *container : json::value()));
    std::string id = spec.id;
    reply["state"] = protocol::encode(TRY(start(std::move(spec))));
    // Before anything of it is read: the loop comes later.
    if (base::as_bool(base::find(body, "attach"))) return attach(id, Pod::SlowReader::kIsAwaited, reply, fds);
    return {};
  }
  if (op == "list") {
    json::array list;
    for (const auto& [id, container] : containers_) list.push_back(protocol::encode(container->state));
    reply["containers"] = std::move(list);
    return {};
  }
  if (op == "signal") {
    PodContainer* container = TRY(find(name));
    if (container->state.phase != Phase::kRunning)
      return base::make_error(Kind::kNotFound, "signal container", name, "it has exited");
    return sys::pidfd_send_signal(container->pidfd.get(),
                                  static_cast<int>(base::as_int(base::find(body, "signal"))));
  }
  if (op == "signal-exec") {
    auto it = execs_.find(std::string(base::string_at(body, "exec")));
    if (it == execs_.end())
      return base::make_error(Kind::kNotFound, "signal exec", std::string(base::string_at(body, "exec")));
    return sys::pidfd_send_signal(it->second.pidfd.get(),
                                  static_cast<int>(base::as_int(base::find(body, "signal"))));
  }
  if (op == "remove") return remove(name);
  if (op == "stats") {
    PodContainer* container = TRY(find(name));
    CgroupUsage usage = cgroup_usage(*layout_, container->cgroup);
    reply = Body{{"cpu_ns", usage.cpu_ns},
                 {"memory_bytes", usage.memory_bytes},
                 {"memory_working_set_bytes", usage.memory_working_set_bytes},
                 {"pids", usage.pids}};
    return {};
  }
  if (op == "exec") return exec(client, packet, reply, fds);
  if (op == "attach") {
    bool awaited = base::as_bool(base::find(body, "awaited"));
    return attach(name, awaited ? Pod::SlowReader::kIsAwaited : Pod::SlowReader::kLoses, reply, fds);
  }
  if (op == "pause") return pause(name, base::as_bool(base::find(body, "paused")));
  if (op == "connect") {
    fds.push_back(TRY(connect_loopback(base::as_int(base::find(body, "port")),
                                       base::as_int(base::find(body, "family"), 4))));
    return {};
  }
  if (op == "shutdown") return shutdown();
  return base::make_error(Kind::kUnsupported, "ask Pod", op, "unknown request");
}

base::Status PodServer::attach(const std::string& name, Pod::SlowReader slow, Body& reply, Fds& fds) {
  PodContainer* container = TRY(find(name));
  if (container->state.phase != Phase::kRunning)
    return base::make_error(Kind::kNotFound, "attach to container", name, "it has exited");
  Pod::Attached ends = TRY(container->attach(slow));
  json::array has;
  auto give = [&](const char* what, base::UniqueFd& fd) {
    if (!fd.valid()) return;
    has.push_back(json::value(what));
    fds.push_back(std::move(fd));
  };
  give("in", ends.in);
  give("out", ends.out);
  give("err", ends.err);
  give("terminal", ends.terminal);
  reply["has"] = std::move(has);
  return {};
}

}  // namespace runtime
