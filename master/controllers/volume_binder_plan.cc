#include "master/controllers/volume_binder_plan.h"

#include <algorithm>

#include "api/local_volumes.h"
#include "base/json_lists.h"
#include "master/controllers/volume_expand_plan.h"
#include "master/controllers/volume_provision_plan.h"

namespace master::controllers {

namespace {

bool is_set(const Labels& annotations, const char* key) { return annotations.count(key) != 0; }

bool is_bound_to(const Volume& volume, const Claim& claim) {
  return volume.claim && volume.claim->ns == claim.meta.ns && volume.claim->name == claim.meta.name &&
         (volume.claim->uid.empty() || volume.claim->uid == claim.meta.uid);
}
bool has_modes(const Volume& volume, const Claim& claim) {
  return std::all_of(claim.access_modes.begin(), claim.access_modes.end(), [&](const std::string& mode) {
    return std::find(volume.access_modes.begin(), volume.access_modes.end(), mode) !=
           volume.access_modes.end();
  });
}
std::string class_of(const Claim& claim) { return claim.storage_class.value_or(""); }

// The volume that was made for the claim; else the one with the fewest modes too many, of those the
// smallest.
std::shared_ptr<const Volume> match(const ClaimView& view, bool delayed, const Node* where) {
  const Claim& claim = *view.claim;
  auto better = [](const Volume& a, const Volume& b) {
    if (a.access_modes.size() != b.access_modes.size()) return a.access_modes.size() < b.access_modes.size();
    if (a.capacity != b.capacity) return a.capacity < b.capacity;
    return a.meta.name < b.meta.name;
  };
  std::shared_ptr<const Volume> own, best;
  for (const auto& volume : view.volumes) {
    if (!fits(*volume, claim)) continue;
    if (is_bound_to(*volume, claim)) {
      if (!own || better(*volume, *own)) own = volume;
    } else if (!delayed && !volume->claim && (!where || volume->admits(where->labels, where->meta.name))) {
      if (!best || better(*volume, *best)) best = volume;
    }
  }
  return own ? own : best;
}

// Why a volume that the claim names can't be its; empty: it can.
std::string mismatch(const Volume& volume, const Claim& claim) {
  if (volume.capacity < claim.request) return "requested PV is too small";
  if (volume.storage_class != class_of(claim)) return "storageClassName does not match";
  if (volume.volume_mode != claim.volume_mode) return "incompatible volumeMode";
  if (!has_modes(volume, claim)) return "incompatible accessMode";
  return {};
}

bool set_claim_phase(VolumePlan& plan, const Claim& claim, const char* phase) {
  if (claim.phase == phase) return false;
  json::object status{{"phase", phase}};
  for (const char* member : {"accessModes", "capacity"})
    if (base::find(claim.status, member)) status[member] = nullptr;
  plan.write = patch_claim_status(claim, std::move(status), fmt::format("phase {}", phase));
  return true;
}
void set_volume_phase(VolumePlan& plan, const VolumeView& view, const char* phase,
                      const std::string& message = {}) {
  if (view.volume->phase == phase) return;
  plan.write = patch_volume_status(*view.volume,
                                   {{"phase", phase},
                                    {"message", message.empty() ? json::value() : json::value(message)},
                                    {"lastPhaseTransitionTime", base::format_time(view.now)}},
                                   fmt::format("phase {}", phase));
}

// Four writes, each of which is done or not: the volume first, so that no two claims can have it.
VolumePlan bind(const ClaimView& view, const Volume& volume) {
  const Claim& claim = *view.claim;
  VolumePlan plan;
  if (!is_bound_to(volume, claim) || volume.claim->uid.empty()) {
    json::object metadata;
    if (!is_bound_to(volume, claim) && !is_set(volume.annotations, kBoundByController))
      metadata["annotations"] = json::object{{kBoundByController, "yes"}};
    plan.write = patch_volume(volume, std::move(metadata),
                              {{"claimRef",
                                {{"apiVersion", "v1"},
                                 {"kind", "PersistentVolumeClaim"},
                                 {"namespace", claim.meta.ns},
                                 {"name", claim.meta.name},
                                 {"uid", claim.meta.uid},
                                 {"resourceVersion", std::to_string(claim.meta.revision)}}}},
                              fmt::format("bind to {}", claim.meta.key()));
    return plan;
  }
  if (volume.phase != "Bound") {
    set_volume_phase(plan, {std::make_shared<Volume>(volume), view.claim, false, false, view.now}, "Bound");
    return plan;
  }
  json::object annotations, spec;
  if (claim.volume != volume.meta.name) {
    spec["volumeName"] = volume.meta.name;
    if (!is_set(claim.annotations, kBoundByController)) annotations[kBoundByController] = "yes";
  }
  if (!is_set(claim.annotations, kBindCompleted)) annotations[kBindCompleted] = "yes";
  if (!annotations.empty() || !spec.empty()) {
    json::object metadata;
    if (!annotations.empty()) metadata["annotations"] = std::move(annotations);
    plan.write =
        patch_claim(claim, std::move(metadata), std::move(spec), fmt::format("bind to {}", volume.meta.name));
    return plan;
  }
  json::object status;
  if (claim.phase != "Bound") {
    status["phase"] = "Bound";
    // Later it is for who has made the volume larger to say so.
    status["capacity"] = json::object{{"storage", volume.capacity_text}};
  }
  if (base::texts_of(base::find(claim.status, "accessModes")) != volume.access_modes)
    status["accessModes"] = base::list_of(volume.access_modes);
  if (!status.empty()) plan.write = patch_claim_status(claim, std::move(status), "phase Bound");
  return plan;
}

VolumePlan wait_for(const Claim& claim, VolumePlan plan = {}) {
  set_claim_phase(plan, claim, "Pending");
  return plan;
}

std::string quoted_list(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ",") + name;
  return out;
}

// Any volume will do.
VolumePlan plan_any(const ClaimView& view) {
  const Claim& claim = *view.claim;
  const std::string selected(label(claim.annotations, kSelectedNode));
  const bool delayed = view.storage_class && view.storage_class->waits_for_consumer && selected.empty();
  const Node* where = nullptr;
  for (const auto& node : view.nodes)
    if (!selected.empty() && node->meta.name == selected) where = node.get();
  if (auto volume = match(view, delayed || (!selected.empty() && !where), where)) return bind(view, *volume);
  VolumePlan plan;
  if (!claim.storage_class && view.by_default) {
    plan.write = patch_claim(claim, {}, {{"storageClassName", view.by_default->meta.name}},
                             fmt::format("class {}", view.by_default->meta.name));
    return plan;
  }
  if (delayed) {
    // Its consumer was given to a node by somebody who does not choose for claims: there it has to be.
    if (!view.consumer_node.empty()) {
      plan.write = patch_claim(claim, {{"annotations", json::object{{kSelectedNode, view.consumer_node}}}},
                               {}, fmt::format("selected node {}", view.consumer_node));
      return plan;
    }
    if (view.waiting_pods.empty())
      plan.events.push_back(
          {"Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding"});
    else
      plan.events.push_back(
          {"Normal", "WaitForPodScheduled",
           fmt::format("waiting for pod{} {} to be scheduled", view.waiting_pods.size() > 1 ? "s" : "",
                       quoted_list(view.waiting_pods))});
  } else if (!selected.empty() && view.storage_class &&
             view.storage_class->provisioner == "kubernetes.io/no-provisioner") {
    // What the scheduler had found there is another's by now: it chooses again.
    plan.write = patch_claim(claim, {{"annotations", json::object{{kSelectedNode, nullptr}}}}, {},
                             "forget the selected node");
    return plan;
  } else if (!class_of(claim).empty()) {
    plan = plan_provision(view);
    if (plan.write) return plan;
  } else {
    plan.events.push_back({"Normal", "FailedBinding",
                           "no persistent volumes available for this claim and no storage class is set"});
  }
  return wait_for(claim, std::move(plan));
}

// The claim says which.
VolumePlan plan_named(const ClaimView& view) {
  const Claim& claim = *view.claim;
  if (!view.named) return wait_for(claim);
  const Volume& volume = *view.named;
  VolumePlan plan;
  if (!volume.claim) {
    if (volume.meta.deleting) return wait_for(claim);
    const std::string why = mismatch(volume, claim);
    if (why.empty()) return bind(view, volume);
    plan.events.push_back({"Warning", "VolumeMismatch",
                           fmt::format("Cannot bind to requested volume \"{}\": {}", volume.meta.name, why)});
    return wait_for(claim, std::move(plan));
  }
  if (is_bound_to(volume, claim)) return bind(view, volume);
  plan.events.push_back({"Warning", "FailedBinding",
                         fmt::format("volume \"{}\" already bound to a different claim.", volume.meta.name)});
  return wait_for(claim, std::move(plan));
}

VolumePlan lose(const Claim& claim, const char* reason, const char* message) {
  VolumePlan plan;
  if (set_claim_phase(plan, claim, "Lost")) plan.done_events.push_back({"Warning", reason, message});
  return plan;
}

VolumePlan plan_bound(const ClaimView& view) {
  const Claim& claim = *view.claim;
  if (claim.volume.empty())
    return lose(claim, "ClaimLost",
                "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
  if (!view.named)
    return lose(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
  if (!view.named->claim || view.named->claim->uid == claim.meta.uid || is_bound_to(*view.named, claim)) {
    VolumePlan plan = bind(view, *view.named);
    return plan.write ? plan : plan_expansion(claim, *view.named, view.now);
  }
  return lose(claim, "ClaimMisbound",
              "Two claims are bound to the same volume, this one is bound incorrectly");
}

// Back to be anybody's, or, where a user wrote the claim's name, that claim's again.
VolumePlan unbind(const VolumeView& view) {
  const Volume& volume = *view.volume;
  VolumePlan plan;
  if (is_set(volume.annotations, kBoundByController))
    plan.write = patch_volume(volume, {{"annotations", json::object{{kBoundByController, nullptr}}}},
                              {{"claimRef", nullptr}}, fmt::format("unbind from {}", view.claim->meta.key()));
  else
    plan.write = patch_volume(volume, {}, {{"claimRef", json::object{{"uid", nullptr}}}},
                              fmt::format("forget the uid of {}", view.claim->meta.key()));
  return plan;
}

VolumePlan fail(const VolumeView& view, const char* reason, const std::string& message) {
  VolumePlan plan;
  set_volume_phase(plan, view, "Failed", message);
  if (plan.write) plan.done_events.push_back({"Warning", reason, message});
  return plan;
}

VolumePlan reclaim(const VolumeView& view) {
  const Volume& volume = *view.volume;
  VolumePlan plan;
  if (volume.phase != "Released" && volume.phase != "Failed") {
    set_volume_phase(plan, view, "Released");
    return plan;
  }
  if (volume.reclaim == "Retain" || volume.meta.deleting) return plan;
  if (volume.reclaim == "Recycle")
    return fail(view, "VolumeFailedRecycle", "No recycler plugin found for the volume!");
  if (volume.reclaim != "Delete")
    return fail(view, "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy");
  const std::string_view provisioner = label(volume.annotations, kProvisionedBy);
  if (is_provisioned_locally(volume)) {
    plan.write = VolumeWrite{VolumeWrite::Verb::kRemove,
                             VolumeWrite::Of::kVolume,
                             volume.meta,
                             {},
                             fmt::format("volume {}: delete", volume.meta.name)};
    return plan;
  }
  if (!provisioner.empty() && !provisioner.starts_with("kubernetes.io/")) return plan;  // that one deletes it
  return fail(view, "VolumeFailedDelete",
              fmt::format("error getting deleter volume plugin for volume \"{}\": no deletable volume plugin "
                          "matched",
                          volume.meta.name));
}

bool is_claims(const VolumeView& view) {
  return view.claim && view.claim->meta.uid == view.volume->claim->uid;
}

}  // namespace

VolumePlan plan_claim(const ClaimView& view) {
  const Claim& claim = *view.claim;
  if (is_set(claim.annotations, kBindCompleted)) return plan_bound(view);
  if (claim.meta.deleting) return {};
  return claim.volume.empty() ? plan_any(view) : plan_named(view);
}

bool needs_proof(const VolumeView& view) {
  return view.volume->claim && !view.volume->claim->uid.empty() && !is_claims(view) &&
         !(view.volume->meta.deleting && view.volume->phase == "Released");
}

VolumePlan plan_volume(const VolumeView& view) {
  const Volume& volume = *view.volume;
  VolumePlan plan;
  if (volume.meta.deleting && view.node_is_gone &&
      has_finalizer(volume.finalizers, api::local_volumes::kDataFinalizer)) {
    plan.write =
        patch_volume(volume, finalizers_without(volume.finalizers, api::local_volumes::kDataFinalizer), {},
                     "let go, its node is gone");
    return plan;
  }
  if (!volume.claim || volume.claim->uid.empty()) {
    if (!volume.meta.deleting) set_volume_phase(plan, view, "Available");
    return plan;
  }
  if (!is_claims(view)) return view.claim_is_gone ? reclaim(view) : plan;
  const Claim& claim = *view.claim;
  if (claim.volume.empty()) {
    if (volume.volume_mode != claim.volume_mode)
      plan.events.push_back({"Warning", "VolumeMismatch",
                             fmt::format("Cannot bind PersistentVolume to requested PersistentVolumeClaim "
                                         "\"{}\" due to incompatible volumeMode.",
                                         claim.meta.name)});
    return plan;  // the claim's own round goes on
  }
  if (claim.volume == volume.meta.name) {
    set_volume_phase(plan, view, "Bound");
    return plan;
  }
  if (is_set(volume.annotations, kProvisionedBy) && volume.reclaim == "Delete") return reclaim(view);
  return unbind(view);
}

}  // namespace master::controllers
