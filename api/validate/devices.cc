// Rules of resource.k8s.io: claims of devices, their status and the classes. CEL selectors are checked
// for their size only: nothing here allocates devices.
// Source of the rules: pkg/apis/resource/validation of Kubernetes; the limits: its types.go.
#include <re2/re2.h>

#include <map>

#include "api/validate/devices.h"

namespace api::rules {
namespace {

constexpr size_t kMaxRequests = 32, kMaxConstraints = 32, kMaxConfigs = 32, kMaxAlternatives = 8,
                 kMaxSelectors = 32, kMaxTolerations = 16;
constexpr size_t kMaxReservedFor = 256, kMaxResults = 32, kMaxSelectorBytes = 10 << 10,
                 kMaxParametersBytes = 10 << 10;
constexpr size_t kMaxConditions = 8, kMaxIps = 16, kMaxInterfaceNameBytes = 256,
                 kMaxHardwareAddressBytes = 128;

// ---- claims --------------------------------------------------------------------------------------
// Requests of a claim and, for each, its alternatives.
using RequestNames = std::map<std::string, std::set<std::string>>;
RequestNames request_names(const View& devices) {
  RequestNames names;
  devices["requests"].each([&](const View& request) {
    auto& alternatives = names[std::string(by_name(request))];
    request["firstAvailable"].each([&](const View& one) { alternatives.insert(std::string(by_name(one))); });
  });
  return names;
}
void request_reference(Errors& e, const View& reference, const RequestNames& names) {
  constexpr char kUnknown[] =
      "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
  std::string text(reference.text());
  size_t slash = text.find('/');
  std::string request = text.substr(0, slash), alternative = slash == text.npos ? "" : text.substr(slash + 1);
  if (alternative.find('/') != text.npos) return e.invalid(reference.path(), text, kUnknown);
  e.all(reference.path(), request, check_dns1123_label(request));
  if (slash != text.npos) e.all(reference.path(), alternative, check_dns1123_label(alternative));
  auto found = names.find(request);
  if (found == names.end() || (slash != text.npos && !found->second.contains(alternative)))
    e.invalid(reference.path(), text, kUnknown);
}
void request_references(Errors& e, const View& list, const RequestNames& names) {
  set_of(
      e, list, kMaxRequests, [&](const View& one) { request_reference(e, one, names); }, by_text);
}

void selectors(Errors& e, const View& list) {
  if (!bounded(e, list, kMaxSelectors)) return;
  list.each([&](const View& selector) {
    View cel = selector["cel"];
    if (!cel.has()) e.required(cel.path());
    if (cel["expression"].text().size() > kMaxSelectorBytes)
      e.too_long(cel["expression"].path(), kMaxSelectorBytes);
  });
}
void tolerations(Errors& e, const View& list) {
  if (!bounded(e, list, kMaxTolerations)) return;
  list.each([&](const View& toleration) {
    View key = toleration["key"], value = toleration["value"], op = toleration["operator"];
    if (key.filled()) label_name(e, key, key.text());
    if (op.text() == "Exists") {
      if (value.filled()) e.invalid(value.path(), value.text(), "must be empty for operator `Exists`");
    } else if (op.text() == "Equal" || !op.filled()) {
      e.all(value.path(), value.text(), check_label_value(value.text()));
    } else {
      e.not_supported(op.path(), op.text(), {"Equal", "Exists"});
    }
    one_of(e, toleration["effect"], kDeviceTaintEffects);
  });
}
void request(Errors& e, const View& wanted) {
  View device_class = wanted["deviceClassName"], mode = wanted["allocationMode"], count = wanted["count"];
  if (device_class.filled())
    e.all(device_class.path(), device_class.text(), check_dns1123_subdomain(device_class.text()));
  selectors(e, wanted["selectors"]);
  one_of(e, mode, {"All", "ExactCount"});
  if (mode.text() == "All" && count.number() != 0)
    e.invalid(count.path(), count.number(), "must not be specified when allocationMode is 'All'");
  if (mode.text() == "ExactCount" && count.number() <= 0)
    e.invalid(count.path(), count.number(), "must be greater than zero");
  tolerations(e, wanted["tolerations"]);
  wanted["capacity"]["requests"].each_entry([&](std::string_view key, const View& value) {
    qualified_name(e, wanted["capacity"]["requests"].path(), key, false);
    amount(e, value);
  });
}
void opaque(Errors& e, const View& config) {
  View part = config["opaque"], parameters = part["parameters"];
  if (!part.has()) return e.required(part.path());
  if (part["driver"].filled()) driver_name(e, part["driver"]);
  if (!parameters.has()) return;
  if (base::to_json(parameters.shown()).size() > kMaxParametersBytes)
    e.too_long(parameters.path(), kMaxParametersBytes);
  else if (!parameters.shown().is_object())
    e.invalid(parameters.path(), "<value omitted>", "must be a valid JSON object");
}
void constraint(Errors& e, const View& one, const RequestNames& names) {
  View match = one["matchAttribute"], distinct = one["distinctAttribute"];
  request_references(e, one["requests"], names);
  if (match.has()) qualified_name(e, match.path(), match.text(), true);
  else if (distinct.has()) qualified_name(e, distinct.path(), distinct.text(), true);
  else
    e.required(one.path(),
               "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields "
               "are set");
}
void device_claim(Errors& e, const View& devices) {
  RequestNames names = request_names(devices);
  auto check = [&](const View& each) {
    View exactly = each["exactly"], first = each["firstAvailable"];
    dns_label(e, each["name"]);
    if (!exactly.has() && !first.filled())
      return e.required(each.path(), "exactly one of `exactly` or `firstAvailable` is required");
    if (exactly.has() && first.filled())
      return e.invalid(
          each.path(), json::value(),
          "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
    if (exactly.has()) return request(e, exactly);
    auto alternative = [&](const View& one) {
      dns_label(e, one["name"]);
      request(e, one);
    };
    set_of(e, first, kMaxAlternatives, alternative, by_name);
  };
  set_of(e, devices["requests"], kMaxRequests, check, by_name);
  if (bounded(e, devices["constraints"], kMaxConstraints))
    devices["constraints"].each([&](const View& one) { constraint(e, one, names); });
  if (!bounded(e, devices["config"], kMaxConfigs)) return;
  devices["config"].each([&](const View& config) {
    request_references(e, config["requests"], names);
    opaque(e, config);
  });
}

// ---- status of claims ----------------------------------------------------------------------------
std::string device_id(const View& device) {
  std::string id = std::string(device["driver"].text()) + "/" + std::string(device["pool"].text()) + "/" +
                   std::string(device["device"].text());
  return device["shareID"].has() ? id + "/" + std::string(device["shareID"].text()) : id;
}
void device_names(Errors& e, const View& device) {
  static const re2::RE2 kUid("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");
  View share = device["shareID"];
  if (device["driver"].filled()) driver_name(e, device["driver"]);
  pool_name(e, device["pool"]);
  dns_label(e, device["device"]);
  if (share.has() && !re2::RE2::FullMatch(std::string(share.text()), kUid))
    e.invalid(share.path(), share.text(),
              "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with "
              "lowercase hexadecimal characters");
}
void allocation(Errors& e, const View& result, const RequestNames& names) {
  View devices = result["devices"], selector = result["nodeSelector"];
  if (bounded(e, devices["results"], kMaxResults))
    devices["results"].each([&](const View& one) {
      request_reference(e, one["request"], names);
      device_names(e, one);
      binding_conditions(e, one);
      tolerations(e, one["tolerations"]);
    });
  if (bounded(e, devices["config"], 2 * kMaxConfigs))  // of the class and of the claim
    devices["config"].each([&](const View& config) {
      one_of(e, config["source"], {"FromClaim", "FromClass"});
      request_references(e, config["requests"], names);
      opaque(e, config);
    });
  NodeSelector parsed;
  if (selector.has() && read(e, selector.shown(), &parsed)) node_selector(e, selector.path(), parsed);
}
void device_status(Errors& e, const View& device, const std::set<std::string>& allocated) {
  View data = device["data"], network = device["networkData"];
  device_names(e, device);
  if (!allocated.contains(device_id(device)))
    e.invalid(device.path(), device_id(device), "must be an allocated device in the claim");
  bounded(e, device["conditions"], kMaxConditions);
  if (data.has() && base::to_json(data.shown()).size() > kMaxParametersBytes)
    e.too_long(data.path(), kMaxParametersBytes);
  else if (data.has() && !data.shown().is_object())
    e.invalid(data.path(), "<value omitted>", "must be a valid JSON object");
  if (network["interfaceName"].text().size() > kMaxInterfaceNameBytes)
    e.too_long(network["interfaceName"].path(), kMaxInterfaceNameBytes);
  if (network["hardwareAddress"].text().size() > kMaxHardwareAddressBytes)
    e.too_long(network["hardwareAddress"].path(), kMaxHardwareAddressBytes);
  auto address = [&](const View& one) {
    size_t slash = one.text().find('/');
    if (slash == std::string_view::npos || !is_ip(one.text().substr(0, slash)))
      e.invalid(one.path(), one.text(),
                "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)");
  };
  set_of(e, network["ips"], kMaxIps, address, by_text);
}

void immutable_spec(Errors& e, const json::value& after, const json::value& before) {
  if (!View(&after)["spec"].same_as(View(&before)["spec"]))
    e.invalid("spec", View(&after)["spec"].shown(), "field is immutable");
}
}  // namespace

void device_class(Errors& e, const json::value& after, const json::value*) {
  static const re2::RE2 kExtended("[^/]+/.+");
  View spec = View(&after)["spec"], extended = spec["extendedResourceName"];
  selectors(e, spec["selectors"]);
  if (bounded(e, spec["config"], kMaxConfigs))
    spec["config"].each([&](const View& config) { opaque(e, config); });
  if (!extended.has()) return;
  std::string name(extended.text());
  bool own = name.find("kubernetes.io/") != name.npos || name.starts_with("requests.");
  if (own || !re2::RE2::FullMatch(name, kExtended) || !check_qualified_name("requests." + name).empty())
    e.invalid(extended.path(), name, "must be a valid extended resource name");
}
void resource_claim(Errors& e, const json::value& after, const json::value* before) {
  if (before) return immutable_spec(e, after, *before);  // so there is nothing else to say of it
  device_claim(e, View(&after)["spec"]["devices"]);
}
void resource_claim_template(Errors& e, const json::value& after, const json::value* before) {
  if (before) return immutable_spec(e, after, *before);
  View spec = View(&after)["spec"];
  template_metadata(e, spec["metadata"]);
  device_claim(e, spec["spec"]["devices"]);
}
void resource_claim_status(Errors& e, const json::value& after, const json::value& before) {
  View object(&after), status = object["status"], old = View(&before)["status"],
                       result = status["allocation"], users = status["reservedFor"];
  RequestNames names = request_names(object["spec"]["devices"]);
  auto by_uid = [](const View& user) { return user["uid"].text(); };
  set_of(
      e, users, kMaxReservedFor, [](const View&) {}, by_uid);
  std::set<std::string> allocated;
  result["devices"]["results"].each([&](const View& one) { allocated.insert(device_id(one)); });
  set_of(
      e, status["devices"], SIZE_MAX, [&](const View& one) { device_status(e, one, allocated); }, device_id);
  if (users.filled() && !result.has())
    e.forbidden(users.path(), "may not be specified when `allocated` is not set");
  if (users.filled() && result.has() && object["metadata"]["deletionTimestamp"].has()) {
    std::set<std::string_view> known;
    old["reservedFor"].each([&](const View& user) { known.insert(by_uid(user)); });
    bool added = false;
    users.each([&](const View& user) { added |= !known.contains(by_uid(user)); });
    if (added)
      e.forbidden(
          users.path(),
          "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
  }
  if (result.has() && old["allocation"].has()) immutable(e, result, old["allocation"]);
  else if (result.has()) allocation(e, result, names);
}

}  // namespace api::rules
