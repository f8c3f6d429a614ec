// The kubelet's status patch against the API server's own strategic merge: one patch makes the status
// what is wanted, whatever it was, and conditions of others stay; then there is nothing left to send.
#include "kubelet/pod/status_patch.h"

#include <set>

#include "api/patch/patch.h"
#include "api/types.h"
#include "kubelet/pod/plan.h"
#include "tests/prop/draw.h"

namespace kubelet {
namespace {

namespace json = base::json;
using prop::Draw;

json::value merged(const json::value& have, const json::object& patch) {
  auto out = api::strategic_merge_patch(api::type_of<api::PodStatus>(), have, patch);
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message());
  return out.ok() ? *out : json::value();
}

std::string address(Draw& draw) { return "10.244.0." + std::to_string(draw.upto(3)); }

api::PodStatus some_status(Draw& draw) {
  api::PodStatus s;
  if (draw.chance(80)) s.phase = draw.chance(50) ? "Running" : "Pending";
  if (draw.chance(30)) s.reason = "Evicted";
  if (draw.chance(80)) s.pod_ip = address(draw);
  std::set<std::string> addresses;
  for (int i = draw.upto(3); i > 0; --i) addresses.insert(address(draw));
  for (const auto& ip : addresses)
    s.pod_ips.insert(s.pod_ips.begin() + draw.upto(static_cast<int>(s.pod_ips.size())), {.ip = ip});
  for (int i = draw.upto(2); i > 0; --i) s.host_ips.push_back({.ip = address(draw)});
  for (const char* type : {"Ready", "Initialized", "PodScheduled", "example.com/gate"}) {
    if (!draw.chance(70)) continue;
    api::PodCondition c{};
    c.type = type;
    c.status = draw.chance(50) ? "True" : "False";
    if (draw.chance(50)) c.reason = "Because";
    if (draw.chance(50)) c.message = "of " + std::to_string(draw.upto(2));
    s.conditions.insert(s.conditions.begin() + draw.upto(static_cast<int>(s.conditions.size())), c);
  }
  for (auto* list : {&s.container_statuses, &s.init_container_statuses})
    for (int i = draw.upto(2); i > 0; --i) {
      api::ContainerStatus c{};
      c.name = "c" + std::to_string(i);
      c.restart_count = draw.upto(2);
      if (draw.chance(50)) c.state.emplace().running.emplace();
      else c.state.emplace().waiting.emplace();
      list->push_back(c);
    }
  if (draw.chance(30)) s.allocated_resources["cpu"] = std::to_string(draw.upto(2));
  if (draw.chance(30)) s.allocated_resources["memory"] = std::to_string(draw.upto(2));
  if (draw.chance(30)) s.resources.emplace().limits["cpu"] = std::to_string(draw.upto(2));
  return s;
}

TEST(StatusPatch, MakesTheStatusWhatIsWanted) {
  prop::each_seed(3000, [](Draw& draw) {
    const json::value have = api::encode(some_status(draw)), want = api::encode(some_status(draw));
    const json::value after = merged(have, status_patch(api::type_of<api::PodStatus>(), have, want));
    EXPECT_EQ(after, want) << base::to_json(have) << "\n"
                           << base::to_json(after) << "\n"
                           << base::to_json(want);
    EXPECT_TRUE(status_patch(api::type_of<api::PodStatus>(), after, want).empty());
  });
}

// Rounds of the kubelet's loop while others write conditions and addresses come and go: after one
// patch the next plan wants nothing more.
TEST(StatusPatch, TheLoopRests) {
  prop::each_seed(500, [](Draw& draw) {
    auto pod = api::decode_text<api::Pod>(R"({"metadata":{"name":"p","namespace":"n","uid":"u"},"spec":{
        "hostNetwork":)" + std::string(draw.chance(20) ? "true" : "false") +
                                          R"(,"readinessGates":[{"conditionType":"example.com/gate"}],
        "initContainers":[{"name":"one","image":"x:1"}],"containers":[{"name":"web","image":"x:1"}]}})");
    ASSERT_TRUE(pod.ok());
    json::value status = api::encode(some_status(draw));
    base::Time now = *base::parse_time("2026-01-01T00:00:00Z");
    for (int round = 0; round < 8; ++round) {
      PodObserved seen;
      seen.first_seen = now;
      seen.network_ready = true;
      if (draw.chance(70)) seen.sandbox.ip = address(draw);
      if (draw.chance(70)) seen.sandbox.step = Step::kDone;
      for (const char* name : {"one", "web"}) {
        ContainerSeen& c = seen.containers[name];
        c.run = static_cast<kubelet::Run>(draw.upto(3));
        c.attempt = c.run == kubelet::Run::kNone ? -1 : draw.upto(3);
        c.exit.code = draw.upto(1);
        c.exit.reason = "Error";
      }
      const NodeFacts node{"192.0.2." + std::to_string(draw.upto(2))};
      for (int again = 0; again < 2; ++again) {
        now += std::chrono::seconds(draw.upto(3));  // a patch takes a while
        pod->status = *api::decode<api::PodStatus>(status);
        const json::value have = api::encode(*pod->status),
                          want = api::encode(pod_status(*pod, seen, node, now));
        if (again == 1) {
          EXPECT_EQ(base::to_json(have), base::to_json(want)) << "the loop never rests";
          break;
        }
        json::object patch = status_patch(api::type_of<api::PodStatus>(), have, want);
        // Between what we saw and what we patch, somebody else writes a condition.
        if (draw.chance(30)) {
          const json::object foreign{
              {"conditions", json::array{json::object{{"type", "example.com/late"}, {"status", "True"}}}}};
          status = merged(status, foreign);
        }
        status = merged(status, patch);
        if (const json::value* ips = base::find(status, "podIPs");
            ips && !seen.sandbox.ip.empty() && !*pod->spec->host_network) {
          ASSERT_EQ(ips->as_array().size(), 1u) << "an address that is gone stays";
          EXPECT_EQ(base::string_at(ips->as_array()[0], "ip"), seen.sandbox.ip);
        }
      }
    }
  });
}

}  // namespace
}  // namespace kubelet
