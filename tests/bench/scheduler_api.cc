// How many Pods a second a master places on hollow nodes (objects without a kubelet): API server, store with
// its fsync and scheduler in one process and one loop, no sockets. First all Pods are created, then the
// scheduler starts.
//   scheduler_api [DIRECTORY (/tmp/scheduler_api)] [NODES (5000)] [PODS (5000)]
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

#include "base/sys.h"
#include "master/scheduler/scheduler.h"
#include "master/server/server.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Bench {
  base::Loop loop;
  std::unique_ptr<master::ApiServer> server;
  std::shared_ptr<api::Transport> transport;

  void all(int count, const std::function<base::http::Request(int)>& request) {
    constexpr int kAtOnce = 64;
    int next = 0, open = 0;
    std::map<int, std::unique_ptr<api::Transport::Call>> calls;
    std::vector<int> ended;
    while (next < count || open) {
      for (int number : ended) calls.erase(number);
      ended.clear();
      for (; next < count && open < kAtOnce; ++next, ++open)
        calls[next] =
            transport->call(request(next), [&, number = next](base::Result<base::http::Response> response) {
              --open;
              ended.push_back(number);
              if (response.ok() && response->status < 300) return;
              std::fprintf(stderr, "scheduler_api: %s\n",
                           response.ok() ? response->body.c_str() : response.error().message().c_str());
              std::exit(1);
            });
      loop.run_once(std::chrono::milliseconds(100));
    }
  }
};
base::http::Request request(std::string method, std::string target, std::string body) {
  base::http::Request out;
  out.method = std::move(method);
  out.target = std::move(target);
  out.headers.add("Content-Type",
                  out.method == "PATCH" ? "application/merge-patch+json" : "application/json");
  out.body = std::move(body);
  return out;
}
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string directory = argc > 1 ? argv[1] : "/tmp/scheduler_api";
  const int nodes = argc > 2 ? std::atoi(argv[2]) : 5000, pods = argc > 3 ? std::atoi(argv[3]) : 5000;
  if (!base::sys::remove_all(directory).ok() || !base::sys::mkdir_all(directory).ok()) return 1;
  Bench bench;
  auto store = master::open_sqlite_store(bench.loop, directory + "/store.db");
  if (!store.ok()) return 1;
  master::ServerOptions options;
  options.advertise_address = "192.0.2.1";
  bench.server = std::make_unique<master::ApiServer>(bench.loop, std::move(*store), options);
  if (!bench.server->start().ok()) return 1;
  bool ready = false;
  bench.server->when_bootstrapped([&] { ready = true; });
  while (!ready) bench.loop.run_once(std::chrono::milliseconds(50));
  bench.transport = bench.server->local_transport({"admin", {"system:masters"}});

  bench.all(nodes, [](int i) {
    return request("POST", "/api/v1/nodes",
                   fmt::format(R"({{"metadata":{{"name":"node-{0:05}","labels":{{
        "kubernetes.io/hostname":"node-{0:05}","topology.kubernetes.io/zone":"zone-{1}"}}}}}})",
                               i, i % 5));
  });
  bench.all(nodes, [](int i) {
    return request("PATCH", fmt::format("/api/v1/nodes/node-{:05}/status", i),
                   R"({"status":{"allocatable":{"cpu":"32","memory":"128Gi","pods":"250"}}})");
  });
  auto begin = Clock::now();
  bench.all(pods, [](int i) {
    return request("POST", "/api/v1/namespaces/default/pods",
                   fmt::format(R"({{"metadata":{{"name":"p-{}","labels":{{
        "app":"app-{}"}}}},"spec":{{"containers":[{{"name":"c","image":"i","resources":{{"requests":{{
        "cpu":"100m"}}}}}}]}}}})",
                               i, i % 50));
  });
  const double created = std::chrono::duration<double>(Clock::now() - begin).count();

  int placed = 0;
  api::Informer::Options of_pods;
  of_pods.resource = api::resources::pods;
  std::set<std::string> seen;
  api::Informer informer(bench.loop, *bench.transport, of_pods,
                         [&](api::Informer::Change, const base::json::value& pod) {
                           if (!base::string_at(pod, "spec", "nodeName").empty() &&
                               seen.emplace(base::string_at(pod, "metadata", "name")).second)
                             ++placed;
                         });
  informer.start();
  master::scheduler::Scheduler scheduler(
      bench.loop, bench.server->local_transport({"system:kube-scheduler", {"system:authenticated"}}));
  begin = Clock::now();
  const double cpu = cpu_seconds();
  scheduler.start();
  while (placed < pods) bench.loop.run_once(std::chrono::milliseconds(100));
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("%d nodes, %d Pods: created at %.0f/s, placed at %.0f/s (%.0f us of CPU each)\n", nodes, pods,
              pods / created, pods / took, 1e6 * (cpu_seconds() - cpu) / pods);
  std::fflush(stdout);
  const bool removed = base::sys::remove_all(directory).ok();
  std::_Exit(removed ? 0 : 1);  // taking thousands of objects down tells nothing
}
