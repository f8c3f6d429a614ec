#include "cli/container_life.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "cli/await.h"
#include "cli/container_network.h"
#include "cli/container_store.h"
#include "cli/run_options.h"

namespace cli {

namespace sys = base::sys;
using base::Kind;
using runtime::Pod;
using Phase = State::Phase;

namespace {

base::Status await_status(base::Loop& loop, const std::function<void(Pod::Done)>& begin) {
  return await<void>(loop, begin);
}

std::shared_ptr<Ending> listen_for_end(Pod& pod) {
  auto ending = std::make_shared<Ending>();
  pod.on_exit = [ending](const runtime::ContainerState& state) { ending->exit = state; };
  pod.on_lost = [ending] { ending->lost = true; };
  return ending;
}

base::Status write_files(const Places& places, const Record& record, const std::string& address) {
  auto host = [](const char* path) { return sys::read_file(path).value_or(""); };
  std::string resolv = host("/etc/resolv.conf"), gateway, hosts;
  // systemd-resolved's own servers, where the file names only its stub on loopback.
  if (record.network != "host" && resolv_conf(resolv, record).find("nameserver") == std::string::npos)
    if (std::string upstream = host("/run/systemd/resolve/resolv.conf"); !upstream.empty()) resolv = upstream;
  if (record.network == "bridge") gateway = TRY(gateway_address(places));
  bool hosts_own = record.network == "host" && record.hosts.empty();
  hosts = hosts_own ? host("/etc/hosts") : hosts_file(record, address, gateway);
  bool resolv_own = record.network == "host" && record.dns.empty() && record.dns_search.empty() &&
                    record.dns_options.empty();
  std::string name = record.hostname.empty() ? host("/etc/hostname") : record.hostname + "\n";
  for (auto [file, text] : {std::pair<const char*, std::string>("hosts", hosts),
                            {"hostname", name},
                            {"resolv.conf", resolv_own ? resolv : resolv_conf(resolv, record)}}) {
    std::string path = places.container(record.id) + "/" + file;
    base::UniqueFd fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
    TRY_WRAP(sys::write_all(fd.get(), text), "write", path);
  }
  return {};
}

runtime::SandboxSpec sandbox_spec(const Places& places, const Record& record) {
  runtime::SandboxSpec out;
  out.id = record.id;
  out.run_dir = places.run_dir;
  out.pod_program = places.pod_program.empty() ? program_beside("sampan-pod") : places.pod_program;
  out.hostname = record.hostname;
  out.cgroup = places.cgroup_parent + "/" + record.id;
  out.host_network = record.network == "host";
  out.host_ipc = record.host_ipc;
  out.host_pid = record.host_pid;
  out.sysctls = record.sysctls;
  out.exit_command = {own_program()};
  for (const std::string& word : places.flags()) out.exit_command.push_back(word);
  out.exit_command.insert(out.exit_command.end(), {"cleanup", record.id});
  return out;
}

runtime::ContainerSpec container_spec(const Places& places, const Record& record) {
  runtime::ContainerSpec out;
  out.id = kContainer;
  out.config = record.config;
  out.layers = record.layers;
  out.work_dir = places.container(record.id) + "/work";
  out.keep_work_dir = true;
  out.log_path = places.container(record.id) + "/log";
  out.open_stdin = record.open_stdin;
  out.stdin_once = record.stdin_once;
  return out;
}

// No sampan-pod, alive or dead.
base::Status end_pod(base::Loop& loop, const Places& places, const std::string& id,
                     std::unique_ptr<Pod> pod) {
  base::Status down;
  for (int tries = 0; pod && tries < 3; ++tries) {
    down = await_status(loop, [&](Pod::Done done) { pod->shutdown(std::move(done)); });
    if (down.ok() || down.error().kind == Kind::kUnavailable) break;
  }
  pod.reset();
  auto cleaned = runtime::clean_dead_pod(places.run_dir, id);
  // It lives on, with what it could not remove; or it has answered and is about to end.
  if (!cleaned.ok() && cleaned.error().kind == Kind::kConflict) return down;
  return cleaned;
}

base::Result<Started> start_steps(base::Loop& loop, const Places& places, const Record& record, bool attach,
                                  State& state) {
  if (record.network == "bridge") {
    state.address = TRY(claim_address(places, record.id));
    TRY(write_state(places, record.id, state));
    TRY(ensure_network(places));
  }
  TRY(write_files(places, record, state.address));
  Started out;
  out.pod = TRY(await<std::unique_ptr<Pod>>(
      loop, [&](auto done) { runtime::start_pod(loop, sandbox_spec(places, record), std::move(done)); }));
  out.ending = listen_for_end(*out.pod);
  if (record.network == "bridge") {
    Pod::Sandbox sandbox =
        TRY(await<Pod::Sandbox>(loop, [&](auto done) { out.pod->sandbox(std::move(done)); }));
    TRY(attach_network(places, record.id, state.address, sandbox));
    TRY(publish_ports(places, record, state.address));
  }
  runtime::ContainerState begun;
  if (attach) {
    Pod::Started started = TRY(await<Pod::Started>(
        loop, [&](auto done) { out.pod->start_attached(container_spec(places, record), std::move(done)); }));
    begun = started.state;
    out.attached = std::move(started.attached);
  } else {
    begun = TRY(await<runtime::ContainerState>(
        loop, [&](auto done) { out.pod->start(container_spec(places, record), std::move(done)); }));
  }
  state.phase = Phase::kRunning;
  state.pid = begun.pid;
  state.started_at = begun.started_at;
  return out;
}

}  // namespace

State with_exit(State state, const runtime::ContainerState& exit) {
  state.phase = Phase::kExited;
  state.pid = 0;
  state.exit_code = exit.exit_code;
  state.oom_killed = exit.oom_killed;
  if (exit.started_at != base::Time{}) state.started_at = exit.started_at;
  state.finished_at = exit.finished_at;
  return state;
}

int start_exit_code(const base::Error& error) {
  for (const base::Error* at = &error; at; at = at->cause.get())
    if (at->operation.starts_with("exec: ")) {
      if (at->errno_value == ENOENT || at->errno_value == ENOTDIR) return 127;
      return 126;
    }
  return 125;
}

base::Result<Seen> observe_container(base::Loop& loop, const Places& places, const std::string& id) {
  Seen seen;
  seen.state = read_state(places, id);
  auto pod = runtime::connect_pod(loop, places.run_dir, id);
  if (!pod.ok() && pod.error().kind != Kind::kNotFound) return pod.error();
  bool was_running = seen.runs();
  if (pod.ok()) {
    seen.ending = listen_for_end(**pod);
    auto list =
        await<std::vector<runtime::ContainerState>>(loop, [&](auto done) { (*pod)->list(std::move(done)); });
    if (list.ok() && !list->empty()) {
      const runtime::ContainerState& now = list->front();
      seen.state.phase = now.phase != runtime::Phase::kRunning ? Phase::kExited
                         : now.paused                          ? Phase::kPaused
                                                               : Phase::kRunning;
      seen.state.pid = now.pid;
      seen.state.started_at = now.started_at;
      if (now.phase == runtime::Phase::kExited) seen.state = with_exit(seen.state, now);
      was_running = false;
    }
    if (list.ok()) seen.pod = std::move(*pod);
  }
  if (was_running) {
    // Perhaps another command settled it meanwhile: its end is written before its sampan-pod goes.
    seen.state = read_state(places, id);
    was_running = seen.runs();
  }
  if (seen.state.phase == Phase::kStarting) seen.state.phase = Phase::kCreated;
  if (was_running) {
    // Its sampan-pod died, and with it every process.
    seen.state.phase = Phase::kExited;
    seen.state.pid = 0;
    seen.state.exit_code = 128 + SIGKILL;
    seen.state.finished_at = seen.state.started_at;
  }
  return seen;
}

base::Result<Started> start_container(base::Loop& loop, const Places& places, const Record& record,
                                      bool attach) {
  Seen seen = TRY(observe_container(loop, places, record.id));
  if (seen.runs()) return base::make_error(Kind::kConflict, "start container", record.name, "it is running");
  State state = seen.state;
  if (seen.pod || runtime::list_pods(places.run_dir).ok())
    TRY(end_pod(loop, places, record.id, std::move(seen.pod)));
  if (!state.address.empty()) TRY(detach_network(places, record, state));
  state.phase = Phase::kStarting;
  state.address.clear();
  state.error.clear();
  state.exit_code = 0;
  state.oom_killed = state.stop_requested = false;
  TRY(write_state(places, record.id, state));
  auto started = start_steps(loop, places, record, attach, state);
  if (started.ok()) {
    TRY(write_state(places, record.id, state));
    return started;
  }
  base::Error error = started.error();
  auto pod = runtime::connect_pod(loop, places.run_dir, record.id);
  base::ignore(end_pod(loop, places, record.id, pod.ok() ? std::move(*pod) : nullptr),
               "the first error counts; rm -f finishes");
  base::ignore(detach_network(places, record, state), "likewise");
  state.phase = state.started_at == base::Time{} ? Phase::kCreated : Phase::kExited;
  state.address.clear();
  state.error = error.message();
  state.exit_code = start_exit_code(error);
  base::ignore(write_state(places, record.id, state), "likewise");
  return error;
}

base::Status settle_container(base::Loop& loop, const Places& places, const Record& record, Seen seen) {
  seen.state.pid = 0;
  TRY(write_state(places, record.id, seen.state));  // before what could tell it is gone
  TRY(end_pod(loop, places, record.id, std::move(seen.pod)));
  TRY(detach_network(places, record, seen.state));
  seen.state.address.clear();
  return write_state(places, record.id, seen.state);
}

base::Status remove_ended(base::Loop& loop, const Places& places, const Record& record, Seen seen) {
  TRY(end_pod(loop, places, record.id, std::move(seen.pod)));
  TRY(detach_network(places, record, seen.state));
  return remove_container(places, record.id);
}

base::Status stop_container(base::Loop& loop, const Places& places, const std::string& id,
                            std::optional<int> timeout_s) {
  Record record = TRY(read_record(places, id));
  Seen seen;
  {
    base::UniqueFd lock = TRY(lock_container(places, id));
    seen = TRY(observe_container(loop, places, id));
    State state = read_state(places, id);
    state.stop_requested = true;
    // Waiting to be restarted: now it is not.
    if (state.phase == Phase::kRestarting) state.phase = Phase::kExited;
    TRY(write_state(places, id, state));
    if (!seen.runs())
      return seen.pod || !state.address.empty() ? settle_container(loop, places, record, std::move(seen))
                                                : base::Status{};
  }
  auto signal = [&](int number) {
    return await_status(loop, [&](Pod::Done done) { seen.pod->signal(kContainer, number, std::move(done)); });
  };
  if (seen.state.phase == Phase::kPaused)
    TRY(await_status(loop, [&](Pod::Done done) { seen.pod->pause(kContainer, false, std::move(done)); }));
  base::ignore(signal(TRY(parse_signal(record.stop_signal))), "it may have ended by itself");
  bool late = false;
  base::Loop::Handle timer;
  int seconds = timeout_s.value_or(record.stop_timeout_s);
  if (seconds >= 0) timer = loop.after(std::chrono::seconds(seconds), [&] { late = true; });
  while (!seen.ending->over() && !late) loop.run_once(std::chrono::hours(1));
  if (late) base::ignore(signal(SIGKILL), "it may have ended by itself");
  while (!seen.ending->over()) loop.run_once(std::chrono::hours(1));
  // Who watches it, or `sampan cleanup`, settles it; we do when nobody does in time.
  bool waited = false;
  timer = loop.after(std::chrono::seconds(5), [&] { waited = true; });
  while (!seen.ending->lost && !waited) loop.run_once(std::chrono::hours(1));
  seen.pod.reset();
  auto lock = lock_container(places, id);
  if (!lock.ok()) return lock.error().kind == Kind::kNotFound ? base::Status{} : lock.error();
  if (!sys::exists(places.container(id) + "/record.json")) return {};
  seen = TRY(observe_container(loop, places, id));
  return seen.runs() || (!seen.pod && seen.state.address.empty())
             ? base::Status{}
             : settle_container(loop, places, record, std::move(seen));
}

base::Status destroy_container(base::Loop& loop, const Places& places, const std::string& id, bool force) {
  auto lock = lock_container(places, id);
  if (!lock.ok()) {
    if (force) TRY(drop_name(places, id));
    return lock.error();
  }
  auto record = read_record(places, id);
  if (!record.ok() && !force) return record.error();
  Seen seen = TRY(observe_container(loop, places, id));
  if (seen.runs() && !force)
    return base::make_error(Kind::kConflict, "remove container", short_id(id),
                            "it is " + phase_name(seen.state.phase), "stop it first, or rm -f");
  State state = read_state(places, id);
  state.stop_requested = true;
  base::ignore(write_state(places, id, state), "a broken directory goes as well");
  TRY(end_pod(loop, places, id, std::move(seen.pod)));
  if (record.ok()) TRY(detach_network(places, *record, state));
  return remove_container(places, id);
}

base::Status clean_up_container(base::Loop& loop, const Places& places, const std::string& id) {
  auto lock = lock_container(places, id);
  if (!lock.ok()) return lock.error().kind == Kind::kNotFound ? base::Status{} : lock.error();
  auto record = read_record(places, id);
  if (!record.ok()) return {};  // removed meanwhile
  Seen seen = TRY(observe_container(loop, places, id));
  if (seen.runs() || !seen.pod) return {};
  if (record->remove) return remove_ended(loop, places, *record, std::move(seen));
  State state = seen.state;
  bool again = state.phase == Phase::kExited && restarts(record->restart, state);
  if (again) {
    if (state.finished_at - state.started_at > std::chrono::seconds(10)) state.restart_streak = 0;
    seen.state.phase = Phase::kRestarting;
    seen.state.restart_streak = state.restart_streak + 1;
    ++seen.state.restarts;
  }
  TRY(settle_container(loop, places, *record, std::move(seen)));
  while (again) {
    lock->reset();
    bool over = false;
    auto timer = loop.after(restart_delay(state.restart_streak), [&] { over = true; });
    while (!over) loop.run_once(std::chrono::hours(1));
    lock = lock_container(places, id);
    if (!lock.ok()) return {};
    State now = read_state(places, id);
    if (now.phase != Phase::kRestarting || !sys::exists(places.container(id) + "/record.json")) return {};
    auto started = start_container(loop, places, *record, false);
    if (started.ok()) return {};
    state = read_state(places, id);
    state.phase = Phase::kExited;
    state.finished_at = base::wall_now();
    again = restarts(record->restart, state);
    if (!again) return write_state(places, id, state);
    state.phase = Phase::kRestarting;
    ++state.restarts;
    ++state.restart_streak;
    TRY(write_state(places, id, state));
  }
  return {};
}

}  // namespace cli
