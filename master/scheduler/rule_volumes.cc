// Volumes: VolumeRestrictions (a claim for one Pod), VolumeBinding (where claims' volumes can be reached, or
// made), VolumeZone.
#include <algorithm>

#include "api/local_volumes.h"
#include "master/scheduler/rule.h"
#include "master/scheduler/volumes.h"

namespace master::scheduler {
namespace {

using controllers::Claim;
using controllers::Volume;

std::string key_of_claim(const Ask& ask, const std::string& claim) {
  return controllers::key_of(ask.ns, claim);
}

struct RestrictionsFilter : Filter {
  explicit RestrictionsFilter(const Question& q) {
    for (const std::string& name : q.ask.claims) {
      const std::string key = key_of_claim(q.ask, name);
      if (!is_for_one_pod(q.picture.volumes().claim(key))) continue;
      wanted.insert(key);
      users += q.picture.volumes().users(key);
    }
  }
  Refusal refuses(const Node&) const override {
    if (users <= 0) return {};
    return {{"node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"},
            false};
  }
  void move(const Ask& pod, bool, const Node&, int sign) override {
    for (const std::string& name : pod.claims) users += wanted.count(key_of_claim(pod, name)) ? sign : 0;
  }
  std::set<std::string> wanted;
  int users = 0;
};

struct BindingFilter : Filter {
  explicit BindingFilter(const Question& q) : volumes(q.picture.volumes()) {
    for (const std::string& name : q.ask.claims)
      if (auto claim = volumes.claim(key_of_claim(q.ask, name))) claims.push_back(std::move(claim));
    // The smallest first, each the smallest volume that fits, as the binder does: more of them find one.
    std::stable_sort(claims.begin(), claims.end(),
                     [](const auto& a, const auto& b) { return a->request < b->request; });
    for (const auto& claim : claims) candidates.push_back(is_bound(*claim) ? Candidates() : fitting(*claim));
  }
  using Candidates = std::vector<std::shared_ptr<const Volume>>;
  // Wherever they are; the smallest first.
  Candidates fitting(const Claim& claim) const {
    Candidates out;
    for (const auto& [name, volume] : volumes.all()) {
      const bool its = volume->claim && volume->claim->ns == claim.meta.ns &&
                       volume->claim->name == claim.meta.name &&
                       (volume->claim->uid.empty() || volume->claim->uid == claim.meta.uid);
      if ((!volume->claim || its) && controllers::fits(*volume, claim)) out.push_back(volume);
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const auto& a, const auto& b) { return a->capacity < b->capacity; });
    return out;
  }
  Refusal refuses(const Node& node) const override {
    Refusal out;
    auto add = [&](const char* reason) {
      if (std::find(out.reasons.begin(), out.reasons.end(), reason) == out.reasons.end())
        out.reasons.emplace_back(reason);
      out.for_good = true;
    };
    std::set<std::string> taken;  // by another claim of this Pod
    for (size_t i = 0; i < claims.size(); ++i) {
      const auto& claim = claims[i];
      if (is_bound(*claim)) {
        auto volume = volumes.volume(claim->volume);
        if (!volume) add("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
        else if (!volume->admits(node.labels, node.name)) add("node(s) had volume node affinity conflict");
      } else if (!can_be_here(*claim, candidates[i], node, taken)) {
        add("node(s) didn't find available persistent volumes to bind");
      }
    }
    return out;
  }
  bool can_be_here(const Claim& claim, const Candidates& fit, const Node& node,
                   std::set<std::string>& taken) const {
    if (const auto chosen = claim.annotations.find(controllers::kSelectedNode);
        chosen != claim.annotations.end() && !chosen->second.empty())
      return chosen->second == node.name;  // it is being made there
    for (const auto& volume : fit)
      if (volume->admits(node.labels, node.name) && taken.insert(volume->meta.name).second) return true;
    auto cls = volumes.storage_class(claim.storage_class.value_or(""));
    if (!cls || cls->provisioner == "kubernetes.io/no-provisioner") return false;
    if (cls->provisioner == api::local_volumes::kProvisioner && !node.has_local_volumes) return false;
    return cls->topologies.empty() ||
           std::any_of(cls->topologies.begin(), cls->topologies.end(),
                       [&](const Selector& one) { return one.matches(node.labels); });
  }
  const Volumes& volumes;
  std::vector<std::shared_ptr<const Claim>> claims;
  std::vector<Candidates> candidates;  // of each claim
};

constexpr const char* kZones[] = {"topology.kubernetes.io/zone", "topology.kubernetes.io/region",
                                  "failure-domain.beta.kubernetes.io/zone",
                                  "failure-domain.beta.kubernetes.io/region"};
struct ZoneFilter : Filter {
  Refusal refuses(const Node& node) const override {
    for (const auto& volume : volumes)
      for (const char* key : kZones) {
        auto wanted = volume->labels.find(key);
        if (wanted == volume->labels.end()) continue;
        const std::string* has = node.label(key);
        if (!has) {
          if (is_somewhere(node)) return {{"node(s) had no available volume zone"}, true};
          continue;
        }
        // Several are written a__b.
        if (("__" + wanted->second + "__").find("__" + *has + "__") == std::string::npos)
          return {{"node(s) had no available volume zone"}, true};
      }
    return {};
  }
  static bool is_somewhere(const Node& node) {
    return std::any_of(std::begin(kZones), std::end(kZones),
                       [&](const char* key) { return node.label(key); });
  }
  std::vector<std::shared_ptr<const Volume>> volumes;
};

// What is wrong with the Pod's claims wherever it goes.
std::string blocked(const Question& q) {
  const Volumes& volumes = q.picture.volumes();
  bool waits = false;
  for (const std::string& name : q.ask.claims) {
    auto claim = volumes.claim(key_of_claim(q.ask, name));
    if (!claim && q.ask.ephemeral_claims.count(name))
      return fmt::format("waiting for ephemeral volume controller to create the persistentvolumeclaim \"{}\"",
                         name);
    if (!claim) return fmt::format("persistentvolumeclaim \"{}\" not found", name);
    if (claim->phase == "Lost")
      return fmt::format("persistentvolumeclaim \"{}\" bound to non-existent persistentvolume \"{}\"", name,
                         claim->volume);
    if (claim->meta.deleting) return fmt::format("persistentvolumeclaim \"{}\" is being deleted", name);
    waits |= !is_bound(*claim) && !waits_for_consumer(*claim, volumes);
  }
  return waits ? "pod has unbound immediate PersistentVolumeClaims" : "";
}

bool helps_volumes(const Ask& waiting, const Change& change) {
  if (change.claim)
    return change.claim->ns == waiting.ns && std::find(waiting.claims.begin(), waiting.claims.end(),
                                                       change.claim->name) != waiting.claims.end();
  return !waiting.claims.empty() &&
         change.what & (Change::kVolumes | Change::kNodeAdded | Change::kNodeLabels | Change::kPodRemoved);
}

}  // namespace

const Rule volume_restrictions_rule = {"VolumeRestrictions",
                                       [](const Question& q) -> std::unique_ptr<Filter> {
                                         if (q.ask.claims.empty()) return nullptr;
                                         return std::make_unique<RestrictionsFilter>(q);
                                       },
                                       nullptr, 0, helps_volumes};
const Rule volume_binding_rule = {"VolumeBinding",
                                  [](const Question& q) -> std::unique_ptr<Filter> {
                                    if (q.ask.claims.empty()) return nullptr;
                                    return std::make_unique<BindingFilter>(q);
                                  },
                                  nullptr,
                                  0,
                                  helps_volumes,
                                  blocked};
const Rule volume_zone_rule = {"VolumeZone",
                               [](const Question& q) -> std::unique_ptr<Filter> {
                                 auto filter = std::make_unique<ZoneFilter>();
                                 for (const std::string& name : q.ask.claims)
                                   if (auto claim = q.picture.volumes().claim(key_of_claim(q.ask, name)))
                                     if (auto volume = q.picture.volumes().volume(claim->volume))
                                       filter->volumes.push_back(std::move(volume));
                                 if (filter->volumes.empty()) return nullptr;
                                 return filter;
                               },
                               nullptr, 0, helps_volumes};

}  // namespace master::scheduler
