// The index answers as a search through every binding and role would, over random changes.
#include "master/auth/rbac_index.h"

#include <gtest/gtest.h>

#include <random>

namespace master {
namespace {

struct World {
  std::map<std::string, std::vector<PolicyRule>> roles;  // "ns/name", "/name"
  std::map<std::string, RbacBinding> bindings;
};

bool naive(const World& world, const User& user, const Access& access) {
  for (const auto& [key, binding] : world.bindings) {
    if (!binding.ns.empty() && (!access.is_resource || binding.ns != access.ns)) continue;
    bool applies = false;
    for (const RbacSubject& s : binding.subjects) {
      std::string ns = s.ns.empty() ? binding.ns : s.ns;
      applies |= (s.kind == "User" && s.name == user.name) || (s.kind == "Group" && user.in_group(s.name)) ||
                 (s.kind == "ServiceAccount" && !ns.empty() &&
                  user.name == "system:serviceaccount:" + ns + ":" + s.name);
    }
    if (!applies) continue;
    auto role = world.roles.find((binding.role_kind == "Role" ? binding.ns : "") + "/" + binding.role_name);
    if (role == world.roles.end()) continue;
    for (const PolicyRule& rule : role->second)
      if (allows(rule, access)) return true;
  }
  return false;
}

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  bool once_in(int n) { return random_() % static_cast<unsigned>(n) == 0; }
  std::string of(std::vector<std::string> list) { return list[random_() % list.size()]; }
  std::vector<std::string> some(const std::vector<std::string>& list) {
    std::vector<std::string> out{of(list)};
    while (once_in(2)) out.push_back(of(list));
    return out;
  }

 private:
  std::mt19937 random_;
};

TEST(RbacIndexProperty, AgreesWithASearch) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Dice dice(seed);
  const std::vector<std::string> verbs{"get", "list", "create", "approve", "*"}, groups{"", "apps", "*"},
      resources{"pods", "secrets", "pods/log", "*/log", "*"}, names{"a", "b"}, spaces{"", "x", "y"},
      users{"bob", "eve", "system:serviceaccount:x:robot"}, teams{"dev", "ops"}, role_names{"r", "s", "t"},
      urls{"/healthz", "/api/*", "*"};
  World world;
  RbacIndex index;
  for (int step = 0; step < 3000; ++step) {
    std::string ns = dice.of(spaces), name = dice.of(role_names);
    if (dice.once_in(3)) {
      std::vector<PolicyRule> rules;
      while (!dice.once_in(3)) {
        PolicyRule rule;
        rule.verbs = dice.some(verbs);
        if (dice.once_in(4)) {
          rule.non_resource_urls = dice.some(urls);
        } else {
          rule.api_groups = dice.some(groups);
          rule.resources = dice.some(resources);
          if (dice.once_in(3)) rule.resource_names = dice.some(names);
        }
        rule.compile();
        rules.push_back(std::move(rule));
      }
      if (dice.once_in(4)) {
        world.roles.erase(ns + "/" + name);
        index.remove_role(ns, name);
      } else {
        world.roles[ns + "/" + name] = rules;
        index.set_role(ns, name, rules);
      }
    } else if (dice.once_in(2)) {
      RbacBinding binding{
          ns, name, ns.empty() || dice.once_in(2) ? "ClusterRole" : "Role", dice.of(role_names), {}};
      while (!dice.once_in(3)) {
        RbacSubject subject{dice.of({"User", "Group", "ServiceAccount"}), "", ""};
        subject.name = subject.kind == "User"    ? dice.of(users)
                       : subject.kind == "Group" ? dice.of(teams)
                                                 : "robot";
        if (subject.kind == "ServiceAccount") subject.ns = dice.of(spaces);
        binding.subjects.push_back(std::move(subject));
      }
      if (dice.once_in(3)) {
        world.bindings.erase(ns + "/" + name);
        index.remove_binding(ns, name);
      } else {
        world.bindings[ns + "/" + name] = binding;
        index.set_binding(binding);
      }
    }
    User user{dice.of(users), dice.some(teams)};
    std::string verb = dice.of({"get", "list", "create", "approve"}), group = dice.of({"", "apps"}),
                resource = dice.of({"pods", "secrets"}), sub = dice.of({"", "log"}),
                object = dice.of({"", "a", "b"}), space = dice.of(spaces),
                path = dice.of({"/healthz", "/api/v1", "/x"});
    Access access{!dice.once_in(5), verb, space, group, resource, sub, object, {}, path};
    ASSERT_EQ(index.allowing(user, access) != nullptr, naive(world, user, access)) << "step " << step;
  }
}

}  // namespace
}  // namespace master
