// sampan-oci killed at each of its system calls, and with each of them failing: afterwards `delete
// --force` succeeds, and no process, mount, cgroup or state directory is left. A launch that fails
// by itself leaves nothing even before that. The driver is ptrace; the program has no part in it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/json.h"
#include "base/sys.h"
#include "runtime/runtime.h"

namespace {

namespace fs = std::filesystem;
namespace json = base::json;

enum class Whom { kRuntime, kContainer };  // the command's process, or what it clones
enum class What { kKill, kFail };
struct Outcome {
  bool happened = false;  // there was a k-th call
  int status = -1;        // of the command, as of waitpid
  long call = -1;         // its number
  bool ran = false;       // the container's program was running then
};

class OciFault : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
    if (!fs::exists("/bin/busybox")) GTEST_SKIP() << "skip: busybox-static";
    // Mounts of our own, so that a new one is the runtime's.
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr), 0);
    // Whatever loses its parent becomes ours, and is seen.
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    char pattern[] = "/tmp/runtime-fault-XXXXXX";
    dir_ = ::mkdtemp(pattern);
    for (const char* name : {"bin", "proc", "sys", "dev", "etc", "tmp"})
      fs::create_directories(dir_ + "/rootfs/" + name);
    fs::copy("/bin/busybox", dir_ + "/rootfs/bin/busybox");
    for (const char* name : {"true", "sleep"}) fs::create_symlink("busybox", dir_ + "/rootfs/bin/" + name);
    cgroup_ = "/sampan-fault-" + std::to_string(::getpid());
    configure({"sleep", "1000"});
    mounts_ = mounts();
  }
  void TearDown() override {
    if (dir_.empty()) return;
    command({"delete", "--force", "box"});
    fs::remove_all(dir_);
    for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup"))
      ::rmdir((entry.path().string() + cgroup_).c_str());
    ::rmdir(("/sys/fs/cgroup" + cgroup_).c_str());
  }
  static std::set<std::string> mounts() {
    std::set<std::string> out;
    std::ifstream in("/proc/self/mountinfo");
    for (std::string line; std::getline(in, line);) out.insert(line);
    return out;
  }
  void configure(std::vector<std::string> args) {
    json::object config = runtime::default_config();
    json::array words;
    for (std::string& arg : args) words.push_back(json::value(arg));
    config["process"].as_object()["args"] = words;
    config["process"].as_object()["noNewPrivileges"] = true;
    config["root"] = json::object{{"path", "rootfs"}};
    base::object_at(config, "linux", "resources")["pids"] = json::object{{"limit", 100}};
    base::object_at(config, "linux")["cgroupsPath"] = cgroup_ + "/box";
    base::object_at(config, "linux")["seccomp"] = json::object{{"defaultAction", "SCMP_ACT_ALLOW"}};
    std::ofstream(dir_ + "/config.json") << json::serialize(config);
  }

  std::vector<std::string> words(std::vector<std::string> of_command) {
    std::vector<std::string> out{SAMPAN_BIN_DIR "/sampan-oci", "--root", dir_ + "/state"};
    for (std::string& word : of_command) out.push_back(std::move(word));
    return out;
  }
  pid_t start(const std::vector<std::string>& argv, bool traced) {
    std::vector<char*> pointers;
    for (const std::string& word : argv) pointers.push_back(const_cast<char*>(word.c_str()));
    pointers.push_back(nullptr);
    std::string errors = dir_ + "/errors";
    pid_t pid = ::fork();
    if (pid != 0) return pid;
    int null = ::open("/dev/null", O_RDWR), file = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(null, 0);
    ::dup2(null, 1);
    ::dup2(file, 2);
    if (traced) ::ptrace(PTRACE_TRACEME, 0, 0, 0);
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  int command(std::vector<std::string> of_command) {
    int status = -1;
    pid_t pid = start(words(std::move(of_command)), false);
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
  std::string errors() { return base::sys::read_file(dir_ + "/errors").value_or(""); }

  // Runs a command; at the k-th system call (from 1) of `whom`, does `what`.
  Outcome run_until(std::vector<std::string> of_command, Whom whom, What what, int k) {
    Outcome out;
    pid_t runtime = start(words(std::move(of_command)), true), target = whom == Whom::kRuntime ? runtime : 0;
    std::set<pid_t> announced;     // born traced, perhaps not yet seen
    std::map<pid_t, bool> inside;  // traced process -> between entry and exit of a call
    bool failing = false, ran = false;
    int calls = 0;
    for (;;) {
      int status;
      pid_t pid = ::waitpid(-1, &status, __WALL);
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) break;
      if (WIFEXITED(status) || WIFSIGNALED(status)) {
        inside.erase(pid);
        announced.erase(pid);
        if (pid == runtime) {
          out.status = status;
          break;
        }
        continue;
      }
      int deliver = 0;
      if (!inside.count(pid)) {
        // The first stop: of execve, or of a new child.
        inside[pid] = false;
        announced.insert(pid);
        if (pid != runtime && target == 0) target = pid;
        ::ptrace(PTRACE_SETOPTIONS, pid, 0,
                 PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
      } else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
        bool entry = inside[pid] = !inside[pid];
        if (pid == target && entry && ++calls == k) {
          user_regs_struct registers;
          ::ptrace(PTRACE_GETREGS, pid, 0, &registers);
          out.happened = true;
          out.ran = ran;
          out.call = static_cast<long>(registers.orig_rax);
          if (what == What::kKill) {
            ::kill(pid, SIGKILL);
          } else if (out.call != SYS_close) {  // which closes, whatever it returns
            registers.orig_rax = ~0ull;
            ::ptrace(PTRACE_SETREGS, pid, 0, &registers);
            failing = true;
          }
        } else if (pid == target && !entry && failing) {
          user_regs_struct registers;
          ::ptrace(PTRACE_GETREGS, pid, 0, &registers);
          registers.rax = static_cast<unsigned long long>(-ENOMEM);
          ::ptrace(PTRACE_SETREGS, pid, 0, &registers);
          failing = false;
        }
      } else if (status >> 16 != 0) {
        // An event of clone or execve. What the container runs is no longer ours to count.
        if (status >> 8 != (SIGTRAP | (PTRACE_EVENT_EXEC << 8))) {
          unsigned long born = 0;
          ::ptrace(PTRACE_GETEVENTMSG, pid, 0, &born);
          announced.insert(static_cast<pid_t>(born));
        } else if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8)) && pid != runtime) {
          ran = true;
          inside.erase(pid);
          announced.erase(pid);
          ::ptrace(PTRACE_DETACH, pid, 0, 0);
          continue;
        }
      } else if (WSTOPSIG(status) != SIGSTOP) {
        deliver = WSTOPSIG(status);
      }
      ::ptrace(PTRACE_SYSCALL, pid, 0, deliver);
    }
    // Who is still traced runs on by itself.
    for (pid_t pid : announced) {
      bool seen = inside.count(pid) != 0;
      if (seen && ::kill(pid, SIGSTOP) != 0) continue;  // unseen, it begins with a SIGSTOP
      for (int status; ::waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status);)
        if (WSTOPSIG(status) == SIGSTOP) {
          ::ptrace(PTRACE_DETACH, pid, 0, 0);
          break;
        } else {
          ::ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status) & 0x80 ? 0 : WSTOPSIG(status));
        }
    }
    return out;
  }

  // What is there that should not be; "" is nothing.
  std::string left() {
    std::string out;
    // Orphans may be on their way out: they are waited for, but not for ever. Blocked, SIGCHLD of one
    // that ends between the two calls is not lost.
    sigset_t child, before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &child, &before);
    constexpr timespec kOneEnds{10, 0};
    for (;;) {
      pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
      if (pid < 0 && errno != EINTR) break;
      if (pid == 0 && ::sigtimedwait(&child, nullptr, &kOneEnds) < 0 && errno == EAGAIN) {
        out += " process";
        break;
      }
    }
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (fs::exists(dir_ + "/state/box")) out += " state";
    if (fs::exists("/sys/fs/cgroup" + cgroup_ + "/box")) out += " cgroup";
    for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup"))
      if (fs::exists(entry.path().string() + cgroup_ + "/box"))
        out += " cgroup:" + entry.path().filename().string();
    // Only new ones: a mount goes from here too when somebody elsewhere removes its directory.
    for (const std::string& line : mounts())
      if (!mounts_.count(line)) out += " mount: " + line;
    return out;
  }

  // `of_command` is tried with every k, each time after `prepare`.
  template <typename F>
  void for_every_call(std::vector<std::string> of_command, Whom whom, What what, F prepare) {
    int k = 1;
    for (;; ++k) {
      prepare();
      Outcome outcome = run_until(of_command, whom, what, k);
      std::string where = of_command[0] + ", call " + std::to_string(k) + " (number " +
                          std::to_string(outcome.call) + " on this machine): " + errors();
      if (!outcome.happened) break;
      bool launch = of_command[0] != "delete" && of_command[0] != "start";
      if (what == What::kFail && launch && !outcome.ran && outcome.status != 0) {
        EXPECT_EQ(left(), "") << where;
      }
      EXPECT_EQ(command({"delete", "--force", "box"}), 0) << where << errors();
      EXPECT_EQ(left(), "") << where;
      if (HasFailure()) return;
    }
    command({"delete", "--force", "box"});
    EXPECT_EQ(left(), "");
    // Fewer would mean that the driver counts something else.
    EXPECT_GT(k, of_command[0] == "delete" ? 30 : of_command[0] == "start" ? 30 : 90) << of_command[0];
    RecordProperty("calls", k - 1);
    std::printf("%s: %d calls\n", of_command[0].c_str(), k - 1);
  }
  std::vector<std::string> create() { return {"create", "--bundle", dir_, "box"}; }

  std::string dir_, cgroup_;
  std::set<std::string> mounts_;
};

TEST_F(OciFault, CreateKilledAtEveryCall) {
  for_every_call(create(), Whom::kRuntime, What::kKill, [] {});
}
TEST_F(OciFault, CreateWithEveryCallFailing) {
  for_every_call(create(), Whom::kRuntime, What::kFail, [] {});
}
TEST_F(OciFault, TheContainersOwnStartKilledAtEveryCall) {
  for_every_call(create(), Whom::kContainer, What::kKill, [] {});
}
TEST_F(OciFault, TheContainersOwnStartWithEveryCallFailing) {
  for_every_call(create(), Whom::kContainer, What::kFail, [] {});
}
TEST_F(OciFault, RunKilledAtEveryCall) {
  configure({"true"});
  for_every_call({"run", "--bundle", dir_, "box"}, Whom::kRuntime, What::kKill, [] {});
}
TEST_F(OciFault, RunWithEveryCallFailing) {
  configure({"true"});
  for_every_call({"run", "--bundle", dir_, "box"}, Whom::kRuntime, What::kFail, [] {});
}
TEST_F(OciFault, StartKilledAtEveryCall) {
  for_every_call({"start", "box"}, Whom::kRuntime, What::kKill,
                 [this] { ASSERT_EQ(command(create()), 0) << errors(); });
}
TEST_F(OciFault, DeleteKilledAtEveryCall) {
  for_every_call({"delete", "--force", "box"}, Whom::kRuntime, What::kKill,
                 [this] { ASSERT_EQ(command(create()), 0) << errors(); });
}
TEST_F(OciFault, DeleteWithEveryCallFailing) {
  for_every_call({"delete", "--force", "box"}, Whom::kRuntime, What::kFail, [this] {
    ASSERT_EQ(command(create()), 0) << errors();
    ASSERT_EQ(command({"start", "box"}), 0) << errors();
  });
}

}  // namespace
