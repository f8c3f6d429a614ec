// sampan-pod through the public interface: real containers from a layer directory with busybox.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/process.h"
#include "base/sys.h"
#include "runtime/runtime.h"

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace json = base::json;

// Runs the loop until `ready`; a test that waits 20 s has failed.
template <typename F>
bool run_until(base::Loop& loop, F ready) {
  auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!ready() && std::chrono::steady_clock::now() < deadline) loop.run_once(100ms);
  return ready();
}

class PodTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
    if (!fs::exists("/bin/busybox")) GTEST_SKIP() << "skip: busybox-static";
    char pattern[] = "/tmp/runtime-pod-XXXXXX";
    dir_ = ::mkdtemp(pattern);
    fs::create_directories(dir_ + "/layer/bin");
    fs::copy("/bin/busybox", dir_ + "/layer/bin/busybox");
    for (const char* name : {"sh", "cat", "echo", "sleep", "true", "id", "ls", "mount", "hostname", "ps",
                             "head", "tr", "yes", "tty", "readlink", "touch", "test", "kill", "nc"})
      fs::create_symlink("busybox", dir_ + "/layer/bin/" + name);
    for (const char* name : {"/layer/proc", "/layer/sys", "/layer/dev", "/layer/etc", "/layer/tmp"})
      fs::create_directories(dir_ + name);
    id_ = "pod-" + std::to_string(::getpid());
    cgroup_ = "/sampan-runtime-test/" + id_;
  }
  void TearDown() override {
    if (dir_.empty()) return;
    if (pod_) shutdown();
    EXPECT_TRUE(leftovers().empty()) << leftovers();
    fs::remove_all(dir_);
    for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup"))
      ::rmdir((entry.path().string() + "/sampan-runtime-test").c_str());
  }
  std::string leftovers() {
    std::string out;
    for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup"))
      if (fs::exists(entry.path().string() + cgroup_)) out += entry.path().string() + cgroup_ + " ";
    for (const char* suffix : {".sock", ".json"})
      if (fs::exists(dir_ + "/run/" + id_ + suffix)) out += id_ + suffix + " ";
    if (fs::exists(dir_ + "/work"))
      for (const auto& entry : fs::directory_iterator(dir_ + "/work")) out += entry.path().string() + " ";
    return out;
  }
  runtime::SandboxSpec sandbox() {
    runtime::SandboxSpec spec;
    spec.id = id_;
    spec.run_dir = dir_ + "/run";
    spec.pod_program = SAMPAN_BIN_DIR "/sampan-pod";
    spec.hostname = "boat";
    spec.cgroup = cgroup_;
    return spec;
  }
  void start_pod(runtime::SandboxSpec spec) {
    base::Result<std::unique_ptr<runtime::Pod>> result = base::make_error(base::Kind::kInternal, "pending");
    bool done = false;
    runtime::start_pod(loop_, spec, [&](auto r) {
      result = std::move(r);
      done = true;
    });
    ASSERT_TRUE(run_until(loop_, [&] { return done; }));
    ASSERT_TRUE(result.ok()) << result.error().message();
    pod_ = std::move(*result);
    listen();
  }
  void listen() {
    pod_->on_exit = [this](const runtime::ContainerState& state) { exits_[state.id] = state; };
    pod_->on_lost = [this] { lost_ = true; };
  }
  void shutdown() {
    bool done = false;
    base::Status status;
    pod_->shutdown([&](base::Status s) {
      status = s;
      done = true;
    });
    ASSERT_TRUE(run_until(loop_, [&] { return done; }));
    ASSERT_TRUE(status.ok()) << status.error().message();
    pod_.reset();
  }
  runtime::ContainerSpec container(const std::string& id, std::vector<std::string> args) {
    runtime::ContainerSpec spec;
    spec.id = id;
    json::object config = runtime::default_config();
    json::array argv;
    for (const std::string& arg : args) argv.push_back(json::value(arg));
    config["process"].as_object()["args"] = argv;
    spec.config = config;
    spec.layers = {dir_ + "/layer"};
    spec.work_dir = dir_ + "/work/" + id;
    spec.log_path = dir_ + "/" + id + ".log";
    return spec;
  }
  base::Result<runtime::ContainerState> start(runtime::ContainerSpec spec) {
    std::optional<base::Result<runtime::ContainerState>> out;
    pod_->start(std::move(spec), [&](auto r) { out = std::move(r); });
    run_until(loop_, [&] { return out.has_value(); });
    if (!out) return base::make_error(base::Kind::kTimeout, "start");
    return *out;
  }
  base::Status call(std::function<void(runtime::Pod::Done)> f) {
    std::optional<base::Status> out;
    f([&](base::Status s) { out = s; });
    run_until(loop_, [&] { return out.has_value(); });
    return out ? *out : base::Status{base::make_error(base::Kind::kTimeout, "call")};
  }
  bool wait_exit(const std::string& id) {
    return run_until(loop_, [&] { return exits_.count(id) != 0; });
  }
  // Log lines without their times.
  std::string log(const std::string& id) {
    std::ifstream in(dir_ + "/" + id + ".log");
    std::string out, line;
    while (std::getline(in, line)) out += line.substr(line.find(' ') + 1) + "\n";
    return out;
  }
  std::string run(const std::string& id, const std::string& script) {
    auto state = start(container(id, {"sh", "-c", script}));
    EXPECT_TRUE(state.ok()) << state.error().message();
    if (!state.ok()) return "";
    EXPECT_TRUE(wait_exit(id));
    return log(id);
  }

  base::Loop loop_;
  std::string dir_, id_, cgroup_;
  std::unique_ptr<runtime::Pod> pod_;
  std::map<std::string, runtime::ContainerState> exits_;
  bool lost_ = false;
};

TEST_F(PodTest, RunsAContainerAndTellsItsExit) {
  start_pod(sandbox());
  auto state = start(container("one", {"sh", "-c", "echo out; echo err >&2; hostname; exit 3"}));
  ASSERT_TRUE(state.ok()) << state.error().message();
  EXPECT_GT(state->pid, 0);
  ASSERT_TRUE(wait_exit("one"));
  EXPECT_EQ(exits_["one"].exit_code, 3);
  EXPECT_FALSE(exits_["one"].oom_killed);
  EXPECT_THAT(log("one"), testing::HasSubstr("stdout F out\n"));
  EXPECT_THAT(log("one"), testing::HasSubstr("stderr F err\n"));
  EXPECT_THAT(log("one"), testing::HasSubstr("stdout F boat\n"));
  EXPECT_TRUE(call([&](auto done) { pod_->remove("one", done); }).ok());
  EXPECT_FALSE(fs::exists(dir_ + "/work/one"));
}

TEST_F(PodTest, AMissingProgramIsAnErrorAndLeavesNothing) {
  start_pod(sandbox());
  auto state = start(container("bad", {"no-such-program"}));
  ASSERT_FALSE(state.ok());
  EXPECT_THAT(state.error().message(), testing::HasSubstr("executable file not found in $PATH"));
  EXPECT_FALSE(fs::exists(dir_ + "/work/bad"));
}

TEST_F(PodTest, ExecGetsTheGivenFdsAndItsExitCode) {
  start_pod(sandbox());
  ASSERT_TRUE(start(container("main", {"sleep", "1000"})).ok());
  auto pipe = base::sys::pipe();
  runtime::Pod::Exec exec;
  exec.container = "main";
  exec.process = json::object{{"args", json::array{"sh", "-c", "hostname; ps | head -3; exit 7"}},
                              {"cwd", "/"},
                              {"env", json::array{"PATH=/bin"}}};
  exec.stdout_fd = pipe->write.get();
  int code = -1;
  std::optional<std::string> failed;
  pod_->exec(
      std::move(exec),
      [&](auto r) {
        if (!r.ok()) failed = r.error().message();
      },
      [&](int c) { code = c; });
  ASSERT_TRUE(run_until(loop_, [&] { return code >= 0 || failed; })) << failed.value_or("");
  ASSERT_FALSE(failed) << *failed;
  EXPECT_EQ(code, 7);
  pipe->write.reset();
  auto text = base::sys::read_all(pipe->read.get());
  EXPECT_THAT(*text, testing::HasSubstr("boat\n"));
  EXPECT_THAT(*text, testing::HasSubstr("sleep 1000"));
  EXPECT_TRUE(call([&](auto done) { pod_->signal("main", SIGKILL, done); }).ok());
  ASSERT_TRUE(wait_exit("main"));
  EXPECT_EQ(exits_["main"].exit_code, 137);
}

// The first process of a pid namespace ends only after every other one in it was waited for; those of
// an exec are sampan-pod's to wait for, and it is busy ending the container.
TEST_F(PodTest, ExecsThatRunDoNotHoldUpTheEnd) {
  start_pod(sandbox());
  ASSERT_TRUE(start(container("main", {"sleep", "1000"})).ok());
  int running = 0;
  for (int i = 0; i < 3; ++i) {
    runtime::Pod::Exec exec;
    exec.container = "main";
    exec.process =
        json::object{{"args", json::array{"sleep", "1000"}}, {"cwd", "/"}, {"env", json::array{"PATH=/bin"}}};
    pod_->exec(
        std::move(exec), [&](auto r) { running += r.ok(); }, [](int) {});
  }
  ASSERT_TRUE(run_until(loop_, [&] { return running == 3; }));
  const auto began = std::chrono::steady_clock::now();
  shutdown();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}

TEST_F(PodTest, AnExecIntoAPausedContainerIsRefused) {
  start_pod(sandbox());
  ASSERT_TRUE(start(container("main", {"sleep", "1000"})).ok());
  ASSERT_TRUE(call([&](auto done) { pod_->pause("main", true, done); }).ok());
  runtime::Pod::Exec exec;
  exec.container = "main";
  exec.process = json::object{{"args", json::array{"true"}}, {"cwd", "/"}, {"env", json::array{"PATH=/bin"}}};
  std::optional<std::string> failed;
  pod_->exec(
      std::move(exec), [&](auto r) { failed = r.ok() ? "" : r.error().message(); }, [](int) {});
  ASSERT_TRUE(run_until(loop_, [&] { return failed.has_value(); })) << "sampan-pod hangs";
  EXPECT_THAT(*failed, testing::HasSubstr("cannot exec in a paused container"));
  EXPECT_TRUE(call([&](auto done) { pod_->pause("main", false, done); }).ok());
}

TEST_F(PodTest, OutlivesItsClientAndTellsWhatHappenedMeanwhile) {
  start_pod(sandbox());
  ASSERT_TRUE(start(container("short", {"sh", "-c", "read x </tmp/none; exit 4"})).ok());
  pod_.reset();  // the kubelet dies
  auto again = runtime::connect_pod(loop_, dir_ + "/run", id_);
  ASSERT_TRUE(again.ok()) << again.error().message();
  pod_ = std::move(*again);
  listen();
  ASSERT_TRUE(wait_exit("short"));
  EXPECT_EQ(runtime::list_pods(dir_ + "/run").value(), std::vector<std::string>{id_});
}

TEST_F(PodTest, ADeadPodIsCleaned) {
  start_pod(sandbox());
  auto state = start(container("main", {"sleep", "1000"}));
  ASSERT_TRUE(state.ok());
  auto pidfd = base::sys::pidfd_open(state->pid);
  std::optional<pid_t> pid;
  pod_->sandbox([&](auto r) { pid = r.ok() ? r->pid : 0; });
  ASSERT_TRUE(run_until(loop_, [&] { return pid.has_value(); }));
  ::kill(*pid, SIGKILL);
  ASSERT_TRUE(run_until(loop_, [&] { return lost_; }));
  pod_.reset();
  auto cleaned = runtime::clean_dead_pod(dir_ + "/run", id_);
  ASSERT_TRUE(cleaned.ok()) << cleaned.error().message();
  EXPECT_EQ(runtime::connect_pod(loop_, dir_ + "/run", id_).error().kind, base::Kind::kNotFound);
}

TEST_F(PodTest, ALastLineWithoutALineBreakGetsNone) {
  start_pod(sandbox());
  EXPECT_EQ(run("open", "echo one; printf two"), "stdout F one\nstdout P two\n");
}

TEST_F(PodTest, LinesOver16KiBAreCut) {
  start_pod(sandbox());
  std::string text = run("long", "yes x | tr -d '\\n' | head -c 40000; echo");
  EXPECT_THAT(text, testing::StartsWith("stdout P " + std::string(16384, 'x') + "\nstdout P " +
                                        std::string(16384, 'x')));
  EXPECT_THAT(text, testing::HasSubstr("\nstdout F " + std::string(40000 - 32768, 'x') + "\n"));
}

TEST_F(PodTest, MemoryLimitKillsAndSaysSo) {
  start_pod(sandbox());
  auto spec = container("fat", {"sh", "-c", "a=x; while true; do a=$a$a; done"});
  spec.config.as_object()["linux"].as_object()["resources"].as_object()["memory"] =
      json::object{{"limit", 16 << 20}};
  ASSERT_TRUE(start(std::move(spec)).ok());
  ASSERT_TRUE(wait_exit("fat"));
  EXPECT_TRUE(exits_["fat"].oom_killed);
  EXPECT_EQ(exits_["fat"].exit_code, 137);
}

TEST_F(PodTest, ContainersShareTheNetworkAndNotTheProcesses) {
  start_pod(sandbox());
  ASSERT_TRUE(start(container("server", {"sh", "-c", "echo ahoy | nc -l -p 4000"})).ok());
  // The server may not listen yet; the bound is on tries.
  std::string text = run(
      "client",
      "i=0; while [ $i -lt 2000 ] && ! nc 127.0.0.1 4000 </dev/null 2>/dev/null; do i=$((i+1)); done; ps");
  EXPECT_THAT(text, testing::HasSubstr("stdout F ahoy\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("nc -l")));
}

TEST_F(PodTest, ConnectsToALoopbackServerInsideThePod) {
  start_pod(sandbox());
  ASSERT_TRUE(start(container("server", {"sh", "-c", "echo ahoy | nc -l -p 4000"})).ok());
  std::optional<base::Result<base::UniqueFd>> got;
  auto connect = [&](uint16_t port) {
    got.reset();
    pod_->connect(port, [&](base::Result<base::UniqueFd> result) { got = std::move(result); });
    return run_until(loop_, [&] { return got.has_value(); });
  };
  ASSERT_TRUE(connect(4001));
  ASSERT_FALSE(got->ok());
  EXPECT_EQ(got->error().kind, base::Kind::kUnavailable) << got->error().message();
  // Until nc listens.
  ASSERT_TRUE(run_until(loop_, [&] { return got->ok() || (connect(4000) && got->ok()); }));
  int fd = (*got)->get();
  std::string text;
  ASSERT_TRUE(run_until(loop_, [&] {
    char data[64];
    ssize_t n = ::read(fd, data, sizeof data);
    if (n > 0) text.append(data, static_cast<size_t>(n));
    return text == "ahoy\n";
  })) << text;
}

TEST_F(PodTest, SharedPidNamespace) {
  auto spec = sandbox();
  spec.share_pid = true;
  start_pod(spec);
  ASSERT_TRUE(start(container("server", {"sleep", "4321"})).ok());
  EXPECT_THAT(run("client", "ps"), testing::HasSubstr("sleep 4321"));
}

TEST_F(PodTest, TerminalAndAttach) {
  start_pod(sandbox());
  auto spec = container("tty", {"sh", "-c", "tty; read line; echo got $line"});
  spec.config.as_object()["process"].as_object()["terminal"] = true;
  ASSERT_TRUE(start(std::move(spec)).ok());
  std::optional<runtime::Pod::Attached> attached;
  pod_->attach("tty", runtime::Pod::SlowReader::kLoses, [&](auto r) {
    if (r.ok()) attached = std::move(*r);
  });
  ASSERT_TRUE(run_until(loop_, [&] { return attached.has_value(); }));
  ASSERT_TRUE(attached->terminal.valid());
  ASSERT_EQ(::write(attached->terminal.get(), "hello\n", 6), 6);
  ASSERT_TRUE(wait_exit("tty"));
  EXPECT_THAT(log("tty"), testing::HasSubstr("/dev/pts/0"));
  EXPECT_THAT(log("tty"), testing::HasSubstr("got hello"));
}

TEST_F(PodTest, StdinThroughAttach) {
  start_pod(sandbox());
  auto spec = container("cat", {"cat"});
  spec.open_stdin = spec.stdin_once = true;
  ASSERT_TRUE(start(std::move(spec)).ok());
  std::optional<runtime::Pod::Attached> attached;
  pod_->attach("cat", runtime::Pod::SlowReader::kLoses, [&](auto r) {
    if (r.ok()) attached = std::move(*r);
  });
  ASSERT_TRUE(run_until(loop_, [&] { return attached.has_value(); }));
  ASSERT_TRUE(attached->in.valid());
  ASSERT_EQ(::write(attached->in.get(), "word\n", 5), 5);
  attached->in.reset();
  ASSERT_TRUE(wait_exit("cat"));
  EXPECT_EQ(*base::sys::read_all(attached->out.get()), "word\n");
}

}  // namespace
