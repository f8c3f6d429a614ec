#include "master/admission/node_restriction.h"

#include <algorithm>
#include <set>

#include "api/certificates.h"
#include "api/local_volumes.h"
#include "api/status.h"
#include "base/json_lists.h"
#include "base/tls_request.h"
#include "master/auth/authorizer.h"
#include "master/auth/node_authorizer.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

namespace {

bool below(std::string_view domain, std::string_view parent) {
  return domain == parent || (domain.size() > parent.size() && domain.ends_with(parent) &&
                              domain[domain.size() - parent.size() - 1] == '.');
}
bool kubelet_label(std::string_view key, std::string_view domain) {
  constexpr std::string_view kAllowed[] = {"kubernetes.io/hostname",
                                           "kubernetes.io/arch",
                                           "kubernetes.io/os",
                                           "beta.kubernetes.io/arch",
                                           "beta.kubernetes.io/os",
                                           "beta.kubernetes.io/instance-type",
                                           "node.kubernetes.io/instance-type",
                                           "topology.kubernetes.io/zone",
                                           "topology.kubernetes.io/region",
                                           "failure-domain.beta.kubernetes.io/zone",
                                           "failure-domain.beta.kubernetes.io/region",
                                           "failure-domain.kubernetes.io/zone",
                                           "failure-domain.kubernetes.io/region"};
  return std::find(std::begin(kAllowed), std::end(kAllowed), key) != std::end(kAllowed) ||
         below(domain, "kubelet.kubernetes.io") || below(domain, "node.kubernetes.io");
}

class NodeRestriction final : public AdmissionPlugin {
 public:
  NodeRestriction(const ObjectCache& pods, const ObjectCache& nodes, AudienceCaches audiences,
                  const Authorizer& authorizer)
      : pods_(pods), nodes_(nodes), audiences_(audiences), authorizer_(authorizer) {}
  std::string_view name() const override { return "NodeRestriction"; }
  using AdmissionPlugin::validate;

  json::value validate(AdmissionAttributes& attributes) override {
    const User& user = attributes.request->user;
    if (!is_node(user)) return nullptr;
    std::string_view node = node_of(user);
    std::string why;
    json::value absent;  // a Status instead of `why`
    if (node.empty()) why = "could not determine node from user " + base::quoted(user.name);
    else if (attributes.is("", "pods")) why = check_pod(node, attributes, &absent);
    else if (attributes.is("", "nodes")) why = check_node(node, attributes);
    else if (attributes.is("", "persistentvolumeclaims")) why = check_claim(node, attributes);
    else if (attributes.is("", "persistentvolumes")) why = check_volume(node, attributes);
    else if (attributes.is("", "serviceaccounts")) why = check_token(node, attributes, &absent);
    else if (attributes.is("coordination.k8s.io", "leases")) {
      if (attributes.ns != "kube-node-lease")
        why = "can only access leases in the \"kube-node-lease\" system namespace";
      else if (attributes.name != node)
        why = "can only access node lease with the same name as the requesting node";
    } else if (attributes.is("storage.k8s.io", "csinodes") && attributes.name != node) {
      why = "can only access CSINode with the same name as the requesting node";
    } else if (attributes.is("resource.k8s.io", "resourceslices")) {
      why = check_slice(node, attributes);
    } else if (attributes.is("certificates.k8s.io", "certificatesigningrequests")) {
      why = check_signing_request(node, attributes);
    }
    if (!absent.is_null()) return absent;
    return why.empty() ? json::value(nullptr)
                       : api::forbidden(attributes.resource->named(), attributes.name, why);
  }

 private:
  // Each returns why not, "" when nothing speaks against it.
  std::string check_pod(std::string_view node, const AdmissionAttributes& attributes,
                        json::value* absent) const {
    std::string who = "node " + base::quoted(node);
    // Not from attributes.old: an eviction is a create. fields[0] of a Pod is its spec.nodeName.
    ObjectRef pod = pods_.find(object_key(attributes.ns, attributes.name));
    bool own = pod && pod->fields[0] == node;
    if (attributes.subresource == "status") {
      if (!own) return who + " can only update pod status for pods with spec.nodeName set to itself";
      const json::value *before = find_path(attributes.old, "metadata", "labels"),
                        *after = find_path(attributes.object, "metadata", "labels");
      static const json::value kNone = json::object();
      if ((before ? *before : kNone) != (after ? *after : kNone))
        return who + " cannot update labels through pod status";
      // What a Pod's status refers to, its node may read.
      if (list_at(find_path(attributes.old, "status", "resourceClaimStatuses")) !=
          list_at(find_path(attributes.object, "status", "resourceClaimStatuses")))
        return who + " cannot update resource claim statues";
      const json::value *had = find_path(attributes.old, "status", "extendedResourceClaimStatus"),
                        *has = find_path(attributes.object, "status", "extendedResourceClaimStatus");
      if ((had ? *had : json::value()) != (has ? *has : json::value()))
        return who + " cannot update extended resource claim status";
      return {};
    }
    if (attributes.subresource == "eviction")
      return own ? "" : "node " + std::string(node) + " can only evict pods with spec.nodeName set to itself";
    if (!attributes.subresource.empty())
      return "unexpected pod subresource " + base::quoted(attributes.subresource) +
             ", only 'status' and 'eviction' are allowed";
    if (attributes.operation == Operation::kDelete)
      return own ? "" : who + " can only delete pods with spec.nodeName set to itself";
    if (attributes.operation == Operation::kCreate) return check_mirror_pod(node, attributes, absent);
    return "unexpected operation " + base::quoted(to_string(attributes.operation)) + ", " + who +
           " can only create and delete mirror pods";
  }

  std::string check_mirror_pod(std::string_view node, const AdmissionAttributes& attributes,
                               json::value* absent) const {
    const json::value& pod = attributes.object;
    std::string who = "node " + base::quoted(node);
    if (!find_path(pod, "metadata", "annotations", "kubernetes.io/config.mirror"))
      return "pod does not have \"kubernetes.io/config.mirror\" annotation, " + who +
             " can only create mirror pods";
    if (string_at(pod, "spec", "nodeName") != node)
      return who + " can only create pods with spec.nodeName set to itself";
    const json::array& owners = list_at(find_path(pod, "metadata", "ownerReferences"));
    if (owners.size() > 1) return who + " can only create pods with a single owner reference set to itself";
    if (owners.empty() || string_at(owners[0], "apiVersion") != "v1" ||
        string_at(owners[0], "kind") != "Node" || string_at(owners[0], "name") != node)
      return who + " can only create pods with an owner reference set to itself";
    if (!base::as_bool(find(owners[0], "controller")))
      return who + " can only create pods with a controller owner reference set to itself";
    if (base::as_bool(find(owners[0], "blockOwnerDeletion")))
      return who + " must not set blockOwnerDeletion on an owner reference";
    ObjectRef own = nodes_.find(object_key("", node));
    if (!own) {
      *absent = api::not_found({"", "nodes"}, node);
      return {};
    }
    if (uid_of(*own) != string_at(owners[0], "uid"))
      return "node " + std::string(node) + " UID mismatch: expected " +
             std::string(string_at(owners[0], "uid")) + " got " + uid_of(*own);
    if (!list_at(find_path(pod, "spec", "resourceClaims")).empty())
      return who + " can not create pods that reference resourceclaims";
    for (const json::value& volume : list_at(find_path(pod, "spec", "volumes")))
      for (const json::value& source : list_at(find_path(volume, "projected", "sources")))
        if (find(source, "clusterTrustBundle"))
          return who + " can not create pods that reference clustertrustbundles";
    for (const std::string& reference : pod_references(pod)) {
      std::string kind = reference.substr(0, reference.find('/'));
      if (kind == "serviceaccounts")
        kind = "a service account";  // the default one is not named yet when a node asks
      return who + " can not create pods that reference " + kind;
    }
    return {};
  }

  static std::string check_node(std::string_view node, const AdmissionAttributes& attributes) {
    std::string who = "node " + base::quoted(node);
    if (attributes.name != node)
      return who + " is not allowed to modify node " + base::quoted(attributes.name);
    auto listed = [](const std::vector<std::string>& labels) {
      std::string out;
      for (const std::string& label : labels) out += (out.empty() ? "" : ", ") + label;
      return out;
    };
    // An owner that does not exist would have the node collected, and it could come back without its taints.
    const json::array &had_owners = list_at(find_path(attributes.old, "metadata", "ownerReferences")),
                      &owners = list_at(find_path(attributes.object, "metadata", "ownerReferences"));
    const json::value *had_source = find_path(attributes.old, "spec", "configSource"),
                      *source = find_path(attributes.object, "spec", "configSource");
    const bool new_source = source && !source->is_null() && (!had_source || *had_source != *source);
    auto labels = labels_not_for_nodes(find_path(attributes.old, "metadata", "labels"),
                                       find_path(attributes.object, "metadata", "labels"));
    if (attributes.operation == Operation::kCreate) {
      if (new_source) return who + " is not allowed to create pods with a non-nil configSource";
      if (!owners.empty()) return who + " is not allowed to set ownerReferences";
      return labels.empty() ? "" : who + " is not allowed to set the following labels: " + listed(labels);
    }
    if (attributes.operation != Operation::kUpdate) return {};
    if (list_at(find_path(attributes.old, "spec", "taints")) !=
        list_at(find_path(attributes.object, "spec", "taints")))
      return who + " is not allowed to modify taints";
    if (new_source) return who + " is not allowed to update configSource to a new non-nil configSource";
    if (had_owners != owners) return who + " is not allowed to modify ownerReferences";
    return labels.empty() ? "" : "is not allowed to modify labels: " + listed(labels);
  }

  static std::string check_claim(std::string_view node, const AdmissionAttributes& attributes) {
    if (attributes.subresource != "status" || attributes.operation != Operation::kUpdate)
      return "may only update PVC status";
    auto without = [](json::value claim) {
      json::object& object = claim.get_object();
      json::object& metadata = base::object_at(object, "metadata");
      metadata.erase("resourceVersion");
      metadata.erase("managedFields");
      json::object& status = base::object_at(object, "status");
      for (const char* own : {"capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"})
        status.erase(own);
      return claim;
    };
    if (without(attributes.old) == without(attributes.object)) return {};
    return "node " + base::quoted(node) +
           " is not allowed to update fields other than status.capacity and status.conditions";
  }

  // Whose volume it is, the authorizer has looked at.
  static std::string check_volume(std::string_view node, const AdmissionAttributes& attributes) {
    const bool deleted = !string_at(attributes.old, "metadata", "deletionTimestamp").empty();
    auto without = [&](json::value volume) {
      json::object& metadata = base::object_at(volume.get_object(), "metadata");
      metadata.erase("resourceVersion");
      metadata.erase("managedFields");
      base::object_at(metadata, "annotations").erase(api::local_volumes::kSizeAnnotation);
      json::array rest;
      for (const json::value& one : list_at(metadata.if_contains("finalizers")))
        if (!deleted || base::as_string(&one) != api::local_volumes::kDataFinalizer) rest.push_back(one);
      metadata["finalizers"] = std::move(rest);
      return volume;
    };
    if (attributes.operation == Operation::kUpdate && attributes.subresource.empty() &&
        without(attributes.old) == without(attributes.object))
      return {};
    return "node " + base::quoted(node) +
           " may only say how large its volumes are, and let go of the data of those that are deleted";
  }

  std::string check_token(std::string_view node, const AdmissionAttributes& attributes,
                          json::value* absent) const {
    if (attributes.operation != Operation::kCreate || attributes.subresource != "token") return {};
    const json::value* reference = find_path(attributes.object, "spec", "boundObjectRef");
    if (!reference || string_at(*reference, "kind") != "Pod" || string_at(*reference, "apiVersion") != "v1" ||
        string_at(*reference, "name").empty())
      return "node requested token not bound to a pod";
    std::string uid(string_at(*reference, "uid"));
    if (uid.empty()) return "node requested token with a pod binding without a uid";
    ObjectRef pod = pods_.find(object_key(attributes.ns, string_at(*reference, "name")));
    if (!pod) {
      *absent = api::not_found({"", "pods"}, string_at(*reference, "name"));
      return {};
    }
    json::value parsed = parse_object(*pod->text);
    if (string_at(parsed, "metadata", "uid") != uid)
      return "the UID in the bound object reference (" + uid +
             ") does not match the UID in record. The object might have been deleted and then recreated";
    if (string_at(parsed, "spec", "nodeName") != node)
      return "node requested token bound to a pod scheduled on a different node";
    return check_audience(parsed, attributes);
  }

  // Only an audience that the Pod asks for, or that the node was given a right to: none means "", which is
  // the API server's own and has to be asked for all the same.
  std::string check_audience(const json::value& pod, const AdmissionAttributes& attributes) const {
    const json::array& audiences = list_at(find_path(attributes.object, "spec", "audiences"));
    if (audiences.size() > 1) return "node may only request 0 or 1 audiences";
    std::string audience(audiences.empty() ? std::string_view() : base::as_string(&audiences[0]));
    auto asked = asks_for_audience(pod, audience, audiences_);
    if (!asked.ok())
      return "error validating audience " + base::quoted(audience) + ": " + asked.error().reason;
    if (*asked) return {};
    const User& user = attributes.request->user;
    Access access{
        true, "request-serviceaccounts-token-audience", attributes.ns, "", audience, "", attributes.name, {},
        {}};
    if (authorizer_.allows(user, access)) return {};
    return "audience " + base::quoted(audience) + " not found in pod spec volume, " + user.name +
           " is not authorized to request tokens for this audience";
  }

  // Its own certificates only; all else about a request the signers look at.
  static std::string check_signing_request(std::string_view node, const AdmissionAttributes& attributes) {
    if (attributes.operation != Operation::kCreate) return {};
    const api::CertificateSpec spec = api::read_certificate_spec(attributes.object);
    if (spec.signer != api::kKubeletServingSigner && spec.signer != api::kKubeletClientSigner) return {};
    auto name = base::tls::read_signing_request(spec.request_pem);
    if (!name.ok()) return "unable to parse csr: " + name.error().message();
    std::string own = "system:node:" + std::string(node);
    return name->common_name == own ? "" : "can only create a node CSR with CN=" + own;
  }

  // Whose slice an update is of, the authorizer has looked at.
  static std::string check_slice(std::string_view node, const AdmissionAttributes& attributes) {
    if (attributes.operation == Operation::kCreate &&
        string_at(attributes.object, "spec", "nodeName") != node)
      return "can only create ResourceSlice with the same NodeName as the requesting node";
    if (attributes.operation == Operation::kDelete && string_at(attributes.old, "spec", "nodeName") != node)
      return "can only delete ResourceSlice with the same NodeName as the requesting node";
    return {};
  }

  static std::string uid_of(const StoredObject& object) {
    auto parsed = base::parse_json(*object.text);
    return parsed.ok() ? std::string(string_at(*parsed, "metadata", "uid")) : std::string();
  }

  const ObjectCache &pods_, &nodes_;
  const AudienceCaches audiences_;
  const Authorizer& authorizer_;
};

}  // namespace

std::vector<std::string> labels_not_for_nodes(const json::value* before, const json::value* after) {
  std::set<std::string> out;
  auto differing = [&](const json::value* from, const json::value* in) {
    if (!from || !from->is_object()) return;
    for (const auto& [key, value] : from->get_object()) {
      const json::value* other = in ? find(*in, key) : nullptr;
      if (other && *other == value) continue;
      std::string_view name = key, domain = name.substr(0, name.find('/') == name.npos ? 0 : name.find('/'));
      bool restricted = below(domain, "node-restriction.kubernetes.io");
      bool ours = below(domain, "kubernetes.io") || below(domain, "k8s.io");
      if (restricted || (ours && !kubelet_label(name, domain))) out.insert(std::string(name));
    }
  };
  differing(before, after);
  differing(after, before);
  return {out.begin(), out.end()};
}

std::unique_ptr<AdmissionPlugin> make_node_restriction(const ObjectCache& pods, const ObjectCache& nodes,
                                                       AudienceCaches audiences,
                                                       const Authorizer& authorizer) {
  return std::make_unique<NodeRestriction>(pods, nodes, audiences, authorizer);
}

}  // namespace master
