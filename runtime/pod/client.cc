// The client's side of a sampan-pod: the Pod class of runtime.h. Never waits: every answer is a
// callback on the loop's thread.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <unordered_map>

#include "base/json_limits.h"
#include "base/process.h"
#include "base/sys.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/pod/protocol.h"
#include "runtime/runtime.h"

namespace runtime {

void Pod::pause(const std::string& container, bool, Done done) {
  done(base::make_error(base::Kind::kUnsupported, "pause container", container));
}
void Pod::start_attached(ContainerSpec spec, std::function<void(base::Result<Started>)> done) {
  done(base::make_error(base::Kind::kUnsupported, "start attached container", spec.id));
}

namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

class PodClient : public Pod {
 public:
  using Reply = std::function<void(base::Result<protocol::Packet>)>;

  PodClient(base::Loop& loop, std::string id, base::UniqueFd socket)
      : loop_(loop), id_(std::move(id)), socket_(std::move(socket)) {
    ::fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
    watch_ = loop_.watch(socket_.get(), EPOLLIN, [this](uint32_t) { read(); });
  }
  ~PodClient() override { *alive_ = false; }

  const std::string& id() const override { return id_; }

  void request(const char* op, json::object body, std::span<const int> fds, Reply reply) {
    uint64_t seq = next_++;
    body["seq"] = seq;
    body["op"] = op;
    if (!socket_.valid()) return later(std::move(reply), lost(op));
    if (auto sent = protocol::send(socket_.get(), body, fds); !sent.ok())
      return later(std::move(reply), base::wrap(sent.error(), std::string("ask sampan-pod to ") + op, id_));
    waiting_.emplace(seq, std::move(reply));
  }

  void sandbox(std::function<void(base::Result<Sandbox>)> done) override {
    request("sandbox", {}, {}, [done](base::Result<protocol::Packet> packet) {
      if (!packet.ok()) return done(packet.error());
      done(take_sandbox(*packet));
    });
  }
  static Sandbox take_sandbox(protocol::Packet& packet) {
    Sandbox out;
    out.pid = static_cast<pid_t>(base::as_int(base::find(packet.body, "pid")));
    size_t next = 0;
    if (base::as_bool(base::find(packet.body, "netns")) && next < packet.fds.size())
      out.netns = std::move(packet.fds[next++]);
    if (next < packet.fds.size()) out.netlink = std::move(packet.fds[next++]);
    return out;
  }
  void start(ContainerSpec spec, std::function<void(base::Result<ContainerState>)> done) override {
    request("start", {{"container", protocol::encode(spec)}}, {},
            [done](base::Result<protocol::Packet> packet) {
              if (!packet.ok()) return done(packet.error());
              const json::value* state = base::find(packet->body, "state");
              done(protocol::decode_state(state ? *state : json::value()));
            });
  }
  void start_attached(ContainerSpec spec, std::function<void(base::Result<Started>)> done) override {
    request("start", {{"container", protocol::encode(spec)}, {"attach", true}}, {},
            [done](base::Result<protocol::Packet> packet) {
              if (!packet.ok()) return done(packet.error());
              const json::value* state = base::find(packet->body, "state");
              done(Started{protocol::decode_state(state ? *state : json::value()), take_attached(*packet)});
            });
  }
  void simple(const char* op, json::object body, Done done) {
    request(op, std::move(body), {}, [done](base::Result<protocol::Packet> packet) {
      done(packet.ok() ? base::Status{} : base::Status{packet.error()});
    });
  }
  void signal(const std::string& container, int signal, Done done) override {
    simple("signal", {{"container", container}, {"signal", signal}}, std::move(done));
  }
  void pause(const std::string& container, bool paused, Done done) override {
    simple("pause", {{"container", container}, {"paused", paused}}, std::move(done));
  }
  void remove(const std::string& container, Done done) override {
    simple("remove", {{"container", container}}, std::move(done));
  }
  void list(std::function<void(base::Result<std::vector<ContainerState>>)> done) override {
    request("list", {}, {}, [done](base::Result<protocol::Packet> packet) {
      if (!packet.ok()) return done(packet.error());
      std::vector<ContainerState> out;
      if (const json::value* list = base::find(packet->body, "containers"); list && list->is_array())
        for (const json::value& state : list->get_array()) out.push_back(protocol::decode_state(state));
      done(std::move(out));
    });
  }
  void stats(const std::string& container, std::function<void(base::Result<Stats>)> done) override {
    request("stats", {{"container", container}}, {}, [done](base::Result<protocol::Packet> packet) {
      if (!packet.ok()) return done(packet.error());
      auto number = [&](const char* key) {
        return static_cast<uint64_t>(base::as_int(base::find(packet->body, key)));
      };
      done(Stats{number("cpu_ns"), number("memory_bytes"), number("memory_working_set_bytes"),
                 number("pids")});
    });
  }
  void exec(Exec exec, std::function<void(base::Result<ExecStarted>)> started,
            std::function<void(int)> exited) override {
    std::vector<int> fds;
    json::array stdio;
    for (int fd : {exec.stdin_fd, exec.stdout_fd, exec.stderr_fd}) {
      bool given = fd >= 0 && !exec.terminal;
      stdio.push_back(given);
      if (given) fds.push_back(fd);
    }
    json::object body{{"container", exec.container},
                      {"process", std::move(exec.process)},
                      {"terminal", exec.terminal},
                      {"stdio", std::move(stdio)}};
    request("exec", std::move(body), fds, [this, started, exited](base::Result<protocol::Packet> packet) {
      if (!packet.ok()) return started(packet.error());
      ExecStarted out;
      out.exec_id = base::string_at(packet->body, "exec");
      if (!packet->fds.empty()) out.terminal = std::move(packet->fds[0]);
      // The packet that tells of its exit is read after this one.
      execs_[out.exec_id] = exited;
      started(std::move(out));
    });
  }
  void signal_exec(const std::string& exec_id, int signal, Done done) override {
    simple("signal-exec", {{"exec", exec_id}, {"signal", signal}}, std::move(done));
  }
  static Attached take_attached(protocol::Packet& packet) {
    Attached out;
    size_t next = 0;
    if (const json::value* has = base::find(packet.body, "has"); has && has->is_array())
      for (const json::value& name : has->get_array()) {
        if (next >= packet.fds.size()) break;
        std::string_view what = base::as_string(&name);
        base::UniqueFd fd = std::move(packet.fds[next++]);
        if (what == "in") out.in = std::move(fd);
        if (what == "out") out.out = std::move(fd);
        if (what == "err") out.err = std::move(fd);
        if (what == "terminal") out.terminal = std::move(fd);
      }
    return out;
  }
  void attach(const std::string& container, SlowReader slow,
              std::function<void(base::Result<Attached>)> done) override {
    request("attach", {{"container", container}, {"awaited", slow == SlowReader::kIsAwaited}}, {},
            [done](base::Result<protocol::Packet> packet) {
              if (!packet.ok()) return done(packet.error());
              done(take_attached(*packet));
            });
  }
  void connect(uint16_t port, std::function<void(base::Result<base::UniqueFd>)> done) override {
    connect(port, 4, [this, alive = alive_, port, done](base::Result<base::UniqueFd> four) {
      if (four.ok() || four.error().errno_value != ECONNREFUSED || !*alive) return done(std::move(four));
      auto refused = std::make_shared<base::Error>(four.error());
      connect(port, 6, [refused, done](base::Result<base::UniqueFd> six) {
        if (six.ok()) done(std::move(six));
        else done(*refused);  // what most servers listen on says more
      });
    });
  }
  void shutdown(Done done) override { simple("shutdown", {}, std::move(done)); }

 private:
  base::Error lost(std::string_view op) const {
    return base::make_error(Kind::kUnavailable, fmt::format("ask sampan-pod to {}", op), id_,
                            "the Pod is gone", "every process of it is dead: start it again");
  }
  void connect(uint16_t port, int family, std::function<void(base::Result<base::UniqueFd>)> done) {
    request("connect", {{"port", port}, {"family", family}}, {},
            [this, port, done](base::Result<protocol::Packet> packet) {
              if (!packet.ok()) return done(packet.error());
              if (packet->fds.empty())
                return done(base::make_error(base::Kind::kInternal, "connect to port", std::to_string(port),
                                             "sampan-pod sent no socket"));
              await_connected(std::move(packet->fds[0]), port, done);
            });
  }
  // The socket came while it was connecting.
  void await_connected(base::UniqueFd fd, uint16_t port,
                       std::function<void(base::Result<base::UniqueFd>)> done) {
    struct Connecting {
      base::UniqueFd fd;
      base::Loop::Handle watch, timer;
    };
    auto connecting = std::make_shared<Connecting>();
    connecting->fd = std::move(fd);
    // The closures own `connecting` until one of them ends it by cancelling both.
    auto finish = [connecting, done, port](int error) {
      auto keep = connecting;
      keep->watch.cancel();
      keep->timer.cancel();
      if (error == 0) return done(std::move(keep->fd));
      base::Error failed = base::sys::error_from_errno(error, "connect to port", std::to_string(port),
                                                       "does a container of the Pod listen there?");
      failed.kind = error == ETIMEDOUT ? base::Kind::kTimeout : base::Kind::kUnavailable;
      done(std::move(failed));
    };
    connecting->watch = loop_.watch(connecting->fd.get(), EPOLLOUT, [connecting, finish](uint32_t) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(connecting->fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      auto call = finish;
      call(error);
    });
    connecting->timer = loop_.after(std::chrono::seconds(10), [finish] {
      auto call = finish;
      call(ETIMEDOUT);
    });
  }
  void later(Reply reply, base::Error error) {
    loop_.post([reply = std::move(reply), error = std::move(error)] { reply(error); });
  }
  void read() {
    auto alive = alive_;
    // A bounded number of packets, so that others get their turn.
    for (int i = 0; i < 64 && *alive && socket_.valid(); ++i) {
      auto packet = protocol::receive(socket_.get());
      if (!packet.ok() && packet.error().errno_value == EAGAIN) return;
      if (!packet.ok() || packet->body.is_null()) return closed();
      handle(std::move(*packet), alive);
    }
  }
  void handle(protocol::Packet packet, const std::shared_ptr<bool>&) {
    std::string_view event = base::string_at(packet.body, "event");
    if (event == "exit") {
      const json::value* state = base::find(packet.body, "state");
      auto call = on_exit;
      if (call && state) call(protocol::decode_state(*state));
      return;
    }
    if (event == "exec-exit") {
      auto it = execs_.find(std::string(base::string_at(packet.body, "exec")));
      if (it == execs_.end()) return;
      auto exited = std::move(it->second);
      execs_.erase(it);
      if (exited) exited(static_cast<int>(base::as_int(base::find(packet.body, "code"))));
      return;
    }
    auto it = waiting_.find(static_cast<uint64_t>(base::as_int(base::find(packet.body, "seq"), 0)));
    if (it == waiting_.end()) return;
    Reply reply = std::move(it->second);
    waiting_.erase(it);
    if (const json::value* error = base::find(packet.body, "error")) reply(protocol::decode_error(*error));
    else reply(std::move(packet));
  }
  void closed() {
    auto alive = alive_;
    watch_.cancel();
    socket_.reset();
    auto waiting = std::move(waiting_);
    waiting_.clear();
    auto execs = std::move(execs_);
    execs_.clear();
    auto lost_call = on_lost;
    base::Error error = lost("answer");
    for (auto& [seq, reply] : waiting) reply(error);
    for (auto& [id, exited] : execs)
      if (exited) exited(137);
    if (*alive && lost_call) lost_call();
  }

  base::Loop& loop_;
  std::string id_;
  base::UniqueFd socket_;
  base::Loop::Handle watch_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, Reply> waiting_;
  std::unordered_map<std::string, std::function<void(int)>> execs_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Reaps sampan-pods that were started by this process, whenever they end; their Pod objects may be
// long gone.
void reap_when_dead(base::Loop& loop, base::Child child) {
  struct Entry {
    base::Child child;
    base::Loop::Handle watch;
  };
  // Never destroyed: at exit the loop may be gone before it.
  static auto* entries = new std::unordered_map<pid_t, Entry>();
  pid_t pid = child.pid;
  int fd = child.pidfd.get();
  Entry& entry = (*entries)[pid];
  entry.child = std::move(child);
  entry.watch = loop.watch(fd, EPOLLIN, [pid](uint32_t) {
    ::waitpid(pid, nullptr, WNOHANG);
    entries->erase(pid);
  });
}

}  // namespace

void start_pod(base::Loop& loop, SandboxSpec spec,
               std::function<void(base::Result<std::unique_ptr<Pod>>)> done) {
  auto fail = [&](base::Error error) {
    loop.post([done, error = base::wrap(std::move(error), "start sampan-pod", spec.id)] { done(error); });
  };
  if (auto good = protocol::check_id(spec.id); !good.ok()) return fail(good.error());
  auto sockets = sys::socketpair(SOCK_SEQPACKET);
  if (!sockets.ok()) return fail(sockets.error());
  base::Command command;
  command.argv = {spec.pod_program, "--id", spec.id, "--run-dir", spec.run_dir, "--connection", "3"};
  command.extra_fds = {{sockets->write.get(), 3}};
  command.new_session = true;
  auto child = base::spawn(command);
  if (!child.ok()) return fail(child.error());
  sockets->write.reset();
  reap_when_dead(loop, std::move(*child));
  auto holder = std::make_shared<std::unique_ptr<PodClient>>(
      std::make_unique<PodClient>(loop, spec.id, std::move(sockets->read)));
  PodClient* client = holder->get();
  std::string id = spec.id;
  client->request("create", {{"spec", protocol::encode(spec)}}, {},
                  [holder, done, id, &loop](base::Result<protocol::Packet> packet) {
                    if (packet.ok()) return done(std::unique_ptr<Pod>(std::move(*holder)));
                    // The client is on the stack above us: let it go later.
                    loop.post([holder] { holder->reset(); });
                    done(base::wrap(packet.error(), "start sampan-pod", id));
                  });
}

base::Result<std::unique_ptr<Pod>> connect_pod(base::Loop& loop, const std::string& run_dir,
                                               const std::string& id) {
  TRY(protocol::check_id(id));
  base::UniqueFd socket = TRY(protocol::connect(run_dir, id));
  return std::unique_ptr<Pod>(std::make_unique<PodClient>(loop, id, std::move(socket)));
}

base::Result<std::vector<std::string>> list_pods(const std::string& run_dir) {
  std::vector<std::string> out;
  auto names = sys::list_dir(run_dir);
  if (!names.ok()) {
    if (names.error().kind == Kind::kNotFound) return out;
    return names.error();
  }
  for (const std::string& name : *names) {
    // The record is written before anything else exists, the socket last.
    size_t suffix = name.ends_with(".sock") || name.ends_with(".json") ? 5 : 0;
    if (suffix) out.push_back(name.substr(0, name.size() - suffix));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

base::Status clean_dead_pod(const std::string& run_dir, const std::string& id) {
  TRY(protocol::check_id(id));
  if (protocol::connect(run_dir, id).ok())
    return base::make_error(Kind::kConflict, "clean Pod", id, "it is alive", "shut it down");
  auto text = sys::read_file(protocol::record_path(run_dir, id));
  if (text.ok()) {
    json::value record =
        TRY_WRAP(base::parse_json_carrier(*text), "read", protocol::record_path(run_dir, id));
    std::string cgroup(base::string_at(record, "cgroup"));
    std::vector<std::string> cgroups;
    if (const json::value* list = base::find(record, "containers"); list && list->is_array())
      for (const json::value& container : list->get_array()) {
        cgroups.emplace_back(base::string_at(container, "cgroup"));
      }
    const CgroupLayout* layout = TRY(cgroup_layout());
    for (const std::string& path : cgroups)
      if (!path.empty()) TRY(remove_cgroup(*layout, path));
    if (!cgroup.empty()) TRY(remove_cgroup(*layout, cgroup));
    // Container roots are mounted in the containers' own mount namespaces, which died with them.
    if (const json::value* list = base::find(record, "containers"); list && list->is_array())
      for (const json::value& container : list->get_array())
        if (std::string work(base::string_at(container, "work_dir")); !work.empty())
          TRY(sys::remove_all(work));
  } else if (text.error().kind != Kind::kNotFound) {
    return text.error();
  }
  for (const std::string& path : {protocol::socket_path(run_dir, id), protocol::record_path(run_dir, id)})
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", path);
  return {};
}

}  // namespace runtime
