// The compiled sets against a judge that reads the policies as their definition says, packet by packet; and
// the table after any sequence of changes against one made from nothing.
#include <gtest/gtest.h>

#include "netns/netns.h"
#include "proxy/policy_plan.h"
#include "tests/prop/draw.h"

namespace proxy {
namespace {

namespace json = base::json;

struct World {
  std::map<std::string, json::value> policies, pods;
  std::map<std::string, Labels> namespaces;
  std::map<std::string, base::Ip> links;
};

std::string pick(prop::Draw& draw, std::initializer_list<const char*> of) {
  return *(of.begin() + draw.upto(static_cast<int>(of.size()) - 1));
}
json::object draw_labels(prop::Draw& draw) {
  json::object out;
  for (const char* key : {"app", "tier"})
    if (draw.chance(60)) out[key] = pick(draw, {"a", "b", "c"});
  return out;
}
json::object draw_selector(prop::Draw& draw) {
  json::object out;
  if (draw.chance(40)) out["matchLabels"] = draw_labels(draw);
  if (draw.chance(30)) {
    json::object expression{{"key", pick(draw, {"app", "tier"})},
                            {"operator", pick(draw, {"In", "NotIn", "Exists", "DoesNotExist"})}};
    if (expression["operator"].as_string().ends_with("In")) expression["values"] = json::array{"a", "c"};
    out["matchExpressions"] = json::array{std::move(expression)};
  }
  return out;
}
json::object draw_rule(prop::Draw& draw, const char* peers) {
  json::object rule;
  json::array from, ports;
  for (int i = draw.upto(3); i > 0; --i) {
    json::object peer;
    if (draw.chance(25)) {
      json::object block{
          {"cidr", pick(draw, {"10.244.0.0/16", "10.244.1.0/30", "192.0.2.0/24", "0.0.0.0/0"})}};
      if (draw.chance(50))
        block["except"] =
            json::array{pick(draw, {"10.244.1.0/31", "192.0.2.0/25", "10.244.0.4/30"}), "10.244.1.2/32"};
      peer["ipBlock"] = std::move(block);
    } else {
      if (draw.chance(70)) peer["podSelector"] = draw_selector(draw);
      if (draw.chance(50) || peer.empty()) peer["namespaceSelector"] = draw_selector(draw);
    }
    from.push_back(std::move(peer));
  }
  for (int i = draw.upto(2); i > 0; --i) {
    json::object port;
    if (draw.chance(60)) port["protocol"] = pick(draw, {"TCP", "UDP", "SCTP"});
    if (draw.chance(40)) port["port"] = pick(draw, {"http", "dns"});
    else if (draw.chance(80)) {
      const int first = 78 + draw.upto(4);
      port["port"] = first;
      if (draw.chance(40)) port["endPort"] = first + draw.upto(3);
    }
    ports.push_back(std::move(port));
  }
  if (!from.empty() || draw.chance(50)) rule[peers] = std::move(from);
  if (!ports.empty() || draw.chance(50)) rule["ports"] = std::move(ports);
  return rule;
}
json::value draw_policy(prop::Draw& draw, const std::string& ns, const std::string& name) {
  json::object spec;
  if (draw.chance(90)) spec["podSelector"] = draw_selector(draw);
  json::array in, out, types;
  for (int i = draw.upto(2); i > 0; --i) in.push_back(draw_rule(draw, "from"));
  for (int i = draw.upto(2); i > 0; --i) out.push_back(draw_rule(draw, "to"));
  if (draw.chance(70)) {
    if (draw.chance(70)) types.push_back("Ingress");
    if (draw.chance(60) || types.empty()) types.push_back("Egress");
    spec["policyTypes"] = std::move(types);
  }
  if (!in.empty() || draw.chance(50)) spec["ingress"] = std::move(in);
  if (!out.empty() || draw.chance(50)) spec["egress"] = std::move(out);
  return json::object{{"metadata", json::object{{"namespace", ns}, {"name", name}}},
                      {"spec", std::move(spec)}};
}
json::value draw_pod(prop::Draw& draw, const std::string& ns, const std::string& name,
                     const std::string& node, const std::string& ip) {
  json::array ports;
  for (const char* port : {"http", "dns"})
    if (draw.chance(60))
      ports.push_back(json::object{{"name", port},
                                   {"containerPort", 78 + draw.upto(5)},
                                   {"protocol", pick(draw, {"TCP", "TCP", "UDP"})}});
  json::object spec{{"nodeName", node},
                    {"containers", json::array{json::object{{"ports", std::move(ports)}}}}};
  if (draw.chance(5)) spec["hostNetwork"] = true;
  return json::object{
      {"metadata",
       json::object{{"namespace", ns}, {"name", name}, {"uid", ns + name}, {"labels", draw_labels(draw)}}},
      {"spec", std::move(spec)},
      {"status", json::object{{"podIP", ip}, {"phase", draw.chance(5) ? "Succeeded" : "Running"}}}};
}

// ---- the judge: nothing of the code under test but selectors and addresses ----

struct Side {
  base::Ip ip;
  const json::value* pod = nullptr;  // null: no Pod, or one of the host's network
};
class Judge {
 public:
  explicit Judge(const World& world) : world_(world) {}
  bool allows(const Packet& packet) const {
    Side from = side(packet.source), to = side(packet.destination);
    if (packet.source == packet.destination && from.pod) return true;
    return one_way(packet, from, to, false) && one_way(packet, to, from, true);
  }

 private:
  static bool lives(const json::value& pod) {
    return base::string_at(pod, "status", "phase") == "Running" &&
           !base::as_bool(base::find_path(pod, "spec", "hostNetwork"));
  }
  Side side(base::Ip ip) const {
    for (const auto& [key, pod] : world_.pods)
      if (lives(pod) && base::Ip::parse_v4(base::string_at(pod, "status", "podIP")) == ip) return {ip, &pod};
    return {ip, nullptr};
  }
  bool one_way(const Packet& packet, const Side& subject, const Side& peer, bool ingress) const {
    // Where the subject is no Pod of this node, others judge; an unknown address of the node is denied.
    if (!base::Cidr::parse_v4("10.244.0.0/24")->contains(subject.ip)) return true;
    if (!subject.pod) return false;
    bool isolated = false;
    for (const auto& [key, policy] : world_.policies) {
      const json::value& spec = *base::find(policy, "spec");
      if (base::string_at(policy, "metadata", "namespace") != ns_of(*subject.pod)) continue;
      const json::value* selector = base::find(spec, "podSelector");
      if (selector && !selects(selector, *subject.pod)) continue;
      const json::value *types = base::find(spec, "policyTypes"),
                        *rules = base::find(spec, ingress ? "ingress" : "egress");
      bool concerned = ingress || (rules && !rules->as_array().empty());
      if (types) {
        concerned = false;
        for (const json::value& type : types->as_array())
          concerned |= base::as_string(&type) == (ingress ? "Ingress" : "Egress");
      }
      if (!concerned) continue;
      isolated = true;
      if (!rules) continue;
      for (const json::value& rule : rules->as_array())
        if (is_peer(base::find(rule, ingress ? "from" : "to"), ns_of(*subject.pod), peer) &&
            is_port(base::find(rule, "ports"), packet, ingress ? subject : peer))
          return true;
    }
    return !isolated;
  }
  static std::string ns_of(const json::value& pod) {
    return std::string(base::string_at(pod, "metadata", "namespace"));
  }
  static bool selects(const json::value* selector, const json::value& pod) {
    return api::selector_of_json(selector)->matches(base::find_path(pod, "metadata", "labels"));
  }
  bool is_peer(const json::value* peers, const std::string& ns, const Side& side) const {
    if (!peers || peers->as_array().empty()) return true;
    for (const json::value& peer : peers->as_array()) {
      if (const json::value* block = base::find(peer, "ipBlock")) {
        bool in = base::Cidr::parse_v4(base::string_at(*block, "cidr"))->contains(side.ip);
        if (const json::value* except = base::find(*block, "except"))
          for (const json::value& hole : except->as_array())
            in &= !base::Cidr::parse_v4(base::as_string(&hole))->contains(side.ip);
        if (in) return true;
        continue;
      }
      if (!side.pod) continue;
      const json::value *pods = base::find(peer, "podSelector"),
                        *spaces = base::find(peer, "namespaceSelector");
      const std::string theirs = ns_of(*side.pod);
      auto labels = world_.namespaces.find(theirs);
      if (spaces ? !api::selector_of_json(spaces)->matches(labels == world_.namespaces.end() ? Labels()
                                                                                             : labels->second)
                 : theirs != ns)
        continue;
      if (!pods || selects(pods, *side.pod)) return true;
    }
    return false;
  }
  static bool is_port(const json::value* ports, const Packet& packet, const Side& destination) {
    if (!ports || ports->as_array().empty()) return true;
    auto protocol = [](const json::value& at) {
      std::string_view name = base::string_at(at, "protocol");
      return name == "UDP" ? 17 : name == "SCTP" ? 132 : 6;
    };
    for (const json::value& port : ports->as_array()) {
      if (protocol(port) != packet.protocol) continue;
      const json::value *at = base::find(port, "port"), *end = base::find(port, "endPort");
      if (!at) return true;
      if (at->is_string()) {
        if (!destination.pod) continue;
        for (const json::value& container :
             base::find_path(*destination.pod, "spec", "containers")->as_array())
          for (const json::value& named : base::find(container, "ports")->as_array())
            if (base::find(named, "name")->as_string() == at->as_string() &&
                protocol(named) == packet.protocol &&
                base::as_int(base::find(named, "containerPort")) == packet.port)
              return true;
        continue;
      }
      if (packet.port >= base::as_int(at) && packet.port <= (end ? base::as_int(end) : base::as_int(at)))
        return true;
    }
    return false;
  }
  const World& world_;
};

void fill(PolicyTable& table, const World& world) {
  table.set_node("n0", base::Cidr::parse_v4("10.244.0.0/24"));
  for (const auto& [name, labels] : world.namespaces) table.set_namespace(name, labels);
  for (const auto& [key, pod] : world.pods) table.set_pod(key, policy_pod_from(pod));
  for (const auto& [key, policy] : world.policies) table.set_policy(policy_from(policy));
  table.set_links(world.links);
}

// Numbers depend on what came first: an element's meaning does not.
using Kernel = std::map<std::string, std::string>;
Kernel elements_in(const std::string& text) {
  Kernel out;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    at = end + 1;
    size_t list = line.find("elements = { ");
    if (list == line.npos || line.find("flags interval") != line.npos) continue;
    std::string set = line.substr(6, line.find(' ', 6) - 6);
    std::string items = line.substr(list + 13, line.find(" }", list) - list - 13) + ", ";
    for (size_t next; (next = items.find(", ")) != items.npos; items.erase(0, next + 2)) {
      std::string item = items.substr(0, next);
      size_t colon = item.find(" : ");
      out[set + " " + item.substr(0, colon)] = colon == item.npos ? "" : item.substr(colon + 3);
    }
  }
  return out;
}

TEST(PolicyTableProperty, SetsJudgeAsThePoliciesSay) {
  prop::each_seed(300, [](prop::Draw& draw) {
    World world;
    PolicyTable table;
    Kernel kernel;  // what a kernel that obeys holds
    table.set_node("n0", base::Cidr::parse_v4("10.244.0.0/24"));
    size_t denied = 0;
    for (int step = 0; step < 12; ++step) {
      for (int change = draw.upto(5); change >= 0; --change) {
        const std::string ns = pick(draw, {"x", "y", "z"});
        const int number = draw.upto(3);
        if (draw.chance(15)) {
          if (draw.chance(20)) world.namespaces.erase(ns), table.set_namespace(ns, std::nullopt);
          else {
            world.namespaces[ns].clear();
            for (const auto& member : draw_labels(draw))
              world.namespaces[ns][std::string(member.key())] = std::string(member.value().as_string());
            table.set_namespace(ns, world.namespaces[ns]);
          }
        } else if (draw.chance(40)) {
          const std::string name = "p" + std::to_string(number), key = ns + "/" + name;
          if (draw.chance(25)) world.policies.erase(key), table.remove_policy(key);
          else {
            world.policies[key] = draw_policy(draw, ns, name);
            table.set_policy(policy_from(world.policies[key]));
          }
        } else {
          // Each Pod has an address of its own, the same whenever it lives.
          const int local = draw.upto(1);
          const std::string name = "n" + std::to_string(local) + "-" + std::to_string(number),
                            key = ns + "/" + name;
          const std::string ip =
              fmt::format("10.244.{}.{}", local, (ns[0] - 'x') * 4 + number + (local ? 0 : 2));
          const std::string link = netns::host_link_name(ns + name);
          if (draw.chance(25)) {
            world.pods.erase(key);
            world.links.erase(link);
            table.set_pod(key, std::nullopt);
          } else {
            world.pods[key] = draw_pod(draw, ns, name, "n" + std::to_string(local), ip);
            table.set_pod(key, policy_pod_from(world.pods[key]));
            if (local == 0) world.links[link] = *base::Ip::parse_v4(ip);
          }
          table.set_links(world.links);
        }
      }
      auto changes = table.converge();
      if (changes.structure) kernel = elements_in(table.text("t"));
      for (const PolicyAction& action : changes.actions) {
        const std::string key = action.element.text();
        const bool valid = action.add ? kernel.emplace(key, action.verdict).second : kernel.erase(key) == 1;
        ASSERT_TRUE(valid) << action.text();
      }
      ASSERT_EQ(kernel, elements_in(table.text("t")));
      Judge judge(world);
      for (int i = 0; i < 120; ++i) {
        auto address = [&] {
          if (draw.chance(10)) return base::Ip::v4(192, 0, 2, static_cast<uint8_t>(draw.upto(255)));
          return base::Ip::v4(10, 244, static_cast<uint8_t>(draw.upto(1)),
                              static_cast<uint8_t>(draw.upto(14)));
        };
        constexpr uint8_t kProtocols[] = {6, 6, 6, 17, 17, 132, 1};
        const uint8_t protocol = kProtocols[draw.upto(6)];
        Packet packet{address(), address(), protocol,
                      static_cast<uint16_t>(protocol == 1 ? 0 : 77 + draw.upto(9))};
        ASSERT_EQ(table.allows(packet), judge.allows(packet))
            << packet.source.text() << " to " << packet.destination.text() << " " << int{packet.protocol}
            << "/" << packet.port << "\n"
            << table.text("t");
        denied += !table.allows(packet);
      }
      PolicyTable fresh;
      fill(fresh, world);
      (void)fresh.converge();
      ASSERT_EQ(fresh.text("t").empty(), false);
      for (int a = 0; a < 15; ++a)
        for (int b = 0; b < 15; ++b) {
          Packet packet{base::Ip::v4(10, 244, 0, static_cast<uint8_t>(a)),
                        base::Ip::v4(10, 244, 1, static_cast<uint8_t>(b)), 6, 80};
          ASSERT_EQ(table.allows(packet), fresh.allows(packet));
        }
    }
    EXPECT_GT(denied, 0u);  // of 1,440 packets: the property is about something
  });
}

}  // namespace
}  // namespace proxy
