// Clients of an API server, for tests/bench/api.py: closed loops that create Pods or patch their
// status, and watchers that time each event against the acknowledgement of its write. One loop, one
// connection per client; prints one JSON object.
//   api_load KUBECONFIG create CLIENTS COUNT FIRST BYTES
//   api_load KUBECONFIG patch CLIENTS COUNT PODS
//   api_load KUBECONFIG watch WATCHERS CHANGES
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "api/client/transport.h"
#include "base/http/client.h"
#include "base/json.h"

namespace {

using base::http::Client;
using base::http::Request;
using base::http::Response;
using Clock = std::chrono::steady_clock;
constexpr const char* kPods = "/api/v1/namespaces/default/pods";

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "api_load: %s\n", why.c_str());
  std::exit(1);
}
double ms(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// About `bytes` as it is stored; no scheduler takes it, so that nothing else is written.
std::string pod(int number, size_t bytes) {
  std::string name = "p" + std::to_string(number);
  std::string text =
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name +
      R"(","namespace":"default","labels":{"app":"bench","pod-template-hash":"6d4b75cb6d"},"annotations":{"note":"@"}},)"
      R"("spec":{"schedulerName":"none","containers":[{"name":"main","image":"registry.example/team/app:1.2.3","command":["/bin/app","--serve"],)"
      R"("env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"LEVEL","value":"info"}],)"
      R"("ports":[{"name":"http","containerPort":8080}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},)"
      R"("readinessProbe":{"httpGet":{"path":"/ready","port":"http"},"periodSeconds":5}}]}})";
  constexpr size_t kDefaults = 2010;  // what defaulting and managedFields add
  size_t pad = bytes > text.size() + kDefaults ? bytes - text.size() - kDefaults : 1;
  std::string filler;
  while (filler.size() < pad)
    filler += "the quick brown fox jumps over the lazy dog " + std::to_string(filler.size()) + "; ";
  filler.resize(pad);
  text.replace(text.find('@'), 1, filler);
  return text;
}

struct Load {
  base::Loop loop;
  Client::Options options;
  std::shared_ptr<base::tls::Context> context;
  std::string token;

  explicit Load(const char* path) {
    auto config = api::load_kubeconfig(path);
    if (!config.ok()) die(config.error().message());
    auto made = base::tls::Context::client(config->ca_pem, config->client);
    if (!made.ok()) die(made.error().message());
    context = *made;
    token = config->token;
    std::string_view rest = config->server;
    rest.remove_prefix(std::min(rest.size(), std::string_view("https://").size()));
    size_t colon = rest.rfind(':');
    options.host = std::string(rest.substr(0, colon));
    options.connect_timeout = std::chrono::seconds(60);
    options.port = std::atoi(std::string(rest.substr(colon + 1)).c_str());
  }
  Request request(std::string method, std::string target, std::string body = {},
                  std::string type = "application/json") {
    Request r;
    r.method = std::move(method);
    r.target = std::move(target);
    r.body = std::move(body);
    if (!r.body.empty()) r.headers.add("Content-Type", std::move(type));
    if (!token.empty()) r.headers.add("Authorization", "Bearer " + token);
    return r;
  }
  std::unique_ptr<Client> client() { return std::make_unique<Client>(loop, context, options); }
};

void print(const char* what, double seconds, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  auto at = [&](double share) {
    return times.empty() ? 0
                         : times[std::min(times.size() - 1,
                                          static_cast<size_t>(share * static_cast<double>(times.size())))];
  };
  std::printf(
      "{\"what\":\"%s\",\"count\":%zu,\"seconds\":%.3f,\"per_second\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
      "\"max_ms\":%.3f}\n",
      what, times.size(), seconds, static_cast<double>(times.size()) / seconds, at(0.5), at(0.99),
      times.empty() ? 0 : times.back());
}

// `clients` loops that each send the next request as soon as the last was answered.
void closed_loops(Load& load, const char* what, int clients, int count, int expected,
                  const std::function<Request(int)>& make) {
  struct Loop {
    std::unique_ptr<Client> client;
    std::unique_ptr<Client::Call> call;
    Clock::time_point sent;
  };
  std::vector<Loop> loops(static_cast<size_t>(clients));
  std::vector<double> times;
  times.reserve(static_cast<size_t>(count));
  int next = 0, done = 0, connected = 0;
  std::function<void(Loop&)> send = [&](Loop& one) {
    if (next == count) return;
    one.sent = Clock::now();
    one.call = one.client->call(make(next++), std::chrono::seconds(60), [&](base::Result<Response> response) {
      if (!response.ok()) die(response.error().message());
      if (response->status != expected) die(std::to_string(response->status) + ": " + response->body);
      times.push_back(ms(Clock::now() - one.sent));
      ++done;
      send(one);
    });
  };
  // Connections are made before the clock starts.
  for (Loop& one : loops) {
    one.client = load.client();
    one.call = one.client->call(load.request("GET", "/version"), std::chrono::seconds(60),
                                [&](base::Result<Response> response) {
                                  if (!response.ok()) die(response.error().message());
                                  ++connected;
                                });
  }
  while (connected < clients) load.loop.run_once(std::chrono::seconds(1));
  auto began = Clock::now();
  for (Loop& one : loops) send(one);
  while (done < count) load.loop.run_once(std::chrono::seconds(1));
  print(what, ms(Clock::now() - began) / 1000, std::move(times));
}

// One writer changes a config map; the next change begins when everybody has seen the last.
void watch(Load& load, int watchers, int changes) {
  constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
  auto client = load.client();
  struct Watcher {
    std::unique_ptr<Client> client;
    std::unique_ptr<Client::Call> call;
    int seen = -1;  // the first event is the state
    size_t tail = 0;
  };
  std::vector<Watcher> all(static_cast<size_t>(watchers));
  std::vector<std::vector<Clock::time_point>> arrivals(static_cast<size_t>(changes));
  std::vector<Clock::time_point> acks(static_cast<size_t>(changes));
  int change = -1, open = 0, missing = 0;
  bool acked = true;
  std::string value(2800, 'v');
  std::unique_ptr<Client::Call> call;
  auto put = [&](std::string method, std::string path, int n, int status) {
    std::string body =
        R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bench-watch"},"data":{"n":")" +
        std::to_string(n) + R"(","v":")" + value + "\"}}";
    acked = false;
    call = client->call(load.request(method, path, body), std::chrono::seconds(60),
                        [&, status](base::Result<Response> response) {
                          if (!response.ok()) die(response.error().message());
                          if (response->status != status)
                            die(std::to_string(response->status) + ": " + response->body);
                          acked = true;
                          if (change >= 0) acks[static_cast<size_t>(change)] = Clock::now();
                        });
    (void)n;
  };
  put("POST", kMaps, -1, 201);
  while (!acked) load.loop.run_once(std::chrono::seconds(1));
  int asked = 0;
  for (Watcher& w : all) {
    // Fifty handshakes at a time: a server gives none more than ten seconds.
    while (asked - open >= 50) load.loop.run_once(std::chrono::seconds(1));
    ++asked;
    w.client = load.client();
    w.call = w.client->stream(
        load.request("GET", std::string(kMaps) + "?watch=true&fieldSelector=metadata.name%3Dbench-watch"),
        [](const Response& response) {
          if (response.status != 200) die("watch: " + std::to_string(response.status));
        },
        [&](std::string_view data) {
          for (size_t at = 0; (at = data.find('\n', at)) != std::string_view::npos; ++at) {
            if (++w.seen == 0) {
              ++open;
              continue;
            }
            arrivals[static_cast<size_t>(w.seen - 1)].push_back(Clock::now());
            --missing;
          }
        },
        [](base::Status) { die("a watch ended"); });
  }
  while (open < watchers) load.loop.run_once(std::chrono::seconds(1));
  auto began = Clock::now();
  for (change = 0; change < changes; ++change) {
    missing = watchers;
    put("PUT", std::string(kMaps) + "/bench-watch", change, 200);
    while (!acked || missing > 0) load.loop.run_once(std::chrono::seconds(1));
  }
  double seconds = ms(Clock::now() - began) / 1000;
  --change;
  std::vector<double> times;
  for (size_t i = 0; i < arrivals.size(); ++i)
    for (auto arrival : arrivals[i]) times.push_back(std::max(0.0, ms(arrival - acks[i])));
  print("watch", seconds, std::move(times));
  put("DELETE", std::string(kMaps) + "/bench-watch", 0, 200);
  arrivals.emplace_back();
  acks.emplace_back();
  change = changes;
  while (!acked) load.loop.run_once(std::chrono::seconds(1));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) die("usage: api_load KUBECONFIG create|patch|watch …; see the head of the source");
  std::string what = argv[2];
  int concurrency = std::atoi(argv[3]), count = std::atoi(argv[4]);
  if (concurrency < 1 || count < 1) die("numbers must be positive");
  Load load(argv[1]);
  if (what == "create" && argc == 7) {
    int first = std::atoi(argv[5]);
    size_t bytes = static_cast<size_t>(std::atoi(argv[6]));
    closed_loops(load, "create", concurrency, count, 201,
                 [&](int i) { return load.request("POST", kPods, pod(first + i, bytes)); });
  } else if (what == "patch" && argc == 6) {
    int pods = std::atoi(argv[5]);
    closed_loops(load, "patch", concurrency, count, 200, [&](int i) {
      std::string body = R"({"status":{"phase":"Running","podIP":"10.244.0.7","message":"round )" +
                         std::to_string(i) + "\"}}";
      return load.request("PATCH", std::string(kPods) + "/p" + std::to_string(i % pods) + "/status", body,
                          "application/strategic-merge-patch+json");
    });
  } else if (what == "watch") {
    watch(load, concurrency, count);
  } else {
    die("usage: see the head of the source");
  }
}
