// Rules of volumes and of the kinds of storage.k8s.io.
#include <algorithm>
#include <set>

#include "api/quantity.h"
#include "api/validate/rules.h"

namespace api::rules {
namespace {

void access_modes(Errors& e, const View& modes, std::string when_none) {
  if (!modes.filled()) return e.required(modes.path(), std::move(when_none));
  bool alone = false;
  modes.each([&](const View& mode) {
    one_of(e, View(mode.get(), modes.path()),
           {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"});
    alone |= mode.text() == "ReadWriteOncePod";
  });
  if (alone && modes.size() > 1)
    e.forbidden(modes.path(), "may not use ReadWriteOncePod with other access modes");
}
void storage_amount(Errors& e, const View& amount) {
  auto parsed = Quantity::parse(amount.text());
  if (!parsed.ok()) return e.invalid(amount.path(), amount.text(), parsed.error().reason);
  if (parsed->negative() || parsed->zero())
    e.invalid(amount.path(), amount.text(), "must be greater than zero");
}

// What is not a source of a PersistentVolume's data in its spec.
const std::vector<std::string_view> kVolumeSettings = {"accessModes",
                                                       "capacity",
                                                       "claimRef",
                                                       "mountOptions",
                                                       "nodeAffinity",
                                                       "storageClassName",
                                                       "persistentVolumeReclaimPolicy",
                                                       "volumeAttributesClassName",
                                                       "volumeMode"};
json::object sources_of(const View& spec) {
  json::object out;
  spec.each_entry([&](std::string_view key, const View& value) {
    if (value.has() &&
        std::find(kVolumeSettings.begin(), kVolumeSettings.end(), key) == kVolumeSettings.end())
      out[key] = value.shown();
  });
  return out;
}

void claim_update(Errors& e, const View& after, const View& before) {
  View spec = after["spec"], old = before["spec"];
  json::value now = spec.shown(), was = old.shown();
  if (!now.is_object() || !was.is_object()) return;
  auto take = [&](const char* name) { now.get_object().erase(name), was.get_object().erase(name); };
  if (!old["volumeName"].filled()) take("volumeName");
  if (!old["storageClassName"].has())
    take("storageClassName");  // set once it is known which class is the default
  take("volumeAttributesClassName");
  for (json::value* each : {&now, &was})
    if (json::value* resources = each->get_object().if_contains("resources");
        resources && resources->is_object()) {
      if (json::value* requests = resources->get_object().if_contains("requests");
          requests && requests->is_object())
        requests->get_object().erase("storage");
    }
  View amount = spec["resources"]["requests"]["storage"],
       old_amount = old["resources"]["requests"]["storage"];
  if (now != was)
    e.forbidden("spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName "
                "for bound claims");
  if (amount.text() == old_amount.text()) return;
  auto more = Quantity::parse(amount.text()), had = Quantity::parse(old_amount.text()),
       is = Quantity::parse(before["status"]["capacity"]["storage"].text());
  // An expansion that can't be had may be taken back, though not to what there is or less.
  if (before["status"]["phase"].text() != "Bound")
    e.forbidden("spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName "
                "for bound claims");
  else if (more.ok() && had.ok() && *more < *had && (!is.ok() || *more <= *is))
    e.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
}

void parameters(Errors& e, const View& map) {
  if (map.size() > 512) return e.too_long(map.path(), 512);
  size_t total = 0;
  map.each_entry([&](std::string_view key, const View& value) {
    if (key.empty()) e.invalid(map.path(), key, "field can not be empty.");
    total += key.size() + value.text().size();
  });
  if (total > 256 * 1024) e.too_long(map.path(), 256 * 1024);
}
// What a claim is filled from; `within` is the claim's spec, which errors of both sources together name.
void data_sources(Errors& e, const View& within) {
  View source = within["dataSource"], reference = within["dataSourceRef"];
  for (const View& from : {source, reference}) {
    if (!from.has()) continue;
    View group = from["apiGroup"], space = from["namespace"];
    if (!group.filled() && from["kind"].text() != "PersistentVolumeClaim")
      e.invalid(from.path(), from["kind"].text(),
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    if (group.filled()) e.all(group.path(), group.text(), check_dns1123_subdomain(group.text()));
    if (space.filled()) e.all(space.path(), space.text(), check_dns1123_label(space.text()));
  }
  if (!source.has() || !reference.has()) return;
  if (reference["namespace"].filled())
    return e.invalid(within.path(), source.path(),
                     "may not be specified when dataSourceRef.namespace is specified");
  for (const char* part : {"apiGroup", "kind", "name"})
    if (!source[part].same_as(reference[part]))
      return e.invalid(within.path(), source.path(), "must match dataSourceRef");
}

}  // namespace

void driver_name(Errors& e, const View& name) {
  if (!name.filled()) return e.required(name.path());
  std::string lower(name.text());
  if (lower.size() > 63) e.too_long(name.path(), 63);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  e.all(name.path(), name.text(), check_dns1123_subdomain(lower));
}
void claim_spec(Errors& e, const View& spec) {
  access_modes(e, spec["accessModes"], "at least 1 access mode is required");
  View amount = spec["resources"]["requests"]["storage"];
  amount = View(amount.get(), spec["resources"].path() + "[storage]");
  if (!amount.has()) e.required(amount.path());
  else storage_amount(e, amount);
  if (View selector = spec["selector"]; selector.has()) {
    LabelSelector parsed;
    if (read(e, selector.shown(), &parsed)) label_selector(e, selector.path(), parsed);
  }
  if (View name = spec["storageClassName"]; name.filled())
    e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
  if (View name = spec["volumeAttributesClassName"]; name.filled())
    e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
  one_of(e, spec["volumeMode"], {"Block", "Filesystem"});
  data_sources(e, spec);
}

void template_metadata(Errors& e, const View& metadata) {
  metadata.each_entry([&](std::string_view key, const View& value) {
    if (key == "labels" || key == "annotations" || !value.filled()) return;
    std::string field = key == "uid" ? "UID" : std::string(key);  // upstream names Go's field here
    field[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(field[0])));
    e.forbidden(metadata.path() + "." + field, "cannot be set");
  });
}

void persistent_volume(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"], capacity = spec["capacity"];
  access_modes(e, spec["accessModes"], "");
  if (!capacity.filled()) e.required(capacity.path());
  else if (!capacity["storage"].has() || capacity.size() > 1)
    e.not_supported(capacity.path(), base::to_json(capacity.shown()), {"storage"});
  else storage_amount(e, View(capacity["storage"].get(), "spec.capacity[storage]"));
  one_of(e, spec["persistentVolumeReclaimPolicy"], {"Delete", "Recycle", "Retain"});
  one_of(e, spec["volumeMode"], {"Block", "Filesystem"});
  volume_sources(e, spec, View(&after)["metadata"]["name"].text(), true);
  if (spec["hostPath"]["path"].text() == "/" && spec["persistentVolumeReclaimPolicy"].text() == "Recycle")
    e.forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'");
  if (View affinity = spec["nodeAffinity"], required = affinity["required"]; affinity.has()) {
    NodeSelector parsed;
    if (!required.has()) e.required(required.path(), "must specify required node constraints");
    else if (read(e, required.shown(), &parsed)) node_selector(e, required.path(), parsed);
  }
  if (spec["local"].has() && !spec["nodeAffinity"]["required"].has())
    e.required("spec.nodeAffinity", "Local volume requires node affinity");
  if (View name = spec["storageClassName"]; name.filled())
    e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
  if (View name = spec["volumeAttributesClassName"]; name.has()) {
    if (!name.filled()) e.required(name.path(), "an empty string is disallowed");
    else e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
    if (!spec["csi"].has())
      e.required("spec.csi", "has to be specified when using volumeAttributesClassName");
  }
  if (!before) return;
  View old = View(before)["spec"];
  json::object now = sources_of(spec), was = sources_of(old);
  if (!old["csi"]["controllerExpandSecretRef"].has())  // may be added later
    if (json::value* driver = now.if_contains("csi"); driver && driver->is_object())
      driver->get_object().erase("controllerExpandSecretRef");
  if (now != was)
    e.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation");
  immutable(e, spec["volumeMode"], old["volumeMode"]);
  if (old["nodeAffinity"].has()) immutable(e, spec["nodeAffinity"], old["nodeAffinity"]);
  if (old["volumeAttributesClassName"].has() && !spec["volumeAttributesClassName"].has())
    e.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden");
}

void persistent_volume_claim(Errors& e, const json::value& after, const json::value* before) {
  View object(&after);
  claim_spec(e, object["spec"]);
  if (before) claim_update(e, object, View(before));
}

void storage_class(Errors& e, const json::value& after, const json::value* before) {
  View object(&after);
  if (View name = object["provisioner"]; name.filled()) {
    std::string lower(name.text());
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    e.all(name.path(), name.text(), check_qualified_name(lower));
  }
  parameters(e, object["parameters"]);
  if (!before) return;
  View old(before);
  for (const char* name : {"parameters", "provisioner", "reclaimPolicy"})
    if (!object[name].same_as(old[name]))
      e.forbidden(name, std::string("updates to ") + name + " are forbidden.");
  immutable(e, object["volumeBindingMode"], old["volumeBindingMode"]);
}

void volume_attributes_class(Errors& e, const json::value& after, const json::value* before) {
  View object(&after);
  driver_name(e, object["driverName"]);
  if (!object["parameters"].filled()) e.required("parameters", "must contain at least one key/value pair");
  parameters(e, object["parameters"]);
  if (!before) return;
  for (const char* name : {"driverName", "parameters"})
    if (!object[name].same_as(View(before)[name]))
      e.forbidden(name, std::string("updates to ") + name + " are forbidden.");
}

void csi_driver(Errors& e, const json::value& after, const json::value* before) {
  View object(&after), spec = object["spec"];
  std::string_view name = object["metadata"]["name"].text();
  if (name.size() > 63) e.too_long("metadata.name", 63);
  spec["volumeLifecycleModes"].each([&](const View& mode) { one_of(e, mode, {"Ephemeral", "Persistent"}); });
  std::set<std::string> audiences;
  spec["tokenRequests"].each([&](const View& request) {
    View seconds = request["expirationSeconds"];
    if (!audiences.insert(std::string(request["audience"].text())).second)
      e.duplicate(request["audience"].path(), request["audience"].text());
    if (seconds.has() && seconds.number() < 600)
      e.invalid(seconds.path(), seconds.number(), "may not specify a duration less than 10 minutes");
    if (seconds.has() && seconds.number() > int64_t{1} << 32)
      e.invalid(seconds.path(), seconds.number(), "may not specify a duration larger than 2^32 seconds");
  });
  if (View period = spec["nodeAllocatableUpdatePeriodSeconds"]; period.has() && period.number() < 10)
    e.invalid(period.path(), period.number(), "must be greater than or equal to 10 seconds");
  if (!before) return;
  for (const char* field : {"attachRequired", "volumeLifecycleModes"})
    immutable(e, spec[field], View(before)["spec"][field]);
}

void csi_node(Errors& e, const json::value& after, const json::value* before) {
  View drivers = View(&after)["spec"]["drivers"];
  std::set<std::string> names;
  drivers.each([&](const View& driver) {
    driver_name(e, driver["name"]);
    if (!names.insert(std::string(driver["name"].text())).second)
      e.duplicate(driver["name"].path(), driver["name"].text());
    if (driver["nodeID"].text().size() > 256)
      e.invalid(driver["nodeID"].path(), driver["nodeID"].text(), "must be 256 characters or less");
    driver["topologyKeys"].each(
        [&](const View& key) { e.all(driver.path(), key.text(), check_qualified_name(key.text())); });
    if (View count = driver["allocatable"]["count"]; count.has()) non_negative(e, count);
  });
  if (!before) return;
  View(before)["spec"]["drivers"].each([&](const View& old) {
    drivers.each([&](const View& now) {
      if (now["name"].text() != old["name"].text()) return;
      json::value a = now.shown(), b = old.shown();
      if (a.is_object()) a.get_object().erase("allocatable");
      if (b.is_object()) b.get_object().erase("allocatable");
      if (a != b) e.invalid(now.path(), now.shown(), "field is immutable");
    });
  });
}

void csi_storage_capacity(Errors& e, const json::value& after, const json::value* before) {
  View object(&after);
  if (View name = object["storageClassName"]; name.filled())
    e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
  for (const char* name : {"capacity", "maximumVolumeSize"})
    if (object[name].has()) quantity(e, name, std::string(object[name].text()));
  if (object["nodeTopology"].has()) {
    LabelSelector parsed;
    if (read(e, object["nodeTopology"].shown(), &parsed)) label_selector(e, "nodeTopology", parsed);
  }
  if (!before) return;
  for (const char* name : {"nodeTopology", "storageClassName"})
    immutable(e, object[name], View(before)[name]);
}

namespace {
// A PersistentVolume's spec for a CSI volume that has no PersistentVolume.
void inline_volume(Errors& e, const View& spec) {
  constexpr char kNotInline[] = "may not be specified in the context of inline volumes";
  for (const char* name : {"claimRef", "capacity", "nodeAffinity", "storageClassName"})
    if (spec[name].filled()) e.forbidden(spec[name].path(), kNotInline);
  if (!spec["csi"].has())
    e.required(spec["csi"].path(), "has to be specified in the context of inline volumes");
  access_modes(e, spec["accessModes"], "");
  if (View policy = spec["persistentVolumeReclaimPolicy"]; policy.filled() && policy.text() != "Retain")
    e.forbidden(policy.path(), "may only be Retain in the context of inline volumes");
  if (View mode = spec["volumeMode"]; mode.filled() && mode.text() != "Filesystem")
    e.forbidden(mode.path(),
                "may not specify volumeMode other than Filesystem in the context of inline volumes");
  volume_sources(e, spec, "", true);
}
}  // namespace

void volume_attachment(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"], source = spec["source"], inlined = source["inlineVolumeSpec"],
       named = source["persistentVolumeName"];
  if (spec["attacher"].filled()) driver_name(e, spec["attacher"]);
  if (spec["nodeName"].filled())
    e.all(spec["nodeName"].path(), spec["nodeName"].text(), check_dns1123_subdomain(spec["nodeName"].text()));
  if (inlined.has() && named.has())
    e.forbidden(source.path(), "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  else if (!inlined.has() && !named.has())
    e.required(source.path(), "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  if (inlined.has()) inline_volume(e, inlined);
  if (named.has()) e.all(named.path(), named.text(), check_dns1123_subdomain(named.text()));
  if (before && !spec.same_as(View(before)["spec"])) e.invalid("spec", spec.shown(), "field is immutable");
}

}  // namespace api::rules
