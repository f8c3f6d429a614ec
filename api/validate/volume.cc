// Where a volume's data come from: the sources of a Pod's volumes and of PersistentVolumes. One row a
// source; what the tables already demand (`required`) is not repeated here.
// Source of the rules: pkg/apis/core/validation of Kubernetes.
#include <re2/re2.h>

#include <algorithm>
#include <set>

#include "api/validate/container.h"

namespace api::rules {
namespace {

// In a PersistentVolume some sources name more: namespaces of Secrets, the endpoints' namespace.
struct Place {
  std::string_view volume_name;
  bool persistent;
};
using SourceCheck = void (*)(Errors& e, const View& source, const Place& place);

void in_range(Errors& e, const View& number, int64_t low, int64_t high, int64_t shown_low) {
  if (number.has() && (number.number() < low || number.number() > high))
    e.invalid(
        number.path(), number.number(),
        "must be between " + std::to_string(shown_low) + " and " + std::to_string(high) + ", inclusive");
}
void file_mode(Errors& e, const View& mode) {
  if (mode.has() && (mode.number() < 0 || mode.number() > 0777))
    e.invalid(mode.path(), mode.number(), "must be a number between 0 and 0777 (octal), both inclusive");
}
// Files of a volume that the node agent writes: below its root, and not among its own "..data".
void local_path(Errors& e, const View& path) {
  std::string text(path.text());
  relative_path(e, path.path(), text);
  if (text.starts_with("..") && !text.starts_with("../") && text != "..")
    e.invalid(path.path(), text, "must not start with '..'");
}
void items(Errors& e, const View& list) {
  list.each([&](const View& item) {
    local_path(e, item["path"]);
    file_mode(e, item["mode"]);
  });
}
void downward_file(Errors& e, const View& file, const std::string& shown_as) {
  static const std::vector<std::string> kFields = {"metadata.annotations", "metadata.labels", "metadata.name",
                                                   "metadata.namespace", "metadata.uid"};
  View field = file["fieldRef"], resource = file["resourceFieldRef"];
  local_path(e, file["path"]);
  file_mode(e, file["mode"]);
  if (!field.has() && !resource.has())
    e.required(shown_as, "one of fieldRef and resourceFieldRef is required");
  if (field.has() && resource.has())
    e.invalid(shown_as, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
  if (field.has()) {
    std::string path(field["fieldPath"].text());
    bool subscript = (path.starts_with("metadata.labels['") || path.starts_with("metadata.annotations['")) &&
                     path.ends_with("']");
    if (!path.empty() && !subscript && std::find(kFields.begin(), kFields.end(), path) == kFields.end())
      e.not_supported(field["fieldPath"].path(), path, kFields);
  } else if (ResourceFieldSelector from; resource.has() && read(e, resource.shown(), &from)) {
    resource_field(e, resource.path(), from, true);
  }
}
void secret_reference(Errors& e, const View& secret) {  // of another namespace, as drivers need it
  if (!secret.has()) return;
  if (!secret["name"].filled()) e.required(secret["name"].path());
  else e.all(secret["name"].path(), secret["name"].text(), check_dns1123_subdomain(secret["name"].text()));
  if (!secret["namespace"].filled()) e.required(secret["namespace"].path());
  else
    e.all(secret["namespace"].path(), secret["namespace"].text(),
          check_dns1123_label(secret["namespace"].text()));
}
void named_secret(Errors& e, const View& secret, const Place& place) {
  if (!secret.has()) return;
  if (!secret["name"].filled()) e.required(secret["name"].path());
  if (place.persistent && !secret["namespace"].filled()) e.required(secret["namespace"].path());
}

void host_path(Errors& e, const View& source, const Place&) {
  no_parent_steps(e, source["path"].path(), std::string(source["path"].text()));
}
void git_repo(Errors& e, const View& source, const Place&) {
  relative_path(e, source["directory"].path(), std::string(source["directory"].text()));
}
void empty_dir(Errors& e, const View& source, const Place&) {
  if (source["sizeLimit"].filled())
    quantity(e, source["sizeLimit"].path(), std::string(source["sizeLimit"].text()));
}
void partition(Errors& e, const View& source, const Place&) { in_range(e, source["partition"], 0, 255, 1); }
void config_map(Errors& e, const View& source, const Place&) {
  if (!source["name"].filled()) e.required(source["name"].path());
  file_mode(e, source["defaultMode"]);
  items(e, source["items"]);
}
void secret(Errors& e, const View& source, const Place&) {
  if (!source["secretName"].filled()) e.required(source["secretName"].path());
  file_mode(e, source["defaultMode"]);
  items(e, source["items"]);
}
void downward_api(Errors& e, const View& source, const Place&) {
  file_mode(e, source["defaultMode"]);
  source["items"].each([&](const View& file) { downward_file(e, file, file.path()); });
}
void nfs(Errors& e, const View& source, const Place&) {
  if (!source["path"].text().starts_with("/"))
    e.invalid(source["path"].path(), source["path"].text(), "must be an absolute path");
}

void iscsi_name(Errors& e, const std::string& field, const std::string& name) {
  static const re2::RE2 kIqn(R"(iqn\.\d{4}-\d{2}\.([[:alnum:]\-.]+)(:[^,;*&$|\s]+)$)"),
      kEui("^eui.[[:alnum:]]{16}$"), kNaa("^naa.[[:alnum:]]{32}$");
  const re2::RE2* form = name.starts_with("iqn")   ? &kIqn
                         : name.starts_with("eui") ? &kEui
                         : name.starts_with("naa") ? &kNaa
                                                   : nullptr;
  if (!form) e.invalid(field, name, "must be valid format starting with iqn, eui, or naa");
  else if (!re2::RE2::PartialMatch(name, *form)) e.invalid(field, name, "must be valid format");
}
void iscsi(Errors& e, const View& source, const Place& place) {
  View portal = source["targetPortal"], initiator = source["initiatorName"], secret_ref = source["secretRef"];
  if (source["iqn"].filled()) iscsi_name(e, source["iqn"].path(), std::string(source["iqn"].text()));
  in_range(e, source["lun"], 0, 255, 0);
  if ((source["chapAuthDiscovery"].flag() || source["chapAuthSession"].flag()) && !secret_ref.has())
    e.required(secret_ref.path());
  if (place.persistent && secret_ref.has() && !secret_ref["name"].filled())
    e.required(secret_ref["name"].path());
  if (!initiator.has()) return;
  iscsi_name(e, source.path() + ".initiatorname", std::string(initiator.text()));
  if (place.volume_name.size() + 1 + portal.text().size() > 64) {
    constexpr char kTooLong[] =
        "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
        "iscsi.initiatorName is specified.";
    if (place.persistent) e.invalid(source.path() + ".targetportal", portal.text(), kTooLong);
    else e.invalid(source.path().substr(0, source.path().rfind('.')) + ".name", place.volume_name, kTooLong);
  }
}
void fc(Errors& e, const View& source, const Place&) {
  View names = source["targetWWNs"], ids = source["wwids"], lun = source["lun"];
  if (!names.filled() && !ids.filled())
    e.required(names.path(), "must specify either targetWWNs or wwids, but not both");
  if (names.filled() && ids.filled())
    e.invalid(names.path(), names.shown(), "targetWWNs and wwids can not be specified simultaneously");
  if (!names.filled()) return;
  if (!lun.has()) e.required(lun.path(), "lun is required if targetWWNs is specified");
  in_range(e, lun, 0, 255, 0);
}
void quobyte(Errors& e, const View& source, const Place&) {
  constexpr char kPairs[] = "must be a host:port pair or multiple pairs separated by commas";
  std::string_view registry = source["registry"].text();
  if (source["tenant"].text().size() >= 65)
    return e.required(source["tenant"].path(), "must be a UUID and may not exceed a length of 64 characters");
  for (size_t begin = 0; !registry.empty() && begin <= registry.size();) {
    size_t end = std::min(registry.find(',', begin), registry.size());
    std::string_view pair = registry.substr(begin, end - begin);
    size_t colon = pair.rfind(':');
    if (colon == std::string_view::npos || (pair.find(':') != colon && !pair.starts_with('[')))
      e.invalid(source["registry"].path(), registry, kPairs);
    begin = end + 1;
  }
}
void glusterfs(Errors& e, const View& source, const Place& place) {
  View space = source["endpointsNamespace"];
  if (!place.persistent || !space.has()) return;
  if (!space.filled())
    e.invalid(space.path(), "", "if the endpointnamespace is set, it must be a valid namespace name");
  else e.all(space.path(), space.text(), check_dns1123_label(space.text()));
}
void flocker(Errors& e, const View& source, const Place&) {
  View name = source["datasetName"], id = source["datasetUUID"];
  if (!name.filled() && !id.filled())
    e.required(source.path(), "one of datasetName and datasetUUID is required");
  if (name.filled() && id.filled())
    e.invalid(source.path(), "resource", "datasetName and datasetUUID can not be specified simultaneously");
  if (name.text().find('/') != std::string_view::npos)
    e.invalid(name.path(), name.text(), "must not contain '/'");
}
void cinder(Errors& e, const View& source, const Place& place) {
  named_secret(e, source["secretRef"], place);
}
void flex_volume(Errors& e, const View& source, const Place&) {
  source["options"].each_entry([&](std::string_view key, const View& option) {
    std::string space = "." + std::string(key.substr(0, key.find('/')));
    std::transform(space.begin(), space.end(), space.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (space.ends_with(".kubernetes.io") || space.ends_with(".k8s.io"))
      e.invalid(option.path(), key, "kubernetes.io and k8s.io namespaces are reserved");
  });
}
void azure_file(Errors& e, const View& source, const Place& place) {
  View space = source["secretNamespace"];
  if (place.persistent && space.has() && !space.filled()) e.required(space.path());
}
void azure_disk(Errors& e, const View& source, const Place&) {
  View kind = source["kind"], uri = source["diskURI"];
  one_of(e, source["cachingMode"], {"None", "ReadOnly", "ReadWrite"});
  one_of(e, kind, {"Dedicated", "Managed", "Shared"});
  if (kind.text() == "Managed" && !uri.text().starts_with("/subscriptions/"))
    e.not_supported(
        uri.path(), uri.text(),
        {"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"});
  if (kind.has() && kind.text() != "Managed" && !uri.text().starts_with("https://"))
    e.not_supported(uri.path(), uri.text(),
                    {"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"});
}
void storageos(Errors& e, const View& source, const Place& place) {
  if (!source["volumeName"].filled()) e.required(source["volumeName"].path());
  for (const char* name : {"volumeName", "volumeNamespace"})
    if (source[name].filled())
      e.all(source[name].path(), source[name].text(), check_dns1123_label(source[name].text()));
  named_secret(e, source["secretRef"], place);
}
void csi(Errors& e, const View& source, const Place& place) {
  if (source["driver"].filled()) driver_name(e, source["driver"]);
  if (!place.persistent) {
    View secret_ref = source["nodePublishSecretRef"];
    if (!secret_ref.has()) return;
    if (!secret_ref["name"].filled()) e.required(secret_ref["name"].path());
    else
      e.all(source.path() + ".name", secret_ref["name"].text(),
            check_dns1123_subdomain(secret_ref["name"].text()));
    return;
  }
  for (const char* name : {"controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef",
                           "nodeExpandSecretRef"})
    secret_reference(e, source[name]);
}
void local(Errors& e, const View& source, const Place&) {
  no_parent_steps(e, source["path"].path(), std::string(source["path"].text()));
}
void ephemeral(Errors& e, const View& source, const Place&) {
  View claim = source["volumeClaimTemplate"];
  if (!claim.has()) return e.required(claim.path());
  template_metadata(e, claim["metadata"]);
  claim_spec(e, claim["spec"]);
}
void image(Errors& e, const View& source, const Place&) {
  if (!source["reference"].filled()) e.required(source["reference"].path());
  one_of(e, source["pullPolicy"], {"Always", "IfNotPresent", "Never"});
}

// ---- projected -----------------------------------------------------------------------------------
struct Projection {
  const View& volume;
  std::set<std::string> paths;
  void take(Errors& e, std::string_view path, std::string_view shown) {
    if (!path.empty() && !paths.insert(std::string(path)).second)
      e.invalid(volume.path(), shown, "conflicting duplicate paths");
  }
};
void trust_bundle(Errors& e, const View& bundle, Projection& all) {
  View name = bundle["name"], signer = bundle["signerName"], selector = bundle["labelSelector"];
  if (name.has() && signer.has())
    e.invalid(bundle.path(), bundle.shown(), "only one of name and signerName may be used");
  else if (!name.has() && !signer.has())
    e.required(bundle.path(), "either name or signerName must be specified");
  else if (name.has()) {
    if (!name.filled()) e.required(name.path(), "must be a valid object name");
    if (selector.has())
      e.invalid(selector.path(), selector.shown(), "labelSelector must be unset if name is specified");
  } else {
    if (!signer.filled()) e.required(signer.path(), "must be a valid signer name");
    LabelSelector parsed;
    if (selector.has() && read(e, selector.shown(), &parsed)) label_selector(e, selector.path(), parsed);
  }
  local_path(e, bundle["path"]);
  all.take(e, bundle["path"].text(), bundle["path"].text());
}
void service_account_token(Errors& e, const View& token) {
  View seconds = token["expirationSeconds"];
  if (seconds.has() && seconds.number() < 600)
    e.invalid(seconds.path(), seconds.number(), "may not specify a duration less than 10 minutes");
  if (seconds.number() > int64_t{1} << 32)
    e.invalid(seconds.path(), seconds.number(), "may not specify a duration larger than 2^32 seconds");
  local_path(e, token["path"]);
}
void projected(Errors& e, const View& source, const Place&) {
  file_mode(e, source["defaultMode"]);
  Projection all{source, {}};
  source["sources"].each([&](const View& each) {
    if (each.size() == 0) e.required(each.path(), "must specify a projected volume source");
    if (each.size() > 1) e.forbidden(each.path(), "may not specify more than 1 volume type per source");
    for (const char* kind : {"secret", "configMap"}) {
      View from = each[kind];
      if (!from.has()) continue;
      if (!from["name"].filled()) e.required(from["name"].path());
      items(e, from["items"]);
      from["items"].each([&](const View& item) { all.take(e, item["path"].text(), from["name"].text()); });
    }
    each["downwardAPI"]["items"].each([&](const View& file) {
      downward_file(e, file, file.path());
      all.take(e, file["path"].text(), file["path"].text());
    });
    if (each["serviceAccountToken"].has()) service_account_token(e, each["serviceAccountToken"]);
    if (each["clusterTrustBundle"].has()) trust_bundle(e, each["clusterTrustBundle"], all);
  });
}

struct Source {
  const char* name;
  SourceCheck check;  // null: nothing beyond the tables
};
constexpr Source kSources[] = {
    // of two, the later one is refused
    {"emptyDir", empty_dir},
    {"hostPath", host_path},
    {"gitRepo", git_repo},
    {"gcePersistentDisk", partition},
    {"awsElasticBlockStore", partition},
    {"secret", secret},
    {"nfs", nfs},
    {"iscsi", iscsi},
    {"glusterfs", glusterfs},
    {"flocker", flocker},
    {"persistentVolumeClaim", nullptr},
    {"rbd", nullptr},
    {"cinder", cinder},
    {"cephfs", nullptr},
    {"quobyte", quobyte},
    {"downwardAPI", downward_api},
    {"fc", fc},
    {"flexVolume", flex_volume},
    {"configMap", config_map},
    {"azureFile", azure_file},
    {"vsphereVolume", nullptr},
    {"photonPersistentDisk", nullptr},
    {"portworxVolume", nullptr},
    {"azureDisk", azure_disk},
    {"local", local},
    {"storageos", storageos},
    {"projected", projected},
    {"scaleIO", nullptr},
    {"csi", csi},
    {"ephemeral", ephemeral},
    {"image", image},
};

}  // namespace

void volume_sources(Errors& e, const View& volume, std::string_view volume_name, bool persistent) {
  size_t count = 0;
  for (const Source& row : kSources) {
    View source = volume[row.name];
    if (!source.has()) continue;
    if (++count > 1) e.forbidden(source.path(), "may not specify more than 1 volume type");
    else if (row.check) row.check(e, source, {volume_name, persistent});
  }
  if (!count) e.required(volume.path(), "must specify a volume type");
}

}  // namespace api::rules
