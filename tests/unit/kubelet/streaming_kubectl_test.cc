// The real kubectl against the streaming server, behind the thinnest possible API: one Pod and its
// subresources. KUBECTL names another client (1.30 and older speak SPDY only).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <fstream>

#include "base/sys.h"
#include "tests/unit/kubelet/streaming_fixture.h"

namespace kubelet {
namespace {
using base::http::run_until;

constexpr const char* kPod = R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"pod",
"namespace":"ns","uid":"uid"},"spec":{"containers":[{"name":"c","stdin":true}]},
"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})";
constexpr const char* kResources = R"({"kind":"APIResourceList","groupVersion":"v1","resources":[
{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"],"shortNames":["po"]},
{"name":"pods/exec","singularName":"","namespaced":true,"kind":"PodExecOptions","verbs":["create","get"]}]})";

class KubectlTest : public StreamingFixture {
 protected:
  void SetUp() override {
    const char* named = ::getenv("KUBECTL");
    kubectl_ = named ? named : "/usr/bin/kubectl";
    if (::access(kubectl_.c_str(), X_OK) != 0) GTEST_SKIP() << "skip: kubectl";
    pass_ = [this](const std::shared_ptr<base::http::Exchange>& exchange) { return api(exchange); };
    std::ofstream(directory_ + "/config")
        << "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: "
           "x, user: x, namespace: ns}}]\nusers: [{name: x, user: {}}]\nclusters: [{name: x, cluster: "
           "{server: \"http://127.0.0.1:"
        << server_->ports()[0] << "\"}}]\n";
  }
  // What the API server does: answers the Pod itself, and turns its subresources into our paths.
  bool api(const std::shared_ptr<base::http::Exchange>& exchange) {
    base::http::Request& request = exchange->mutable_request();
    std::string path(request.path()), query(request.query());
    base::http::Headers headers;
    headers.add("Content-Type", "application/json");
    const std::string pod = "/api/v1/namespaces/ns/pods/pod";
    static const std::pair<const char*, const char*> ours[] = {{"/exec", "/exec/ns/pod/c"},
                                                               {"/attach", "/attach/ns/pod/c"},
                                                               {"/portforward", "/portForward/ns/pod"},
                                                               {"/log", "/containerLogs/ns/pod/c"}};
    for (auto [subresource, target] : ours)
      if (path == pod + subresource) {
        request.target = std::string(target) + "?" + query;
        return false;
      }
    if (path == pod) exchange->respond(200, headers, kPod);
    else if (path == "/api") exchange->respond(200, headers, R"({"kind":"APIVersions","versions":["v1"]})");
    else if (path == "/apis")
      exchange->respond(200, headers, R"({"kind":"APIGroupList","apiVersion":"v1","groups":[]})");
    else if (path == "/api/v1") exchange->respond(200, headers, kResources);
    else return !path.starts_with("/exec") && (exchange->respond(404, headers, "{}"), true);
    return true;
  }
  struct Outcome {
    int code = -1;
    std::string out, err;
  };
  Outcome kubectl(std::vector<std::string> arguments, const std::string& input = "") {
    Started started = start(std::move(arguments), input);
    return finish(started);
  }
  struct Started {
    base::Child child;
    std::string out, err;
  };
  Started start(std::vector<std::string> arguments, const std::string& input = "") {
    std::string name = directory_ + "/run" + std::to_string(++runs_);
    std::ofstream(name + ".in") << input;
    base::Command command;
    command.argv = {kubectl_, "--kubeconfig", directory_ + "/config", "--cache-dir", directory_ + "/cache"};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    auto open = [](const std::string& path, int flags) { return base::sys::open(path, flags, 0600).value(); };
    auto in = open(name + ".in", O_RDONLY), out = open(name + ".out", O_WRONLY | O_CREAT),
         err = open(name + ".err", O_WRONLY | O_CREAT);
    command.stdin_fd = in.get();
    command.stdout_fd = out.get();
    command.stderr_fd = err.get();
    return {base::spawn(command).value(), name + ".out", name + ".err"};
  }
  Outcome finish(Started& started) {
    bool over = false;
    auto watch = loop_.watch(started.child.pidfd.get(), EPOLLIN, [&](uint32_t) { over = true; });
    if (!run_until(loop_, [&] { return over; }))
      base::ignore(base::sys::pidfd_send_signal(started.child.pidfd.get(), SIGKILL), "it hangs");
    auto status = base::wait_child(started.child).value();
    return {status.code, base::sys::read_file(started.out).value(),
            base::sys::read_file(started.err).value()};
  }
  std::string kubectl_;
  int runs_ = 0;
};

TEST_F(KubectlTest, Exec) {
  auto simple = kubectl({"exec", "pod", "--", "sh", "-c", "echo out; echo err >&2"});
  EXPECT_EQ(simple.code, 0) << simple.err;
  EXPECT_EQ(simple.out, "out\n");
  EXPECT_EQ(simple.err, "err\n");
  std::string big;
  for (int i = 0; i < 200'000; ++i) big += std::to_string(i) + "\n";
  auto piped = kubectl({"exec", "-i", "pod", "--", "cat"}, big);
  EXPECT_EQ(piped.code, 0) << piped.err;
  EXPECT_EQ(piped.out.size(), big.size());
  EXPECT_TRUE(piped.out == big);
  auto failing = kubectl({"exec", "pod", "--", "sh", "-c", "exit 42"});
  EXPECT_EQ(failing.code, 42) << failing.err;
  EXPECT_EQ(failing.err, "command terminated with exit code 42\n");
  auto missing = kubectl({"exec", "pod", "--", "no-such-program"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("no-such-program"), std::string::npos) << missing.err;
}

TEST_F(KubectlTest, LogsWithFollow) {
  std::string path = directory_ + "/1.log";
  std::ofstream(path) << "2026-01-02T15:04:05Z stdout F one\n2026-01-02T15:04:06Z stdout F two\n";
  auto tail = kubectl({"logs", "pod", "--tail=1", "--timestamps"});
  EXPECT_EQ(tail.out, "2026-01-02T15:04:06Z two\n") << tail.err;
  auto following = start({"logs", "-f", "pod"});
  ASSERT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 1; }));
  std::ofstream(path, std::ios::app) << "2026-01-02T15:04:07Z stdout F three\n";
  ended_ = true;
  streaming_->container_exited();
  EXPECT_EQ(finish(following).out, "one\ntwo\nthree\n");
}

TEST_F(KubectlTest, PortForward) {
  Echo echo;
  auto forward = start({"port-forward", "pod", ":" + std::to_string(echo.port)});
  std::string out;
  ASSERT_TRUE(run_until(loop_, [&] {
    out = base::sys::read_file(forward.out).value();
    return out.find("Forwarding from 127.0.0.1:") != std::string::npos &&
           out.find(" ->") != std::string::npos;
  })) << base::sys::read_file(forward.err).value();
  int port = std::stoi(out.substr(out.find("127.0.0.1:") + 10));
  for (int i = 0; i < 3; ++i) {
    auto address = base::http::parse_address("127.0.0.1", port).value();
    base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address.storage), address.size), 0);
    auto stream = base::http::make_stream(loop_, std::move(fd));
    std::string seen;
    bool ended = false;
    stream->on_data([&](std::string_view data) { seen += data; }, [&](base::Status) { ended = true; });
    std::string sent(100'000, static_cast<char>('a' + i));
    stream->write(sent);
    stream->half_close();
    ASSERT_TRUE(run_until(loop_, [&] { return ended; })) << i;
    EXPECT_EQ(seen, std::string(100'000, static_cast<char>('A' + i)));
  }
  ASSERT_TRUE(base::sys::pidfd_send_signal(forward.child.pidfd.get(), SIGINT).ok());
  EXPECT_EQ(finish(forward).err, "");
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
}
}  // namespace
}  // namespace kubelet
