// Services of 3 endpoints each, in a fresh network namespace: how long the table takes to load, one
// endpoint to change, the table to be read back; beside it the same as a chain per Service and per
// endpoint, as kube-proxy's nftables mode writes it, through `nft -f`.
//   proxy_load [SERVICES (10000)] [CHAIN_SERVICES (1000; 0 = leave it out)]
#include <sched.h>

#include <cstdio>

#include "base/process.h"
#include "proxy/nft_exec.h"
#include "proxy/service_plan.h"

namespace {

using namespace proxy;
double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}
auto now() { return std::chrono::steady_clock::now(); }
void must(const base::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "proxy_load: %s\n", status.error().message().c_str());
  std::exit(1);
}
Service service(int i) {
  Service s;
  s.ns = "default";
  s.name = "s" + std::to_string(i);
  s.type = "ClusterIP";
  s.cluster_ip = fmt::format("10.96.{}.{}", i >> 8, i & 255);
  s.ports = {{"http", 6, 80, 0}};
  return s;
}
EndpointSlice slice(int i, int shift) {
  EndpointSlice s;
  s.ns = "default";
  s.name = s.service = "s" + std::to_string(i);
  s.ports = {{"http", 6, 8080}};
  for (int e = 0; e < 3; ++e)
    s.endpoints.push_back(
        {{fmt::format("10.244.{}.{}", (i * 3 + e + shift) >> 8 & 255, (i * 3 + e + shift) & 255)},
         true,
         true,
         false,
         e ? "n2" : "n1",
         ""});
  return s;
}
std::string chains(int services) {
  std::string text =
      "add table ip kp\ndelete table ip kp\ntable ip kp {\n"
      " map svc { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
      " chain pre { type nat hook prerouting priority -100; ip daddr . meta l4proto . th dport vmap @svc; "
      "}\n";
  for (int i = 0; i < services; ++i) {
    EndpointSlice s = slice(i, 0);
    for (int e = 0; e < 3; ++e)
      text += fmt::format(
          " chain e_{0}_{1} {{ ip saddr {2} meta mark set mark or 0x4000; meta l4proto tcp dnat to {2}:8080; "
          "}}\n",
          i, e, s.endpoints[static_cast<size_t>(e)].addresses[0]);
    text += fmt::format(
        " chain s_{0} {{ ip saddr != 10.244.0.0/16 meta mark set mark or 0x4000; numgen random mod 3 vmap "
        "{{ 0 : goto e_{0}_0, 1 : goto e_{0}_1, 2 : goto e_{0}_2 }}; }}\n",
        i);
  }
  text += "}\n";
  for (int i = 0; i < services; ++i)
    text += fmt::format("add element ip kp svc {{ {} . tcp . 80 : goto s_{} }}\n", service(i).cluster_ip, i);
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  int services = argc > 1 ? std::atoi(argv[1]) : 10'000, peer = argc > 2 ? std::atoi(argv[2]) : 1000;
  if (::unshare(CLONE_NEWNET) != 0) {
    std::printf("skip: root\n");
    return 77;
  }
  Nftables nft({"sampan", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"});
  must(nft.open());
  auto begin = now();
  must(nft.load_skeleton());
  double skeleton_ms = ms_since(begin);

  begin = now();
  Table table;
  Node node{"n1", {"192.0.2.11"}};
  std::vector<Action> actions;
  auto plan = [&](int i, int shift) {
    EndpointSlice one = slice(i, shift);
    auto more = table.set("default/s" + std::to_string(i), elements_of(service(i), {&one}, node));
    actions.insert(actions.end(), more.begin(), more.end());
  };
  for (int i = 0; i < services; ++i) plan(i, 0);
  double plan_ms = ms_since(begin);
  begin = now();
  must(nft.act(actions));
  double act_ms = ms_since(begin);
  std::printf(
      "%d Services x 3: skeleton %.1f ms, plan %.1f ms, load of %zu changes %.1f ms; together %.1f ms\n",
      services, skeleton_ms, plan_ms, actions.size(), act_ms, skeleton_ms + plan_ms + act_ms);

  std::vector<double> changes;
  for (int i = 0; i < 200; ++i) {
    actions.clear();
    begin = now();
    plan(i * 37 % services, i + 1);
    must(nft.act(actions));
    changes.push_back(ms_since(begin));
  }
  std::sort(changes.begin(), changes.end());
  std::printf("one Service changed: p50 %.3f ms, p99 %.3f ms\n", changes[100], changes[197]);

  begin = now();
  auto observed = nft.observe();
  must(observed.ok() ? base::Status() : base::Status(observed.error()));
  auto drift = table.reconcile(*observed);
  std::printf("restart: read %zu elements back and compare %.1f ms, %zu to change\n",
              observed->elements.size(), ms_since(begin), drift.size());
  if (!drift.empty()) return 1;

  if (peer > 0) {
    std::string text = chains(peer);
    begin = now();
    auto done = base::run_command({"nft", "-f", "-"}, text);
    double peer_ms = ms_since(begin);
    if (!done.ok() || done->status.code != 0) return std::fprintf(stderr, "%s\n", done->err.c_str()), 1;
    std::printf("chains per Service and endpoint, %d Services, nft -f: %.0f ms\n", peer, peer_ms);
  }
  return 0;
}
