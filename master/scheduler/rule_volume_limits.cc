// NodeVolumeLimits: a node takes so many volumes of a CSI driver, as its CSINode says. A volume that several
// Pods use counts once; a claim that has no volume yet counts as one of its class's provisioner.
#include "base/json_lists.h"
#include "master/scheduler/rule.h"
#include "master/scheduler/volumes.h"

namespace master::scheduler {

Volumes::Limits read_limits(const json::value& csi_node) {
  Volumes::Limits out;
  for (const json::value& driver : base::list_at(base::find_path(csi_node, "spec", "drivers")))
    if (const json::value* count = base::find_path(driver, "allocatable", "count");
        count && !count->is_null())
      out[std::string(base::string_at(driver, "name"))] = base::as_int(count);
  return out;
}

namespace {

struct DriverVolume {
  std::string driver, handle;
  auto operator<=>(const DriverVolume&) const = default;
};
std::set<DriverVolume> driver_volumes(const Ask& ask, const Volumes& volumes) {
  std::set<DriverVolume> out;
  for (const std::string& name : ask.claims) {
    const std::string key = controllers::key_of(ask.ns, name);
    auto claim = volumes.claim(key);
    if (!claim) continue;
    if (auto volume = volumes.volume(claim->volume)) {
      if (!volume->csi_driver.empty()) out.insert({volume->csi_driver, volume->csi_handle});
    } else if (auto cls = volumes.storage_class(claim->storage_class.value_or(""));
               cls && !cls->provisioner.starts_with("kubernetes.io/")) {
      out.insert({cls->provisioner, "claim:" + key});
    }
  }
  return out;
}

struct LimitsFilter : Filter {
  LimitsFilter(const Question& q, std::set<DriverVolume> wants)
      : picture(q.picture), wanted(std::move(wants)) {}
  Refusal refuses(const Node& node) const override {
    const Volumes::Limits* limits = picture.volumes().limits(node.name);
    if (!limits) return {};
    std::map<DriverVolume, int> users;
    if (const Node* real = picture.node(node.name))
      for (const Placed* pod : real->here)
        for (const DriverVolume& one : driver_volumes(*pod->ask, picture.volumes())) ++users[one];
    if (auto at = moved.find(node.slot); at != moved.end())
      for (const auto& [one, more] : at->second) users[one] += more;
    std::map<std::string, int64_t> used, added;
    for (const auto& [one, count] : users) used[one.driver] += count > 0;
    for (const DriverVolume& one : wanted)
      if (auto at = users.find(one); at == users.end() || at->second <= 0) ++added[one.driver];
    for (const auto& [driver, more] : added)
      if (auto limit = limits->find(driver); limit != limits->end() && used[driver] + more > limit->second)
        return {{"node(s) exceed max volume count"}, false};
    return {};
  }
  void move(const Ask& pod, bool, const Node& node, int sign) override {
    for (const DriverVolume& one : driver_volumes(pod, picture.volumes())) moved[node.slot][one] += sign;
  }
  const Picture& picture;
  const std::set<DriverVolume> wanted;
  std::map<int, std::map<DriverVolume, int>> moved;  // by node
};

}  // namespace

const Rule node_volume_limits_rule = {"NodeVolumeLimits",
                                      [](const Question& q) -> std::unique_ptr<Filter> {
                                        if (q.ask.claims.empty() || !q.picture.volumes().has_limits())
                                          return nullptr;
                                        auto wanted = driver_volumes(q.ask, q.picture.volumes());
                                        if (wanted.empty()) return nullptr;
                                        return std::make_unique<LimitsFilter>(q, std::move(wanted));
                                      },
                                      nullptr, 0,
                                      [](const Ask& waiting, const Change& change) {
                                        return !waiting.claims.empty() &&
                                               (change.what & (Change::kVolumes | Change::kPodRemoved)) != 0;
                                      }};

}  // namespace master::scheduler
