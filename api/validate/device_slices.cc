// Rules of ResourceSlices, by which drivers publish devices, and of what they share with claims.
// Source of the rules: pkg/apis/resource/validation of Kubernetes; the limits: its types.go.
#include <re2/re2.h>

#include <algorithm>

#include "api/validate/devices.h"

namespace api::rules {
namespace {

constexpr size_t kMaxDevices = 128, kMaxDevicesWithMore = 64, kMaxCounterSets = 8, kMaxCounters = 32,
                 kMaxConsumptions = 2;
constexpr size_t kMaxAttributes = 32, kMaxAttributeValues = 48, kMaxAttributeBytes = 64, kMaxIdBytes = 32,
                 kMaxTaints = 16;
constexpr size_t kMaxPoolNameBytes = 253, kMaxBindingConditions = 4, kMaxPolicyValues = 10;

void c_identifier(Errors& e, const std::string& field, std::string_view id) {
  static const re2::RE2 kForm("[A-Za-z_][A-Za-z0-9_]*");
  if (id.size() > kMaxIdBytes) e.too_long(field, kMaxIdBytes);
  if (!re2::RE2::FullMatch(re2::StringPiece(id.data(), id.size()), kForm))
    e.invalid(
        field, id,
        "a valid C identifier must start with alphabetic character or '_', followed by a string of "
        "alphanumeric characters or '_' (e.g. "
        "'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')");
}
}  // namespace

// ---- shared --------------------------------------------------------------------------------------
void label_name(Errors& e, const View& at, std::string_view text) {
  e.all(at.path(), text, check_qualified_name(text));
}
void dns_label(Errors& e, const View& name) {
  if (name.filled()) e.all(name.path(), name.text(), check_dns1123_label(name.text()));
}
void pool_name(Errors& e, const View& name) {
  if (!name.filled()) return;  // `required` says so
  std::string_view rest = name.text();
  if (rest.size() > kMaxPoolNameBytes) e.too_long(name.path(), kMaxPoolNameBytes);
  for (;;) {
    size_t slash = rest.find('/');
    e.all(name.path(), rest.substr(0, slash), check_dns1123_subdomain(rest.substr(0, slash)));
    if (slash == rest.npos) return;
    rest.remove_prefix(slash + 1);
  }
}
void qualified_name(Errors& e, const std::string& field, std::string_view name, bool domain_required) {
  size_t slash = name.find('/');
  if (slash == name.npos) {
    c_identifier(e, field, name);
    if (domain_required)
      e.invalid(field, name, "a fully qualified name must be a domain and a name separated by a slash");
    return;
  }
  if (name.find('/', slash + 1) != name.npos)
    return e.invalid(field, name, "must not contain more than one slash");
  std::string_view domain = name.substr(0, slash), id = name.substr(slash + 1);
  if (domain.empty()) e.invalid(field, "", "the domain must not be empty");
  else {
    json::value shown(domain);
    driver_name(e, View(&shown, field));
  }
  if (id.empty()) e.invalid(field, "", "the name must not be empty");
  else c_identifier(e, field, id);
}
std::optional<Quantity> amount(Errors& e, const View& text) {
  if (!text.filled()) return std::nullopt;
  auto parsed = Quantity::parse(text.text());
  if (parsed.ok()) return *parsed;
  e.invalid(text.path(), text.text(), parsed.error().reason);
  return std::nullopt;
}
void binding_conditions(Errors& e, const View& owner) {
  View conditions = owner["bindingConditions"], failures = owner["bindingFailureConditions"];
  std::set<std::string> names;
  auto name = [&](const View& one) { label_name(e, one, one.text()); };
  set_of(e, conditions, kMaxBindingConditions, name, by_text);
  set_of(e, failures, kMaxBindingConditions, name, by_text);
  conditions.each([&](const View& one) { names.insert(std::string(one.text())); });
  failures.each([&](const View& one) {
    if (names.contains(std::string(one.text())))
      e.invalid(one.path(), one.text(), "bindingFailureConditions must not overlap with bindingConditions");
  });
  if (!conditions.filled() && failures.filled())
    e.invalid(conditions.path(), conditions.shown(),
              "bindingConditions are required to use bindingFailureConditions");
  if (conditions.filled() && !failures.filled())
    e.invalid(failures.path(), failures.shown(),
              "bindingFailureConditions are required to use bindingConditions");
}

namespace {

// ---- slices --------------------------------------------------------------------------------------
void attribute(Errors& e, const View& at) {
  static const re2::RE2 kVersion(
      R"((0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?)");
  int set = 0;
  auto text = [&](const View& value, bool version) {
    if (version && !re2::RE2::FullMatch(std::string(value.text()), kVersion))
      e.invalid(value.path(), value.text(), "must be a string compatible with semver.org spec 2.0.0");
    if (value.text().size() > kMaxAttributeBytes) e.too_long(value.path(), kMaxAttributeBytes);
  };
  for (const char* kind : {"bool", "int", "string", "version", "bools", "ints", "strings", "versions"}) {
    View value = at[kind];
    if (!value.has()) continue;
    ++set;
    bool version = std::string_view(kind).starts_with("version");
    if (!value.shown().is_array()) {
      if (value.shown().is_string()) text(value, version);
      continue;
    }
    if (value.size() == 0) e.invalid(value.path(), value.shown(), "must not be empty if specified");
    value.each([&](const View& one) {
      if (one.shown().is_string()) text(one, version);
    });
  }
  if (set == 0) e.invalid(at.path(), "", "exactly one value must be specified");
  if (set > 1) e.invalid(at.path(), at.shown(), "exactly one value must be specified");
}
void request_policy(Errors& e, const View& policy, const Quantity& capacity) {
  View values = policy["validValues"], range = policy["validRange"], fallback = policy["default"];
  if (values.filled() && range.has())
    return e.forbidden(policy.path(),
                       "exactly one policy can be specified, cannot specify \"validValues\" and "
                       "\"validRange\" at the same time");
  if (!values.filled() && !range.has()) return;
  if (!fallback.has())
    return e.required(fallback.path(), std::string("required when ") +
                                           (range.has() ? "validRange" : "validValues") + " is defined");
  auto chosen = amount(e, fallback);
  if (!chosen) return;
  if (values.filled()) {
    if (!bounded(e, values, kMaxPolicyValues)) return;
    std::optional<Quantity> last;
    bool found = false;
    values.each([&](const View& value) {
      auto one = amount(e, value);
      if (!one) return;
      if (last && *one < *last)
        e.invalid(value.path(), value.text(), "values must be sorted in ascending order");
      if (last && *one == *last) e.duplicate(value.path(), value.text());
      if (*one > capacity)
        e.invalid(value.path(), value.text(), "option is larger than capacity value: " + capacity.text());
      found |= *one == *chosen;
      last = one;
    });
    if (!found)
      e.invalid(values.path(), fallback.text(), "default value is not valid according to the requestPolicy");
    return;
  }
  auto low = amount(e, range["min"]), high = amount(e, range["max"]), step = amount(e, range["step"]);
  if (!low) return;
  View shown_default(fallback.get(), range.path() + ".default");
  if (*low > capacity)
    e.invalid(range["min"].path(), range["min"].text(),
              "min is larger than capacity value: " + capacity.text());
  if (*chosen < *low)
    e.invalid(shown_default.path(), fallback.text(), "default is less than min: " + low->text());
  if (high) {
    if (*low > *high)
      e.invalid(range["max"].path(), range["min"].text(), "min is larger than max: " + high->text());
    if (*high > capacity)
      e.invalid(range["max"].path(), range["max"].text(),
                "max is larger than capacity value: " + capacity.text());
    if (*chosen > *high)
      e.invalid(shown_default.path(), fallback.text(), "default is more than max: " + high->text());
  }
  if (!step) return;
  View shown_step = range["step"];
  if (step->zero() || step->negative())
    return e.invalid(shown_step.path(), shown_step.text(), "must be greater than zero");
  if (*low + *step > capacity)
    e.invalid(shown_step.path(), shown_step.text(),
              "one step " + (*low + *step).text() + " is larger than capacity value: " + capacity.text());
  for (const auto& value : {chosen, high})
    if (value && step->to_units() > 0 && (value->to_units() - low->to_units()) % step->to_units() != 0)
      e.invalid(shown_step.path(), value->text(),
                "value is not a multiple of a given step (" + step->text() + ") from (" + low->text() + ")");
}
void counters(Errors& e, const View& owner) {
  if (!bounded(e, owner["counters"], kMaxCounters)) return;
  owner["counters"].each_entry([&](std::string_view key, const View& counter) {
    e.all(owner["counters"].path(), key, check_dns1123_label(key));
    amount(e, counter["value"]);
  });
}
// Where a slice or a device is: which of the fields are set; only one may be.
std::vector<std::string> places(Errors& e, const View& owner, const char* when_empty) {
  std::vector<std::string> set;
  View node = owner["nodeName"], selector = owner["nodeSelector"];
  if (node.has() && !node.filled()) e.invalid(node.path(), "", when_empty);
  if (node.filled()) {
    set.push_back("`nodeName`");
    e.all(node.path(), node.text(), check_dns1123_subdomain(node.text()));
  }
  if (NodeSelector parsed; selector.has()) {
    set.push_back("`nodeSelector`");
    if (read(e, selector.shown(), &parsed)) node_selector(e, selector.path(), parsed);
  }
  for (const char* name : {"allNodes", "perDeviceNodeSelection"}) {
    View flag = owner[name];
    if (!flag.has()) continue;
    if (flag.flag()) set.push_back("`" + std::string(name) + "`");
    else e.invalid(flag.path(), flag.shown(), "must be either unset or set to true");
  }
  return set;
}
std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return "{" + out + "}";
}
void device(Errors& e, const View& one, bool placed_alone) {
  dns_label(e, one["name"]);
  size_t fields = one["attributes"].size() + one["capacity"].size(), values = 0;
  if (fields > kMaxAttributes)
    e.invalid(
        one.path(), fields,
        "the total number of attributes and capacities must not exceed " + std::to_string(kMaxAttributes));
  one["attributes"].each_entry([&](std::string_view key, const View& value) {
    qualified_name(e, one["attributes"].path(), key, false);
    attribute(e, value);
    size_t items =
        value["bools"].size() + value["ints"].size() + value["strings"].size() + value["versions"].size();
    values += std::max<size_t>(items, 1);
  });
  if (values > kMaxAttributeValues)
    e.invalid(one.path(), values,
              "the total number of attribute values must not exceed " + std::to_string(kMaxAttributeValues));
  one["capacity"].each_entry([&](std::string_view key, const View& value) {
    View policy = value["requestPolicy"];
    qualified_name(e, one["capacity"].path(), key, false);
    auto capacity = amount(e, value["value"]);
    if (policy.has() && !one["allowMultipleAllocations"].flag())
      e.forbidden(policy.path(), "allowMultipleAllocations must be true");
    else if (policy.has() && capacity) request_policy(e, policy, *capacity);
  });
  if (bounded(e, one["taints"], kMaxTaints))
    one["taints"].each([&](const View& taint) {
      label_name(e, taint["key"], taint["key"].text());
      e.all(taint["value"].path(), taint["value"].text(), check_label_value(taint["value"].text()));
      one_of(e, taint["effect"], kDeviceTaintEffects);
    });
  auto consumption = [&](const View& use) {
    dns_label(e, use["counterSet"]);
    counters(e, use);
  };
  set_of(e, one["consumesCounters"], kMaxConsumptions, consumption,
         [](const View& use) { return use["counterSet"].text(); });
  constexpr char kOne[] =
      "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is "
      "set to true in the ResourceSlice spec";
  if (placed_alone) {
    auto set = places(e, one, "must not be empty");
    if (set.empty()) e.required(one.path(), kOne);
    if (set.size() > 1) e.invalid(one.path(), listed(set), kOne);
  } else if (one["nodeName"].has() || one["nodeSelector"].has() || one["allNodes"].has()) {
    e.invalid(one.path(), json::value(),
              "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set "
              "to true in the ResourceSlice spec");
  }
  binding_conditions(e, one);
}
}  // namespace

void resource_slice(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"], pool = spec["pool"], devices = spec["devices"],
       terms = spec["nodeSelector"]["nodeSelectorTerms"];
  if (spec["driver"].filled()) driver_name(e, spec["driver"]);
  pool_name(e, pool["name"]);
  if (pool["resourceSliceCount"].number() <= 0)
    e.invalid(pool["resourceSliceCount"].path(), pool["resourceSliceCount"].number(),
              "must be greater than zero");
  if (pool["generation"].number() < 0)
    e.invalid(pool["generation"].path(), pool["generation"].number(),
              "must be greater than or equal to zero");
  if (before) {
    View old = View(before)["spec"];
    immutable(e, pool["name"], old["pool"]["name"]);
    for (const char* part : {"driver", "nodeName"}) immutable(e, spec[part], old[part]);
  }
  constexpr char kOne[] =
      "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
  auto set = places(e, spec, "must be either unset or set to a non-empty string");
  if (set.empty()) e.required("spec", kOne);
  if (set.size() > 1) e.invalid("spec", listed(set), std::string(kOne) + ", but multiple fields are set");
  if (spec["nodeSelector"].has() && terms.size() != 1)
    e.invalid(terms.path(), terms.shown(), "must have exactly one node selector term");
  if (spec["sharedCounters"].has() && devices.has())
    e.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed");
  bool more = false;  // than plain devices: then a slice holds fewer
  devices.each([&](const View& one) {
    more |= one["taints"].filled() || one["consumesCounters"].filled();
    one["attributes"].each_entry([&](std::string_view, const View& value) {
      for (const char* kind : {"bools", "ints", "strings", "versions"}) more |= value[kind].has();
    });
  });
  bool placed_alone = spec["perDeviceNodeSelection"].flag();
  set_of(
      e, devices, more ? kMaxDevicesWithMore : kMaxDevices,
      [&](const View& one) { device(e, one, placed_alone); }, by_name);
  auto counter_set = [&](const View& one) {
    dns_label(e, one["name"]);
    counters(e, one);
  };
  set_of(e, spec["sharedCounters"], kMaxCounterSets, counter_set, by_name);
}

}  // namespace api::rules
