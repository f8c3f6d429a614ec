// sampan-pod: holds one Pod's namespaces and cgroup, launches and reaps its containers, writes
// their logs and answers its clients. Single-threaded. What it makes is written into its record
// before it is made, so that clean_dead_pod finds it all.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/acceptor.h"
#include "base/loop.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/pod/container.h"
#include "runtime/pod/protocol.h"

namespace runtime {

class PodServer {
 public:
  PodServer(base::Loop& loop, std::string id, std::string run_dir);
  // The first client: the one that started us; its first request is `create`.
  base::Status run(base::UniqueFd connection);

 private:
  static constexpr uint64_t kMaker = 1;  // the first client
  struct Client {
    base::UniqueFd socket;
    base::Loop::Handle watch;
  };
  struct ExecProcess {
    std::string id, container;
    pid_t pid = 0;
    uint64_t client = 0;
    base::UniqueFd pidfd;
  };
  using Body = base::json::object;
  using Fds = std::vector<base::UniqueFd>;

  void add_client(base::UniqueFd socket);
  void read_client(uint64_t id);
  void drop_client(uint64_t id);
  void send(uint64_t client, const Body& body, const Fds& fds = {});
  base::Status answer(uint64_t client, const std::string& op, protocol::Packet& packet, Body& reply,
                      Fds& fds);

  base::Status create(const SandboxSpec& spec);
  base::Status make_namespaces();
  base::Status sandbox(Body& reply, Fds& fds);
  base::Result<ContainerState> start(ContainerSpec spec);
  base::Status start_in(PodContainer& container);
  base::Status exec(uint64_t client, protocol::Packet& packet, Body& reply, Fds& fds);
  base::Status attach(const std::string& name, Pod::SlowReader slow, Body& reply, Fds& fds);
  base::Status remove(const std::string& id);
  base::Status shutdown();
  base::Status end_all();
  base::Result<PodContainer*> find(const std::string& id);
  base::Status pause(const std::string& id, bool paused);
  void run_exit_command();
  base::Status write_record();
  void reap();
  void exited(PodContainer& container, int status);
  bool any_runs() const;

  base::Loop& loop_;
  std::string id_, run_dir_;
  SandboxSpec spec_;
  const CgroupLayout* layout_ = nullptr;
  bool created_ = false;
  base::UniqueFd listener_, netns_, netlink_;
  base::UniqueFd host_netns_;  // with exit_command only
  bool exit_command_due_ = false;
  bool ending_ = false;  // in shutdown(): nobody has to be told to clear up
  base::Loop::Handle signal_watch_;
  std::optional<base::Acceptor> acceptor_;
  pid_t pause_pid_ = 0;  // init of the shared pid namespace
  uint64_t next_client_ = 1, next_exec_ = 1;
  std::map<uint64_t, Client> clients_;
  std::map<std::string, std::unique_ptr<PodContainer>> containers_;
  std::map<std::string, ExecProcess> execs_;
};

}  // namespace runtime
