// The one header of runtime/ that the kubelet and the CLI may include: pulled images, and Pods
// held by sampan-pod processes. Knows OCI and the kernel, not Kubernetes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/result.h"

namespace runtime {

// ---- images -------------------------------------------------------------------------------
// Layout below `image_root`: blobs/sha256/<hex>, layers/<diff-id hex>/fs, images.json (name ->
// manifest digest), pins. Written by `sampan image`, read by everybody.

struct Image {
  std::string name;    // "docker.io/library/nginx:1.22"
  std::string digest;  // of the manifest, "sha256:…": Pod status imageID
  std::string config_digest;
  uint64_t size_bytes = 0;
  std::vector<std::string> layers;  // directories for overlayfs, lowest first
  // From the image's config:
  std::vector<std::string> entrypoint, cmd, env;
  std::string user, working_dir;
  std::string stop_signal;  // "SIGTERM"; may be empty
};
// "nginx" -> "docker.io/library/nginx:latest"; kInvalid for what no registry would accept.
base::Result<std::string> normalize_image_name(std::string_view name);
// kNotFound when it is not in the store. Cheap: reads two small files, no network.
base::Result<Image> find_image(const std::string& image_root, std::string_view name);
base::Result<std::vector<Image>> list_images(const std::string& image_root);
// Keeps an image (by its digest) from `sampan image gc`, for as long as `holder` (a container id,
// [a-zA-Z0-9_.-]) needs it, also when its name is taken away or moves on. Idempotent; survives us.
base::Status pin_image(const std::string& image_root, const std::string& holder, const std::string& digest);
base::Status unpin_image(const std::string& image_root, const std::string& holder);  // absent is fine
base::Result<std::set<std::string>> pinned_images(const std::string& image_root);    // digests

// uid:gid and supplementary groups of "user", "uid", "user:group"… in the image's /etc/passwd and
// /etc/group, looked up through the layers (highest first), symlinks never followed out of them.
struct User {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  std::string home = "/";
};
base::Result<User> resolve_user(const Image& image, std::string_view user);

// ---- the host ------------------------------------------------------------------------------
// Enabled and mounted cgroup controllers and where they are mounted, v1 or v2 ("memory" ->
// "/sys/fs/cgroup/memory"). Asked of libcgroup (target sampan_cgroup_controllers).
base::Result<std::map<std::string, std::string>> cgroup_controllers();
// kUnsupported, naming what is missing and what to do, unless all of `wanted` are there.
base::Status require_cgroup_controllers(const std::vector<std::string>& wanted);

// Counters of a control group as the kernel has them now; what it does not count is 0.
struct CgroupCounters {
  uint64_t cpu_ns = 0, cpu_user_ns = 0, cpu_system_ns = 0;
  uint64_t cpu_periods = 0, cpu_throttled_periods = 0, cpu_throttled_ns = 0;
  uint64_t memory_bytes = 0, memory_working_set_bytes = 0, memory_rss_bytes = 0, memory_file_bytes = 0;
  uint64_t memory_mapped_bytes = 0, swap_bytes = 0, page_faults = 0, major_page_faults = 0;
  uint64_t memory_limit_hits = 0, oom_kills = 0, pids = 0;
};
// `cgroup` as in SandboxSpec, or that of a container: "<SandboxSpec::cgroup>/<ContainerSpec::id>".
// kNotFound when there is none (any more). A dozen small files: not on a loop that serves.
base::Result<CgroupCounters> cgroup_counters(const std::string& cgroup);

// ---- containers ---------------------------------------------------------------------------

// What a container gets that asks for nothing; the lists of containerd and podman.
const std::vector<std::string>& default_capabilities();  // "CAP_CHOWN", …
std::vector<std::string> all_capabilities();             // in our bounding set: nobody can be given more
// linux.devices of a privileged container: every device node below /dev.
base::json::array host_devices();
// linux.seccomp of the profile "RuntimeDefault" for a process with these capabilities.
base::json::value default_seccomp(const std::vector<std::string>& capabilities);
// A whole config.json: default capabilities, mounts, namespaces, devices denied, masked and
// read-only paths; no seccomp. Replace process.args, env, cwd, user and add mounts and limits.
base::json::object default_config();

struct ContainerSpec {
  std::string id;                   // unique in the Pod, [a-zA-Z0-9_.-]
  base::json::value config;         // OCI runtime-spec config.json; root.path is ignored when
                                    // layers are given; network, ipc and uts are the Pod's
  std::vector<std::string> layers;  // overlay lower directories, lowest first
  std::string work_dir;             // upper, work and merged live below; made if absent
  std::string log_path;             // CRI log file ("<time> stdout F <line>"); "" = /dev/null
  bool open_stdin = false;          // keep stdin open for attach; else /dev/null
  bool stdin_once = false;
  bool keep_work_dir = false;  // `remove` and `shutdown` leave work_dir to the caller, who
                               // starts the container again with what it wrote
};
enum class Phase { kCreated, kRunning, kExited };
struct ContainerState {
  std::string id;
  Phase phase = Phase::kCreated;
  pid_t pid = 0;  // in the host's pid namespace
  base::Time started_at{}, finished_at{};
  int exit_code = 0;  // 128 + signal when killed, as Kubernetes reports it
  int signal = 0;
  bool oom_killed = false;
  bool paused = false;
};
struct SandboxSpec {
  std::string id;           // the Pod's uid
  std::string run_dir;      // <run_dir>/<id>.sock; root-only
  std::string pod_program;  // path of sampan-pod
  std::string hostname;
  std::string cgroup;                  // "/sampan/<node>/pod<uid>": the Pod's, made if absent
  base::json::value cgroup_resources;  // OCI linux.resources for the Pod's cgroup; null = none
  bool host_network = false, host_ipc = false, host_pid = false, share_pid = false;
  std::map<std::string, std::string> sysctls;
  // Who clears up after a Pod that nobody watches: a program and its arguments, run by sampan-pod on
  // the host's network once no container runs and the client that made the Pod has gone. Again
  // after each further exit. Empty: nobody.
  std::vector<std::string> exit_command;
};
struct Stats {
  uint64_t cpu_ns = 0, memory_bytes = 0, memory_working_set_bytes = 0, pids = 0;
};

// A connection to one sampan-pod. All callbacks on the loop's thread; destroying the object only
// closes the connection: the Pod goes on.
class Pod {
 public:
  virtual ~Pod() = default;

  struct Sandbox {
    pid_t pid = 0;
    base::UniqueFd netns;    // invalid with host_network
    base::UniqueFd netlink;  // NETLINK_ROUTE socket made inside netns: configures it from here
  };
  using Done = std::function<void(base::Status)>;
  virtual const std::string& id() const = 0;
  virtual void sandbox(std::function<void(base::Result<Sandbox>)> done) = 0;
  // Mounts the rootfs, makes the cgroup and starts the process; done when execve succeeded.
  virtual void start(ContainerSpec spec, std::function<void(base::Result<ContainerState>)> done) = 0;
  // The same, attached from the first byte (SlowReader::kIsAwaited).
  struct Attached {
    base::UniqueFd in, out, err, terminal;
  };
  struct Started {
    ContainerState state;
    Attached attached;
  };
  virtual void start_attached(ContainerSpec spec, std::function<void(base::Result<Started>)> done);
  virtual void signal(const std::string& container, int signal, Done done) = 0;
  // Freezes all its processes, or lets them go on.
  virtual void pause(const std::string& container, bool paused, Done done);
  // After its exit: removes cgroup and work_dir (unless keep_work_dir).
  virtual void remove(const std::string& container, Done done) = 0;
  virtual void list(std::function<void(base::Result<std::vector<ContainerState>>)> done) = 0;
  virtual void stats(const std::string& container, std::function<void(base::Result<Stats>)> done) = 0;

  struct Exec {
    std::string container;
    base::json::value process;  // OCI process object: args, env, cwd, user, terminal…
    bool terminal = false;
    // Without a terminal: the fds to use, -1 = /dev/null; they are duplicated.
    int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;
  };
  struct ExecStarted {
    std::string exec_id;
    base::UniqueFd terminal;  // pty master when Exec::terminal
  };
  // `exited` is called once after `started` succeeded, with the exit code (128 + signal).
  virtual void exec(Exec exec, std::function<void(base::Result<ExecStarted>)> started,
                    std::function<void(int exit_code)> exited) = 0;
  virtual void signal_exec(const std::string& exec_id, int signal, Done done) = 0;
  // The container's own stdio for attach: stdin (if open_stdin) and a pipe that gets a copy of
  // stdout and one of stderr from now on; or, for a container with a terminal, the pty's master
  // to write to and to resize, and in `out` the pipe that gets a copy of what it prints (the
  // master itself is read by sampan-pod, for the log). The pipes end when the container has.
  // A copy that is not read in time loses bytes, so that a stuck client can't stop the container; or
  // it is awaited, as a pipeline's next command would be, so that nothing is lost.
  enum class SlowReader { kLoses, kIsAwaited };
  virtual void attach(const std::string& container, SlowReader slow,
                      std::function<void(base::Result<Attached>)> done) = 0;
  // A TCP connection to 127.0.0.1:port (else [::1]:port) from inside the Pod's network namespace,
  // opened by sampan-pod. kUnavailable: nobody listens there.
  virtual void connect(uint16_t port, std::function<void(base::Result<base::UniqueFd>)> done) {
    done(base::make_error(base::Kind::kUnsupported, "connect to port", std::to_string(port),
                          "this sampan-pod opens no connections"));
  }
  // Kills what runs, removes everything of the Pod (mounts, cgroup, socket) and ends sampan-pod.
  virtual void shutdown(Done done) = 0;

  // Called for every container that exits, also for those that exited while nobody was connected
  // (once after connecting), and when sampan-pod itself is gone (then the Pod is lost: every
  // process of it is dead).
  std::function<void(const ContainerState&)> on_exit;
  std::function<void()> on_lost;
};

// Starts a sampan-pod (a new session, never our child in the systemd sense: KillMode=process) and
// connects to it.
void start_pod(base::Loop& loop, SandboxSpec spec,
               std::function<void(base::Result<std::unique_ptr<Pod>>)> done);
// Connects to a running one; kNotFound when nobody listens on its socket (the Pod died).
base::Result<std::unique_ptr<Pod>> connect_pod(base::Loop& loop, const std::string& run_dir,
                                               const std::string& id);
// Ids with a socket below run_dir, dead or alive: what a restarted kubelet finds.
base::Result<std::vector<std::string>> list_pods(const std::string& run_dir);
// Removes what a dead sampan-pod left behind (mounts below work dirs, cgroup, socket).
base::Status clean_dead_pod(const std::string& run_dir, const std::string& id);

}  // namespace runtime
