// A small world for the plans of DaemonSets and StatefulSets: Pods that start, fail and are deleted by
// others, and a view that lags behind all of it but one's own writes, as the Gate has it.
#pragma once

#include <algorithm>
#include <map>

#include "master/controllers/revisions.h"
#include "tests/prop/draw.h"
#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers::worlds {

struct SetWorld {
  prop::Draw& draw;
  base::json::value object;
  base::Time now = golden::kNow;
  std::map<std::string, Pod> pods, seen;
  std::map<std::string, base::json::value> revisions;
  int born = 0;
  int faults = 0;  // percent of all acts that fail

  explicit SetWorld(prop::Draw& drawn) : draw(drawn) {}

  void set_template(int version) {
    object.get_object()["spec"].get_object()["template"] =
        base::parse_json(
            fmt::format(
                R"({{"metadata":{{"labels":{{"app":"s"}}}},"spec":{{"containers":[{{"name":"v{}"}}]}}}})",
                version))
            .value();
    json::value& generation = object.get_object()["metadata"].get_object()["generation"];
    generation = base::as_int(&generation) + 1;
  }
  bool fails() { return draw.chance(faults); }
  // What a merge patch of the status leaves.
  void write_status(const json::object& status) {
    json::object& own = base::object_at(object.get_object(), "status");
    for (const auto& item : status) {
      if (item.value().is_null()) own.erase(item.key());
      else own[item.key()] = item.value();
    }
  }
  void settle_revisions(const RevisionPlan& plan) {
    if (fails()) return;
    if (plan.create) {
      json::object made = *plan.create;
      const std::string name(base::string_at(json::value(made), "metadata", "name"));
      EXPECT_FALSE(revisions.contains(name)) << "a name twice";
      made["metadata"].get_object()["uid"] = "r-" + name;
      revisions[name] = made;
    }
    if (!plan.renumber.empty()) revisions.at(plan.renumber).get_object()["revision"] = plan.number;
    EXPECT_TRUE(plan.adopt.empty() && plan.release.empty());
  }
  Revisions seen_revisions() {
    Revisions out;
    for (const auto& [name, revision] : revisions)
      out.push_back(Revision::reader(kControllerRevisions)(revision));
    std::shuffle(out.begin(), out.end(), draw.random);
    return out;
  }
  std::vector<std::shared_ptr<const Pod>> seen_pods() {
    std::vector<std::shared_ptr<const Pod>> out;
    for (const auto& [name, pod] : seen) out.push_back(std::make_shared<Pod>(pod));
    std::shuffle(out.begin(), out.end(), draw.random);
    return out;
  }
  void see(const std::string& name) {
    if (auto at = pods.find(name); at != pods.end()) seen[name] = at->second;
    else seen.erase(name);
  }
  void see_all() {
    for (const auto& [name, pod] : std::map(seen)) see(name);
    for (const auto& [name, pod] : pods) see(name);
  }
  void create(const json::object& body, const std::string& name) {
    ASSERT_FALSE(pods.contains(name)) << "two Pods of one name";
    Pod pod;
    auto shape = std::make_shared<PodShape>();
    const json::value whole(body);
    shape->labels = read_labels(base::find_path(whole, "metadata", "labels"));
    pod.shape = shape;
    pod.meta.name = name;
    pod.meta.ns = "default";
    pod.meta.uid = fmt::format("uid-{}", born++);
    pod.meta.created = now;
    pod.owner_uid = controller_owner(whole).uid;
    pod.phase = "Pending";
    pods[name] = pod;
    see(name);
  }
  void remove(const std::string& name) {
    auto at = pods.find(name);
    if (at == pods.end()) return;  // gone meanwhile
    at->second.meta.deleting = true;
    see(name);
  }
  // What kubelets do between two rounds; with `trouble`, what goes wrong besides.
  void live(bool trouble) {
    now += std::chrono::seconds(draw.upto(20));
    if (trouble && draw.chance(3)) now -= std::chrono::hours(1);
    for (auto at = pods.begin(); at != pods.end();) {
      Pod& pod = at->second;
      if (pod.meta.deleting && draw.chance(50)) {
        at = pods.erase(at);
        continue;
      }
      const bool placed = !pod.node.empty() || pod.named_node.empty();
      if (pod.phase == "Pending" && placed && !pod.meta.deleting && draw.chance(50)) pod.phase = "Running";
      else if (pod.phase == "Running" && !pod.ready && draw.chance(50))
        pod.ready = true, pod.ready_since = now;
      if (trouble && draw.chance(5)) pod.phase = "Failed", pod.ready = false;
      if (trouble && draw.chance(5) && !pod.finished()) pod.ready = false;
      if (trouble && draw.chance(3)) pod.meta.deleting = true;
      ++at;
    }
    for (const auto& [name, pod] : std::map(seen))
      if (draw.chance(60)) see(name);
    for (const auto& [name, pod] : pods)
      if (!seen.contains(name) && draw.chance(60)) see(name);
  }
};

}  // namespace master::controllers::worlds
