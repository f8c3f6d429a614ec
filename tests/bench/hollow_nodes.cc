// Kubelets without containers, for tests/bench/controllers.py: each registers a Node, renews its Lease,
// watches the Pods that are bound to it and says at once that they run, or that they are gone. What they ask
// of the API server is what node agents ask of it; each has a connection for its watch and one for its
// writes.
//   hollow_nodes KUBECONFIG COUNT [PODS_PER_NODE [LEASE_SECONDS]]
// Prints "ready" when all are registered and watch; reads commands from its standard input: "kill NAME" (that
// node falls silent), "count" (prints how many Pods run). Ends with its input.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <unordered_set>

#include "api/client/transport.h"
#include "base/http/client.h"
#include "base/json.h"
#include "base/json_lists.h"

namespace {

namespace json = base::json;
using base::http::Client;
using base::http::Request;
using base::http::Response;
using std::chrono::seconds;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "hollow_nodes: %s\n", why.c_str());
  std::exit(1);
}

struct Shared {
  base::Loop loop;
  Client::Options options;
  std::shared_ptr<base::tls::Context> context;
  int pods_per_node = 110, lease_seconds = 10;
  size_t ready = 0, running = 0, opening = 0;

  explicit Shared(const char* path) {
    auto config = api::load_kubeconfig(path);
    if (!config.ok()) die(config.error().message());
    auto made = base::tls::Context::client(config->ca_pem, config->client);
    if (!made.ok()) die(made.error().message());
    context = *made;
    std::string_view rest = config->server;
    rest.remove_prefix(std::min(rest.size(), std::string_view("https://").size()));
    size_t colon = rest.rfind(':');
    options.host = std::string(rest.substr(0, colon));
    options.connect_timeout = seconds(120);
    options.port = std::atoi(std::string(rest.substr(colon + 1)).c_str());
  }
};

class HollowNode {
 public:
  HollowNode(Shared& shared, int number)
      : shared_(shared), name_("hollow-" + std::to_string(number)), number_(number),
        writes_(shared.loop, shared.context, shared.options),
        reads_(shared.loop, shared.context, shared.options) {}

  void start(std::function<void()> done) {
    started_ = std::move(done);
    json::object labels{{"kubernetes.io/hostname", name_},
                        {"kubernetes.io/os", "linux"},
                        {"topology.kubernetes.io/zone", "zone-" + std::to_string(number_ % 3)}};
    send("POST", "/api/v1/nodes",
         json::object{
             {"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", {{"name", name_}, {"labels", labels}}}},
         [this](const Response& answer) {
           if (answer.status != 201 && answer.status != 409) die("create node: " + answer.body);
           say_ready();
         });
  }
  void kill() {
    dead_ = true;
    watch_.reset();
    lease_.cancel();
  }
  const std::string& name() const { return name_; }

 private:
  void say_ready() {
    const std::string now = base::format_time(base::wall_now());
    json::object amounts{{"cpu", "64"}, {"memory", "256Gi"}, {"pods", std::to_string(shared_.pods_per_node)}};
    json::object status{
        {"capacity", amounts},
        {"allocatable", amounts},
        {"addresses", json::array{json::object{{"type", "InternalIP"}, {"address", address()}}}},
        {"conditions", json::array{json::object{{"type", "Ready"},
                                                {"status", "True"},
                                                {"reason", "KubeletReady"},
                                                {"lastHeartbeatTime", now},
                                                {"lastTransitionTime", now}}}}};
    send("PATCH", "/api/v1/nodes/" + name_ + "/status", json::object{{"status", std::move(status)}},
         [this](const Response& answer) {
           if (answer.status != 200) die("status of a node: " + answer.body);
           renew();
           follow();
         });
  }
  std::string address() const {
    return "198.18." + std::to_string(number_ / 250) + "." + std::to_string(number_ % 250 + 1);
  }

  void renew() {
    if (dead_) return;
    const std::string path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    json::object lease{{"apiVersion", "coordination.k8s.io/v1"},
                       {"kind", "Lease"},
                       {"metadata", {{"name", name_}}},
                       {"spec",
                        {{"holderIdentity", name_},
                         {"leaseDurationSeconds", 40},
                         {"renewTime", base::format_micro_time(base::wall_now())}}}};
    send(renewed_ ? "PATCH" : "PUT", path + "/" + name_, std::move(lease), [](const Response& answer) {
      if (answer.status != 200 && answer.status != 201) die("lease: " + answer.body);
    });
    // Spread over the time, as nodes that were started one by one are.
    const auto period = std::chrono::milliseconds(shared_.lease_seconds * 1000);
    const auto first = period * (number_ % 100) / 100;
    lease_ =
        shared_.loop.after(renewed_ ? period : first + std::chrono::milliseconds(1), [this] { renew(); });
    renewed_ = true;
  }

  void follow() {
    if (dead_) return;
    Request request;
    request.target = "/api/v1/pods?watch=1&resourceVersion=0&fieldSelector=spec.nodeName%3D" + name_;
    rest_.clear();
    watch_ = reads_.stream(
        std::move(request),
        [this](const Response& head) {
          if (head.status != 200) die("watch: status " + std::to_string(head.status));
          if (started_) std::exchange(started_, {})();
        },
        [this](std::string_view data) { took(data); },
        [this](base::Status) {
          again_ = shared_.loop.after(std::chrono::milliseconds(200), [this] { follow(); });
        });
  }
  void took(std::string_view data) {
    rest_.append(data);
    size_t from = 0;
    for (size_t end; (end = rest_.find('\n', from)) != rest_.npos; from = end + 1) {
      auto event = base::parse_json(std::string_view(rest_).substr(from, end - from));
      if (!event.ok()) die("a line of a watch is no JSON");
      if (const json::value* object = base::find(*event, "object"))
        seen(base::string_at(*event, "type"), *object);
    }
    rest_.erase(0, from);
  }

  void seen(std::string_view type, const json::value& pod) {
    if (dead_ || base::string_at(pod, "kind") != "Pod") return;
    const std::string uid(base::string_at(pod, "metadata", "uid"));
    if (type == "DELETED") {
      shared_.running -= running_.erase(uid);
      ending_.erase(uid);
      return;
    }
    const std::string path = "/api/v1/namespaces/" +
                             std::string(base::string_at(pod, "metadata", "namespace")) + "/pods/" +
                             std::string(base::string_at(pod, "metadata", "name"));
    if (!base::string_at(pod, "metadata", "deletionTimestamp").empty()) {
      if (!ending_.insert(uid).second) return;
      return send("DELETE", path, json::object{{"gracePeriodSeconds", 0}, {"preconditions", {{"uid", uid}}}},
                  [](const Response&) {});
    }
    if (!running_.insert(uid).second) return;
    ++shared_.running;
    const std::string now = base::format_time(base::wall_now());
    json::array conditions, containers;
    for (const char* kind : {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"})
      conditions.push_back(json::object{{"type", kind}, {"status", "True"}, {"lastTransitionTime", now}});
    for (const json::value& container : base::list_at(base::find_path(pod, "spec", "containers")))
      containers.push_back(json::object{{"name", base::string_at(container, "name")},
                                        {"image", base::string_at(container, "image")},
                                        {"imageID", "none"},
                                        {"ready", true},
                                        {"started", true},
                                        {"restartCount", 0},
                                        {"state", {{"running", {{"startedAt", now}}}}}});
    const size_t count = ++made_;
    json::object status{{"phase", "Running"},
                        {"startTime", now},
                        {"hostIP", address()},
                        {"podIP", "10." + std::to_string(number_ >> 8 & 255) + "." +
                                      std::to_string(number_ & 255) + "." + std::to_string(count % 250 + 1)},
                        {"conditions", std::move(conditions)},
                        {"containerStatuses", std::move(containers)}};
    send(
        "PATCH", path + "/status", json::object{{"metadata", {{"uid", uid}}}, {"status", std::move(status)}},
        [](const Response&) {}, "application/strategic-merge-patch+json");
  }

  // One request at a time, as a node agent with one connection sends them.
  void send(std::string method, std::string target, json::value body,
            std::function<void(const Response&)> done, const char* type = nullptr) {
    Request request;
    request.headers.add("Content-Type", type                ? type
                                        : method == "PATCH" ? "application/merge-patch+json"
                                                            : "application/json");
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = base::to_json(body);
    queue_.emplace_back(std::move(request), std::move(done));
    pump();
  }
  void pump() {
    if (call_ || queue_.empty() || dead_) return;
    call_ = writes_.call(queue_.front().first, seconds(120), [this](base::Result<Response> answer) {
      // A connection may break; like a node agent it asks again, but not for ever.
      if (!answer.ok() && ++failures_ > 20) die(name_ + ": " + answer.error().message());
      const auto wait = std::chrono::milliseconds(answer.ok() ? 0 : 200);
      again_sending_ = shared_.loop.after(wait, [this] {
        call_.reset();
        pump();
      });
      if (!answer.ok()) return;
      failures_ = 0;
      auto done = std::move(queue_.front().second);
      queue_.pop_front();
      done(*answer);
    });
  }

  Shared& shared_;
  const std::string name_;
  const int number_;
  Client writes_, reads_;
  std::unique_ptr<Client::Call> call_, watch_;
  std::deque<std::pair<Request, std::function<void(const Response&)>>> queue_;
  std::string rest_;
  std::unordered_set<std::string> running_, ending_;
  size_t made_ = 0;
  int failures_ = 0;  // in a row
  bool dead_ = false, renewed_ = false;
  base::Loop::Handle lease_, again_, again_sending_;
  std::function<void()> started_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) die("usage: hollow_nodes KUBECONFIG COUNT [PODS_PER_NODE [LEASE_SECONDS]]");
  std::signal(SIGPIPE, SIG_IGN);
  Shared shared(argv[1]);
  const int count = std::atoi(argv[2]);
  if (argc > 3) shared.pods_per_node = std::atoi(argv[3]);
  if (argc > 4) shared.lease_seconds = std::atoi(argv[4]);
  std::vector<std::unique_ptr<HollowNode>> nodes;
  for (int i = 0; i < count; ++i) nodes.push_back(std::make_unique<HollowNode>(shared, i));
  size_t next = 0;
  std::function<void()> start_next = [&] {
    while (shared.opening < 32 && next < nodes.size()) {
      ++shared.opening;
      nodes[next++]->start([&] {
        --shared.opening;
        if (++shared.ready == nodes.size()) std::puts("ready"), std::fflush(stdout);
        shared.loop.post(start_next);
      });
    }
  };
  start_next();
  ::fcntl(0, F_SETFL, O_NONBLOCK);
  std::string typed;
  auto input = shared.loop.watch(0, 1 /* EPOLLIN */, [&](uint32_t) {
    char buffer[512];
    ssize_t got = ::read(0, buffer, sizeof buffer);
    if (got == 0) return shared.loop.stop();
    if (got > 0) typed.append(buffer, static_cast<size_t>(got));
    for (size_t end; (end = typed.find('\n')) != typed.npos; typed.erase(0, end + 1)) {
      const std::string line = typed.substr(0, end);
      if (line == "count") std::printf("%zu\n", shared.running), std::fflush(stdout);
      for (const auto& node : nodes)
        if (line == "kill " + node->name()) node->kill();
    }
  });
  shared.loop.run();
}
