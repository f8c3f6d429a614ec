// Rules of Pods and of the Pod specs inside workloads.
#include "api/validate/container.h"

namespace api::rules {
namespace {

void toleration(Errors& e, const std::string& field, const Toleration& t) {
  if (!t.key.empty()) e.all(field + ".key", t.key, check_qualified_name(t.key));
  else if (t.operator_ != "Exists")
    e.invalid(field + ".operator", t.operator_,
              "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
  if (t.toleration_seconds && t.effect != "NoExecute")
    e.invalid(field + ".effect", t.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
  if (t.operator_ == "Exists" && !t.value.empty())
    e.invalid(field + ".operator", encode(t), "value must be empty when `operator` is 'Exists'");
  if ((t.operator_.empty() || t.operator_ == "Equal") && !check_label_value(t.value).empty())
    e.all(field + ".operator", t.value, check_label_value(t.value));
}

void node_term(Errors& e, const std::string& field, const NodeSelectorTerm& term) {
  auto requirements = [&](const std::vector<NodeSelectorRequirement>& list, const std::string& where,
                          bool keys) {
    for (size_t i = 0; i < list.size(); ++i) {
      const auto& r = list[i];
      std::string here = at(where, i);
      if (keys) e.all(here + ".key", r.key, check_qualified_name(r.key));
      else if (r.key != "metadata.name") e.invalid(here + ".key", r.key, "not a valid field selector key");
      bool some = !r.values.empty();
      if ((r.operator_ == "In" || r.operator_ == "NotIn") && !some)
        e.required(here + ".values", "must be specified when `operator` is 'In' or 'NotIn'");
      if ((r.operator_ == "Exists" || r.operator_ == "DoesNotExist") && some)
        e.forbidden(here + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      if ((r.operator_ == "Gt" || r.operator_ == "Lt") && r.values.size() != 1)
        e.required(here + ".values", "must be specified single value when `operator` is 'Lt' or 'Gt'");
    }
  };
  requirements(term.match_expressions, field + ".matchExpressions", true);
  requirements(term.match_fields, field + ".matchFields", false);
}
}  // namespace

void node_selector(Errors& e, const std::string& field, const NodeSelector& selector) {
  for (size_t i = 0; i < selector.node_selector_terms.size(); ++i)
    node_term(e, at(field + ".nodeSelectorTerms", i), selector.node_selector_terms[i]);
}

namespace {

void weight(Errors& e, const std::string& field, int32_t value) {
  if (value < 1 || value > 100) e.invalid(field + ".weight", value, "must be in the range 1-100");
}
void pod_term(Errors& e, const std::string& field, const PodAffinityTerm& term) {
  if (term.label_selector) label_selector(e, field + ".labelSelector", *term.label_selector);
  if (term.namespace_selector) label_selector(e, field + ".namespaceSelector", *term.namespace_selector);
  if (!term.topology_key.empty())
    e.all(field + ".topologyKey", term.topology_key, check_qualified_name(term.topology_key));
}
template <typename Terms>
void pod_terms(Errors& e, const std::string& field, const std::optional<Terms>& terms) {
  if (!terms) return;
  const auto& hard = terms->required_during_scheduling_ignored_during_execution;
  for (size_t i = 0; i < hard.size(); ++i)
    pod_term(e, at(field + ".requiredDuringSchedulingIgnoredDuringExecution", i), hard[i]);
  const auto& soft = terms->preferred_during_scheduling_ignored_during_execution;
  for (size_t i = 0; i < soft.size(); ++i) {
    std::string where = at(field + ".preferredDuringSchedulingIgnoredDuringExecution", i);
    weight(e, where, soft[i].weight);
    pod_term(e, where + ".podAffinityTerm", soft[i].pod_affinity_term);
  }
}
void affinity(Errors& e, const std::string& field, const Affinity& a) {
  if (a.node_affinity) {
    std::string where = field + ".nodeAffinity";
    if (const auto& hard = a.node_affinity->required_during_scheduling_ignored_during_execution)
      node_selector(e, where + ".requiredDuringSchedulingIgnoredDuringExecution", *hard);
    const auto& soft = a.node_affinity->preferred_during_scheduling_ignored_during_execution;
    for (size_t i = 0; i < soft.size(); ++i) {
      std::string here = at(where + ".preferredDuringSchedulingIgnoredDuringExecution", i);
      weight(e, here, soft[i].weight);
      node_term(e, here + ".preference", soft[i].preference);
    }
  }
  pod_terms(e, field + ".podAffinity", a.pod_affinity);
  pod_terms(e, field + ".podAntiAffinity", a.pod_anti_affinity);
}

void spread(Errors& e, const std::string& field, const TopologySpreadConstraint& s) {
  if (s.max_skew <= 0) e.invalid(field + ".maxSkew", s.max_skew, "must be greater than zero");
  if (!s.topology_key.empty())
    e.all(field + ".topologyKey", s.topology_key, check_qualified_name(s.topology_key));
  if (!s.when_unsatisfiable.empty() && s.when_unsatisfiable != "DoNotSchedule" &&
      s.when_unsatisfiable != "ScheduleAnyway")
    e.not_supported(field + ".whenUnsatisfiable", s.when_unsatisfiable, {"DoNotSchedule", "ScheduleAnyway"});
  if (s.label_selector) label_selector(e, field + ".labelSelector", *s.label_selector);
}

void dns(Errors& e, const std::string& field, const PodSpec& spec) {
  const auto& config = spec.dns_config;
  if (spec.dns_policy == "None" && (!config || config->nameservers.empty()))
    e.required(field + ".dnsConfig.nameservers",
               "must provide at least one DNS nameserver when `dnsPolicy` is None");
  if (!config) return;
  std::string where = field + ".dnsConfig";
  if (config->nameservers.size() > 3)
    e.invalid(where + ".nameservers", encode(*config), "must not have more than 3 nameservers");
  for (size_t i = 0; i < config->nameservers.size(); ++i)
    if (!is_ip(config->nameservers[i]))
      e.invalid(at(where + ".nameservers", i), config->nameservers[i],
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  if (config->searches.size() > 32)
    e.invalid(where + ".searches", encode(*config), "must not have more than 32 search paths");
  for (size_t i = 0; i < config->options.size(); ++i)
    if (config->options[i].name.empty()) e.required(at(where + ".options", i));
}

}  // namespace

void label_selector(Errors& e, const std::string& field, const LabelSelector& selector) {
  for (size_t i = 0; i < selector.match_expressions.size(); ++i) {
    const auto& r = selector.match_expressions[i];
    std::string where = at(field + ".matchExpressions", i);
    if (!r.key.empty()) e.all(where + ".key", r.key, check_qualified_name(r.key));
    if ((r.operator_ == "In" || r.operator_ == "NotIn") && r.values.empty())
      e.required(where + ".values", "must be specified when `operator` is 'In' or 'NotIn'");
    if ((r.operator_ == "Exists" || r.operator_ == "DoesNotExist") && !r.values.empty())
      e.forbidden(where + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    for (size_t v = 0; v < r.values.size(); ++v)
      e.all(at(where + ".values", v), r.values[v], check_label_value(r.values[v]));
  }
}

void pod_spec(Errors& e, const std::string& field, const PodSpec& spec) {
  std::set<std::string> volumes, names, host_ports, init_host_ports;
  for (size_t i = 0; i < spec.volumes.size(); ++i) {
    json::value volume = encode(spec.volumes[i]);
    volume_sources(e, View(&volume, at(field + ".volumes", i)), spec.volumes[i].name, false);
    if (!volumes.insert(spec.volumes[i].name).second)
      e.duplicate(at(field + ".volumes", i) + ".name", spec.volumes[i].name);
  }
  std::set<std::string> gates;
  for (size_t i = 0; i < spec.scheduling_gates.size(); ++i) {
    const std::string where = at(field + ".schedulingGates", i), &gate = spec.scheduling_gates[i].name;
    e.all(where, gate, check_qualified_name(gate));
    if (!gates.insert(gate).second) e.duplicate(where, gate);
  }
  bool host_network = spec.host_network.value_or(false);
  auto containers = [&](const std::vector<Container>& list, const char* name, bool init) {
    for (size_t i = 0; i < list.size(); ++i) {
      std::string where = at(field + "." + name, i);
      container(e, where, list[i], {&volumes, init ? &init_host_ports : &host_ports, host_network, init});
      if (init) init_host_ports.clear();  // init containers run one after the other
      if (!list[i].name.empty() && !names.insert(list[i].name).second)
        e.duplicate(where + ".name", list[i].name);
    }
  };
  containers(spec.containers, "containers", false);
  containers(spec.init_containers, "initContainers", true);
  dns(e, field, spec);
  if (spec.active_deadline_seconds &&
      (*spec.active_deadline_seconds < 1 || *spec.active_deadline_seconds > INT32_MAX))
    e.invalid(field + ".activeDeadlineSeconds", *spec.active_deadline_seconds,
              "must be between 1 and 2147483647, inclusive");
  if (!spec.service_account_name.empty())
    e.all(field + ".serviceAccountName", spec.service_account_name,
          check_dns1123_subdomain(spec.service_account_name));
  if (spec.share_process_namespace.value_or(false) && spec.host_pid.value_or(false))
    e.invalid(field + ".shareProcessNamespace", true,
              "ShareProcessNamespace and HostPID cannot both be enabled");
  if (spec.security_context) {
    const PodSecurityContext& s = *spec.security_context;
    std::string where = field + ".securityContext";
    user_id(e, where + ".runAsUser", s.run_as_user);
    user_id(e, where + ".runAsGroup", s.run_as_group);
    user_id(e, where + ".fsGroup", s.fs_group);
    for (size_t i = 0; i < s.supplemental_groups.size(); ++i)
      user_id(e, at(where + ".supplementalGroups", i), s.supplemental_groups[i]);
    seccomp(e, where + ".seccompProfile", s.seccomp_profile);
  }
  if (spec.affinity) affinity(e, field + ".affinity", *spec.affinity);
  for (size_t i = 0; i < spec.tolerations.size(); ++i)
    toleration(e, at(field + ".tolerations", i), spec.tolerations[i]);
  for (size_t i = 0; i < spec.topology_spread_constraints.size(); ++i)
    spread(e, at(field + ".topologySpreadConstraints", i), spec.topology_spread_constraints[i]);
  for (size_t i = 0; i < spec.host_aliases.size(); ++i) {
    std::string where = at(field + ".hostAliases", i);
    if (!is_ip(spec.host_aliases[i].ip))
      e.invalid(where + ".ip", spec.host_aliases[i].ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    for (const auto& name : spec.host_aliases[i].hostnames)
      e.all(where + ".hostnames", name, check_dns1123_subdomain(name));
  }
}

namespace {

// What may change of a running Pod: set to the old value, the rest must be equal.
void pod_update(Errors& e, const json::value& after, const json::value& before) {
  json::value spec = after.get_object().contains("spec") ? after.at("spec") : json::value(json::object());
  const json::value* old_spec = base::find(before, "spec");
  if (!old_spec || !spec.is_object()) return;
  for (const char* list_name : {"containers", "initContainers"}) {
    json::value* list = spec.get_object().if_contains(list_name);
    const json::value* old_list = base::find(*old_spec, list_name);
    size_t have = list && list->is_array() ? list->get_array().size() : 0;
    size_t had = old_list && old_list->is_array() ? old_list->get_array().size() : 0;
    if (have != had) {
      e.forbidden(std::string("spec.") + list_name, "pod updates may not add or remove containers");
      return;
    }
    for (size_t i = 0; i < have; ++i)
      if (list->get_array()[i].is_object())
        list->get_array()[i].get_object()["image"] =
            std::string(base::string_at(old_list->get_array()[i], "image"));
  }
  auto restore = [&](const char* name) {
    json::object& object = spec.get_object();
    if (const json::value* old = base::find(*old_spec, name)) object[name] = *old;
    else if (auto it = object.find(name); it != object.end()) object.stable_erase(it);
  };
  auto same_or_added = [&] {  // tolerations: the old ones must all be there
    const json::value* had = base::find(*old_spec, "tolerations");
    const json::value* have = base::find(spec, "tolerations");
    if (!had || !had->is_array()) return true;
    for (const json::value& one : had->get_array()) {
      bool found = false;
      if (have && have->is_array())
        for (const json::value& other : have->get_array()) found |= one == other;
      if (!found) return false;
    }
    return true;
  };
  if (same_or_added()) restore("tolerations");
  const json::value* deadline = base::find(spec, "activeDeadlineSeconds");
  const json::value* old_deadline = base::find(*old_spec, "activeDeadlineSeconds");
  if (old_deadline && !deadline) {
    e.invalid("spec.activeDeadlineSeconds", json::value(nullptr),
              "must not update from a positive integer to nil value");
    return;
  }
  if (old_deadline && base::as_int(deadline) > base::as_int(old_deadline)) {
    e.invalid("spec.activeDeadlineSeconds", base::as_int(deadline),
              "must be less than or equal to previous value");
    return;
  }
  restore("activeDeadlineSeconds");
  restore("schedulingGates");
  if (base::as_int(base::find(*old_spec, "terminationGracePeriodSeconds")) < 0 &&
      base::as_int(base::find(spec, "terminationGracePeriodSeconds")) == 1)
    restore("terminationGracePeriodSeconds");
  if (spec == *old_spec) return;
  std::string changed;
  for (const auto& item : spec.get_object()) {
    const json::value* old = base::find(*old_spec, item.key());
    if (!old || *old != item.value()) changed += (changed.empty() ? "" : ", ") + std::string(item.key());
  }
  for (const auto& item : old_spec->get_object())
    if (!spec.get_object().contains(item.key()))
      changed += (changed.empty() ? "" : ", ") + std::string(item.key());
  e.forbidden("spec",
              "pod updates may not change fields other than "
              "`spec.containers[*].image`,`spec.initContainers[*].image`,"
              "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
              "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative): "
              "changed: " +
                  changed);
}

// A Pod that a node runs of its own and shows to the API: told by its annotation, which nobody else gives or
// takes.
void mirror(Errors& e, const json::value& after, const json::value* before) {
  constexpr std::string_view kMirror = "kubernetes.io/config.mirror";
  const std::string field = "metadata.annotations[kubernetes.io/config.mirror]";
  const json::value* now = base::find_path(after, "metadata", "annotations", kMirror);
  if (now && base::string_at(after, "spec", "nodeName").empty())
    e.invalid(field, base::as_string(now), "must set spec.nodeName if mirror pod annotation is set");
  if (!before) return;
  const json::value* was = base::find_path(*before, "metadata", "annotations", kMirror);
  if (was && (!now || *now != *was)) e.forbidden(field, "may not remove or update mirror pod annotation");
  else if (now && !was) e.forbidden(field, "may not add mirror pod annotation");
}

}  // namespace

void pod(Errors& e, const json::value& after, const json::value* before) {
  mirror(e, after, before);
  const json::value* given = base::find(after, "spec");
  PodSpec spec;  // nothing else of a Pod is looked at
  if (!given || given->is_null()) e.required("spec.containers");
  else if (!read(e, *given, &spec)) return;
  else pod_spec(e, "spec", spec);
  if (before) return pod_update(e, after, *before);
  if (!spec.ephemeral_containers.empty()) e.forbidden("spec.ephemeralContainers", "cannot be set on create");
  if (!spec.scheduling_gates.empty() && !spec.node_name.empty())
    e.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
}

void pod_status(Errors& e, const json::value& after, const json::value&) {
  View status = View(&after)["status"];
  one_of(e, status["phase"], {"Pending", "Running", "Succeeded", "Failed", "Unknown"});
  if (std::string_view ip = status["podIP"].text(); !ip.empty() && !is_ip(ip))
    e.invalid("status.podIP", ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

}  // namespace api::rules
