#include "kubelet/volumes/claims.h"

#include <algorithm>
#include <memory>

#include "api/local_volumes.h"
#include "api/node_terms.h"
#include "api/quantity.h"

namespace kubelet {

namespace json = base::json;
using base::string_at;

namespace {
const api::Resource kClaims{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true};
const api::Resource kVolumes{"", "v1", "persistentvolumes", "PersistentVolume", false};

base::Error not_yet(std::string reason) {
  return base::make_error(base::Kind::kUnavailable, "mount volume of a claim", {}, std::move(reason));
}
// What the API server answered, without the request and the code.
std::string said(const base::Error& error) {
  const size_t at = error.reason.find(": ");
  return error.reason.starts_with("HTTP ") && at != std::string::npos ? error.reason.substr(at + 2)
         : error.reason.empty()                                       ? error.message()
                                                                      : error.reason;
}

struct Round {
  api::Pod pod;
  NodePlace here;
  std::vector<std::pair<std::string, std::string>> left;
  Claims found;
  std::function<void(base::Result<Claims>)> done;

  void fail(const std::string& volume, const std::string& claim, const std::string& why) {
    if (why.starts_with("MountVolume.")) return done(not_yet(why));
    done(not_yet("Unable to attach or mount volumes: unmounted volumes=[" + volume +
                 "], unattached volumes=[], failed to process volumes=[" + volume +
                 "]: error processing PVC " + pod.metadata.namespace_ + "/" + claim + ": " + why));
  }
};

void next_claim(api::Client& client, std::shared_ptr<Round> round);

void take_volume(api::Client& client, std::shared_ptr<Round> round, const std::string& volume,
                 const json::value& claim, const json::value& object) {
  if (needs_node_labels(object) && !round->here.labels)
    return client.get(api::resources::nodes, "", round->here.node,
                      [&client, round, volume, claim, object](base::Result<json::value> node) {
                        const std::string name(string_at(claim, "metadata", "name"));
                        if (!node.ok())
                          return round->fail(volume, name,
                                             "failed to fetch Node from API server: " + said(node.error()));
                        round->here.labels.emplace();
                        if (const json::value* labels = base::find_path(*node, "metadata", "labels");
                            labels && labels->is_object())
                          for (const auto& [key, value] : labels->get_object())
                            round->here.labels->emplace(key, base::as_string(&value));
                        take_volume(client, round, volume, claim, object);
                      });
  if (auto fits = check_mode(round->pod, volume, object); !fits.ok())
    return round->fail(volume, std::string(string_at(claim, "metadata", "name")), fits.error().reason);
  auto resolved = claimed_volume(claim, object, round->here);
  if (!resolved.ok())
    return round->fail(volume, std::string(string_at(claim, "metadata", "name")), resolved.error().reason);
  round->found[volume] = std::move(*resolved);
  next_claim(client, round);
}

void next_claim(api::Client& client, std::shared_ptr<Round> round) {
  if (round->left.empty()) return round->done(std::move(round->found));
  auto [volume, claim] = round->left.back();
  round->left.pop_back();
  client.get(
      kClaims, round->pod.metadata.namespace_, claim,
      [&client, round, volume, claim](base::Result<json::value> object) {
        if (!object.ok())
          return round->fail(volume, claim, "failed to fetch PVC from API server: " + said(object.error()));
        if (auto may = check_claim(round->pod, volume, *object); !may.ok())
          return round->fail(volume, claim, may.error().reason);
        const std::string name(string_at(*object, "spec", "volumeName"));
        client.get(kVolumes, "", name,
                   [&client, round, volume, claim, its = *object](base::Result<json::value> object) {
                     if (!object.ok())
                       return round->fail(volume, claim,
                                          "failed to fetch PV from API server: " + said(object.error()));
                     take_volume(client, round, volume, its, *object);
                   });
      });
}
}  // namespace

std::map<std::string, std::string> claims_of(const api::Pod& pod) {
  std::map<std::string, std::string> out;
  if (!pod.spec) return out;
  for (const auto& volume : pod.spec->volumes) {
    if (volume.persistent_volume_claim) out[volume.name] = volume.persistent_volume_claim->claim_name;
    else if (volume.ephemeral) out[volume.name] = pod.metadata.name + "-" + volume.name;
  }
  return out;
}

base::Status check_claim(const api::Pod& pod, const std::string& volume, const json::value& claim) {
  const std::string ns(string_at(claim, "metadata", "namespace")), name(string_at(claim, "metadata", "name"));
  for (const auto& one : pod.spec->volumes) {
    if (one.name != volume || !one.ephemeral) continue;
    bool own = false;
    if (const json::value* owners = base::find_path(claim, "metadata", "ownerReferences");
        owners && owners->is_array())
      for (const json::value& owner : owners->get_array())
        own |= string_at(owner, "uid") == pod.metadata.uid && base::as_bool(base::find(owner, "controller"));
    if (!own)
      return not_yet("PVC " + ns + "/" + name + " was not created for pod " + pod.metadata.namespace_ + "/" +
                     pod.metadata.name + " (pod is not owner)");
  }
  if (!string_at(claim, "metadata", "deletionTimestamp").empty()) return not_yet("PVC is being deleted");
  const std::string phase(string_at(claim, "status", "phase")), bound(string_at(claim, "spec", "volumeName"));
  if (phase != "Bound" || bound.empty())
    return not_yet("PVC " + ns + "/" + name + " has non-bound phase (\"" + phase +
                   "\") or empty pvc.Spec.VolumeName (\"" + bound + "\")");
  return {};
}

base::Status check_mode(const api::Pod& pod, const std::string& volume, const json::value& object) {
  const bool block = string_at(object, "spec", "volumeMode") == "Block";
  auto check = [&](const api::Container& c) -> base::Status {
    for (const auto& mount : c.volume_mounts)
      if (block && mount.name == volume)
        return not_yet("volume " + volume + " has volumeMode Block, but is specified in volumeMounts");
    for (const auto& device : c.volume_devices)
      if (!block && device.name == volume)
        return not_yet("volume " + volume + " has volumeMode Filesystem, but is specified in volumeDevices");
    return {};
  };
  for (const auto* list : {&pod.spec->init_containers, &pod.spec->containers})
    for (const auto& c : *list) TRY(check(c));
  return {};
}

bool needs_node_labels(const json::value& volume) {
  return base::find_path(volume, "spec", "nodeAffinity", "required") &&
         string_at(volume, "metadata", "annotations", "pv.kubernetes.io/provisioned-by") !=
             api::local_volumes::kProvisioner;  // whose label says the node
}

base::Result<ClaimedVolume> claimed_volume(const json::value& claim, const json::value& volume,
                                           const NodePlace& here) {
  namespace names = api::local_volumes;
  ClaimedVolume out;
  out.volume = string_at(volume, "metadata", "name");
  out.uid = string_at(volume, "metadata", "uid");
  if (string_at(volume, "spec", "claimRef", "uid") != string_at(claim, "metadata", "uid"))
    return not_yet("PV " + out.volume + " is not bound to this claim");
  out.is_block = string_at(volume, "spec", "volumeMode") == "Block";
  const std::string local(string_at(volume, "spec", "local", "path"));
  if (string_at(volume, "metadata", "annotations", "pv.kubernetes.io/provisioned-by") ==
      names::kProvisioner) {
    // Its name becomes a path: it must be the one that the master made of it, on this node.
    if (string_at(volume, "metadata", "labels", names::kNodeLabel) != names::node_label(here.node))
      return not_yet("PV " + out.volume + " lies on another node");
    if (!names::is_volume_name(out.volume) || local != here.local_volumes + "/" + out.volume)
      return not_yet("PV " + out.volume + " is not below this node's directory " + here.local_volumes);
    out.is_local = out.takes_group = true;
    out.path = local;
    auto size = api::Quantity::parse(string_at(volume, "spec", "capacity", "storage"));
    if (!size.ok() || size->to_bytes() <= 0) return not_yet("PV " + out.volume + " has no capacity");
    out.size_bytes = size->to_bytes();
    return out;
  }
  if (needs_node_labels(volume) &&
      (!here.labels || !api::admits(api::volume_node_terms(volume), *here.labels, here.node)))
    return not_yet("MountVolume.NodeAffinity check failed for volume \"" + out.volume +
                   "\" : no matching NodeSelectorTerms");
  if (!local.empty()) {
    out.path = local;
    out.takes_group = true;
  } else {
    out.path = string_at(volume, "spec", "hostPath", "path");
    out.host_type = string_at(volume, "spec", "hostPath", "type");
    out.is_host_path = true;
    if (out.is_block && !out.path.empty())
      return not_yet("PV " + out.volume + " has volumeMode Block, which a hostPath can't be: use local");
  }
  if (out.path.empty())
    return not_yet("PV " + out.volume +
                   " is of a kind that is not supported: use hostPath, local, or a class of provisioner "
                   "sampan.io/local");
  if (out.path[0] != '/' || out.path.find("..") != std::string::npos ||
      out.path.find('\0') != std::string::npos)
    return not_yet("PV " + out.volume + " has no absolute path");
  return out;
}

void fetch_claims(api::Client& client, const api::Pod& pod, NodePlace here,
                  std::function<void(base::Result<Claims>)> done) {
  auto round = std::make_shared<Round>(Round{pod, std::move(here), {}, {}, std::move(done)});
  for (const auto& [volume, claim] : claims_of(pod)) round->left.emplace_back(volume, claim);
  std::reverse(round->left.begin(), round->left.end());
  next_claim(client, std::move(round));
}

}  // namespace kubelet
