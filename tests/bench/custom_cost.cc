// What a custom resource costs beside a ConfigMap of the same bytes: create, get and list of both in
// turn against one server in this process (no TLS, no socket; a real store with its fsync).
//   custom_cost [DIRECTORY (/tmp/custom_cost)] [ROUNDS (20)] [OBJECTS A ROUND (200)]
#include <cstdio>
#include <cstdlib>

#include "base/sys.h"
#include "master/server/server.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Bench {
  base::Loop loop;
  std::unique_ptr<master::ApiServer> server;
  std::shared_ptr<api::Transport> transport;

  void call_many(const std::vector<base::http::Request>& requests, int wanted) {
    size_t open = requests.size();
    std::vector<std::unique_ptr<api::Transport::Call>> calls;
    for (const base::http::Request& request : requests)
      calls.push_back(transport->call(request, [&](base::Result<base::http::Response> response) {
        --open;
        if (response.ok() && response->status == wanted) return;
        std::fprintf(stderr, "custom_cost: %s\n",
                     response.ok() ? response->body.c_str() : response.error().message().c_str());
        std::exit(1);
      }));
    while (open) loop.run_once(std::chrono::milliseconds(100));
  }
  static base::http::Request request(std::string method, std::string target, std::string body = {}) {
    base::http::Request out;
    out.method = std::move(method);
    out.target = std::move(target);
    out.headers.add("Content-Type", "application/json");
    out.body = std::move(body);
    return out;
  }
};

constexpr char kMaps[] = "/api/v1/namespaces/default/configmaps",
               kTabs[] = "/apis/example.com/v1/namespaces/default/things";
constexpr char kDefinition[] =
    R"({"metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
  "names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object",
  "properties":{"data":{"type":"object","additionalProperties":{"type":"string","maxLength":4096}},
  "spec":{"type":"object","properties":{"replicas":{"type":"integer","minimum":0,"default":1},"mode":{"type":"string","enum":["a","b"],"default":"a"}}}}}}}]}})";

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  std::string directory = argc > 1 ? argv[1] : "/tmp/custom_cost";
  int rounds = argc > 2 ? std::atoi(argv[2]) : 20, objects = argc > 3 ? std::atoi(argv[3]) : 200;
  if (!base::sys::remove_all(directory).ok() || !base::sys::mkdir_all(directory).ok()) return 1;
  Bench bench;
  auto store = master::open_sqlite_store(bench.loop, directory + "/store.db");
  if (!store.ok()) return 1;
  master::ServerOptions options;
  options.advertise_address = "192.0.2.1";
  bench.server = std::make_unique<master::ApiServer>(bench.loop, std::move(*store), options);
  if (!bench.server->start().ok()) return 1;
  bench.transport = bench.server->local_transport({"admin", {"system:masters"}});
  for (int i = 0; i < 100 && !bench.server->registry().cache("", "namespaces").find("/default"); ++i)
    bench.loop.run_once(std::chrono::milliseconds(50));
  bench.call_many(
      {Bench::request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kDefinition)}, 201);
  for (int i = 0; i < 100 && !bench.server->registry().resources().find("example.com", "v1", "things"); ++i)
    bench.loop.run_once(std::chrono::milliseconds(50));

  std::string filler(1500, 'x');
  std::map<std::string, std::vector<double>> seconds;
  for (int round = 0; round < rounds; ++round) {
    for (int turn = 0; turn < 2; ++turn) {
      bool custom = (round + turn) % 2;
      const char* collection = custom ? kTabs : kMaps;
      std::vector<base::http::Request> creates, gets, lists;
      for (int i = 0; i < objects; ++i) {
        std::string name = "o" + std::to_string(round) + "-" + std::to_string(i);
        creates.push_back(Bench::request(
            "POST", collection, R"({"metadata":{"name":")" + name + R"("},"data":{"k":")" + filler + "\"}}"));
        gets.push_back(Bench::request("GET", std::string(collection) + "/" + name));
      }
      for (int i = 0; i < 5; ++i) lists.push_back(Bench::request("GET", collection));
      auto timed = [&](const char* what, const std::vector<base::http::Request>& requests, int status) {
        auto begin = Clock::now();
        bench.call_many(requests, status);
        seconds[std::string(what) + (custom ? " custom" : " built-in")].push_back(
            std::chrono::duration<double>(Clock::now() - begin).count() /
            static_cast<double>(requests.size()));
      };
      timed("create", creates, 201);
      timed("get", gets, 200);
      timed("list", lists, 200);
    }
  }
  for (const char* what : {"create", "get", "list"}) {
    double custom = median(seconds[std::string(what) + " custom"]),
           built_in = median(seconds[std::string(what) + " built-in"]);
    std::printf("%-6s  ConfigMap %8.1f us  custom resource %8.1f us  ratio %.2f\n", what, built_in * 1e6,
                custom * 1e6, custom / built_in);
  }
  bench.transport.reset();
  bench.server.reset();
  return base::sys::remove_all(directory).ok() ? 0 : 1;
}
