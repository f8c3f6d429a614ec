// Rules of containers: environment, ports, mounts, probes, hooks, resources.
#include <algorithm>
#include <set>

#include "api/quantity.h"
#include "api/validate/container.h"

namespace api::rules {
namespace {

void port_reference(Errors& e, const std::string& field, const IntOrString& port) {
  if (port.is_string) e.all(field, port.text, check_port_name(port.text));
  else if (port.number < 1 || port.number > 65535)
    e.invalid(field, port, "must be between 1 and 65535, inclusive");
}

// Of exec, httpGet, tcpSocket, grpc, sleep: exactly one.
void one_handler(Errors& e, const std::string& field,
                 const std::vector<std::pair<const char*, bool>>& handlers) {
  size_t set = 0;
  for (const auto& [name, is_set] : handlers)
    if (is_set && ++set > 1) e.forbidden(field + "." + name, "may not specify more than 1 handler type");
  if (!set) e.required(field, "must specify a handler type");
}
void exec_action(Errors& e, const std::string& field, const std::optional<ExecAction>& action) {
  if (action && action->command.empty()) e.required(field + ".command");
}
void http_action(Errors& e, const std::string& field, const std::optional<HTTPGetAction>& action) {
  if (action) port_reference(e, field + ".port", action->port);
}

void probe(Errors& e, const std::string& field, const std::optional<Probe>& p, bool success_must_be_one) {
  if (!p) return;
  one_handler(e, field,
              {{"exec", p->exec.has_value()},
               {"httpGet", p->http_get.has_value()},
               {"tcpSocket", p->tcp_socket.has_value()},
               {"grpc", p->grpc.has_value()}});
  exec_action(e, field + ".exec", p->exec);
  http_action(e, field + ".httpGet", p->http_get);
  if (p->tcp_socket) port_reference(e, field + ".tcpSocket.port", p->tcp_socket->port);
  if (p->grpc && (p->grpc->port < 1 || p->grpc->port > 65535))
    e.invalid(field + ".grpc.port", p->grpc->port, "must be between 1 and 65535, inclusive");
  if (success_must_be_one && p->success_threshold.value_or(1) != 1)
    e.invalid(field + ".successThreshold", *p->success_threshold, "must be 1");
  if (p->termination_grace_period_seconds && *p->termination_grace_period_seconds <= 0)
    e.invalid(field + ".terminationGracePeriodSeconds", *p->termination_grace_period_seconds,
              "must be greater than 0");
}
void hook(Errors& e, const std::string& field, const std::optional<LifecycleHandler>& h) {
  if (!h) return;
  one_handler(e, field,
              {{"exec", h->exec.has_value()},
               {"httpGet", h->http_get.has_value()},
               {"tcpSocket", h->tcp_socket.has_value()},
               {"sleep", h->sleep.has_value()}});
  exec_action(e, field + ".exec", h->exec);
  http_action(e, field + ".httpGet", h->http_get);
  if (h->tcp_socket) port_reference(e, field + ".tcpSocket.port", h->tcp_socket->port);
  if (h->sleep && h->sleep->seconds < 0)
    e.invalid(field + ".sleep", h->sleep->seconds, "must be non-negative");
}

bool subscript(const std::string& path, std::string_view prefix) {
  return path.starts_with(std::string(prefix) + "['") && path.ends_with("']");
}
void env_source(Errors& e, const std::string& field, const EnvVar& var) {
  const EnvVarSource& from = *var.value_from;
  int set = from.config_map_key_ref.has_value() + from.field_ref.has_value() +
            from.resource_field_ref.has_value() + from.secret_key_ref.has_value() +
            from.file_key_ref.has_value();
  json::value shown = encode(from);
  if (set == 0)
    e.invalid(field, shown,
              "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
  else if (!var.value.empty()) e.invalid(field, shown, "may not be specified when `value` is not empty");
  else if (set > 1) e.invalid(field, shown, "may not have more than one field specified at a time");
  if (from.config_map_key_ref && from.config_map_key_ref->name.empty())
    e.required(field + ".configMapKeyRef.name");
  if (from.secret_key_ref && from.secret_key_ref->name.empty()) e.required(field + ".secretKeyRef.name");
  if (from.field_ref) {
    static const std::vector<std::string> kPaths = {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
    const std::string& path = from.field_ref->field_path;
    if (!path.empty() && std::find(kPaths.begin(), kPaths.end(), path) == kPaths.end() &&
        !subscript(path, "metadata.labels") && !subscript(path, "metadata.annotations"))
      e.not_supported(field + ".fieldRef.fieldPath", path, kPaths);
  }
  if (from.resource_field_ref)
    resource_field(e, field + ".resourceFieldRef", *from.resource_field_ref, false);
}

void environment(Errors& e, const std::string& field, const Container& c) {
  for (size_t i = 0; i < c.env.size(); ++i)
    if (c.env[i].value_from) env_source(e, at(field + ".env", i) + ".valueFrom", c.env[i]);
  for (size_t i = 0; i < c.env_from.size(); ++i) {
    const EnvFromSource& from = c.env_from[i];
    std::string where = at(field + ".envFrom", i);
    if (from.config_map_ref.has_value() == from.secret_ref.has_value())
      e.invalid(where, encode(from),
                from.secret_ref ? "may not have more than one field specified at a time"
                                : "must specify one of: `configMapRef` or `secretRef`");
    if (from.config_map_ref && from.config_map_ref->name.empty()) e.required(where + ".configMapRef.name");
    if (from.secret_ref && from.secret_ref->name.empty()) e.required(where + ".secretRef.name");
  }
}

void ports(Errors& e, const std::string& field, const Container& c, const ContainerContext& context) {
  std::set<std::string> names;
  for (size_t i = 0; i < c.ports.size(); ++i) {
    const ContainerPort& port = c.ports[i];
    std::string where = at(field + ".ports", i);
    if (!port.name.empty() && !names.insert(port.name).second) e.duplicate(where + ".name", port.name);
    int32_t host = port.host_port.value_or(0);
    if (context.host_network && host != port.container_port)
      e.invalid(where + ".hostPort", host, "must match `containerPort` when `hostNetwork` is true");
    if (!host) continue;
    std::string key = port.protocol + "/" + port.host_ip + "/" + std::to_string(host);
    if (!context.host_ports->insert(key).second) e.duplicate(where + ".hostPort", key);
    if (!port.host_ip.empty() && !is_ip(port.host_ip))
      e.invalid(where + ".hostIP", port.host_ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  }
}

void mounts(Errors& e, const std::string& field, const Container& c, const ContainerContext& context) {
  std::set<std::string> paths;
  for (size_t i = 0; i < c.volume_mounts.size(); ++i) {
    const VolumeMount& mount = c.volume_mounts[i];
    std::string where = at(field + ".volumeMounts", i);
    if (!mount.name.empty() && !context.volumes->contains(mount.name))
      e.not_found(where + ".name", mount.name);
    no_nul(e, where + ".mountPath", mount.mount_path);
    if (!mount.mount_path.empty() && !paths.insert(mount.mount_path).second)
      e.invalid(where + ".mountPath", mount.mount_path, "must be unique");
    relative_path(e, where + ".subPath", mount.sub_path);
    relative_path(e, where + ".subPathExpr", mount.sub_path_expr);
    if (!mount.sub_path.empty() && !mount.sub_path_expr.empty())
      e.invalid(where + ".subPathExpr", mount.sub_path_expr,
                "subPathExpr and subPath are mutually exclusive");
    bool privileged = c.security_context && c.security_context->privileged.value_or(false);
    if (mount.mount_propagation == "Bidirectional" && !privileged)
      e.forbidden(where + ".mountPropagation",
                  "Bidirectional mount propagation is available only to privileged containers");
  }
}

bool whole_units(std::string_view resource) {
  return resource.find('/') != std::string_view::npos;  // extended resources
}
void resource_name(Errors& e, const std::string& field, const std::string& name) {
  auto wrong = check_qualified_name(name);
  e.all(field, name, wrong);
  if (!wrong.empty() || name.find('/') != std::string::npos) return;
  if (name != "cpu" && name != "memory" && name != "ephemeral-storage" && !name.starts_with("hugepages-"))
    e.invalid(field, name, "must be a standard resource for containers");
}
void resources(Errors& e, const std::string& field, const ResourceRequirements& r) {
  auto side = [&](const std::map<std::string, std::string>& list, const std::string& where) {
    for (const auto& [name, value] : list) {
      std::string here = where + "[" + name + "]";
      resource_name(e, here, name);
      quantity(e, here, value);
      if (auto q = Quantity::parse(value); whole_units(name) && q.ok() && *q != Quantity::of(q->to_units()))
        e.invalid(here, value, "must be an integer");
    }
  };
  side(r.limits, field + ".limits");
  side(r.requests, field + ".requests");
  for (const auto& [name, request] : r.requests) {
    auto limit = r.limits.find(name);
    if (limit == r.limits.end()) {
      if (whole_units(name) || name.starts_with("hugepages-"))
        e.required(field + ".limits", "Limit must be set for non overcommitable resources");
      continue;
    }
    auto want = Quantity::parse(request), most = Quantity::parse(limit->second);
    if (!want.ok() || !most.ok()) continue;
    if (whole_units(name) && *want != *most)
      e.invalid(field + ".requests", request, "must be equal to " + name + " limit of " + limit->second);
    else if (*want > *most)
      e.invalid(field + ".requests", request,
                "must be less than or equal to " + name + " limit of " + limit->second);
  }
}

}  // namespace

void relative_path(Errors& e, const std::string& field, const std::string& path) {
  if (path.empty()) return;
  if (path[0] == '/') e.invalid(field, path, "must be a relative path");
  no_parent_steps(e, field, path);
}
void no_nul(Errors& e, const std::string& field, const std::string& path) {
  if (path.find('\0') != path.npos) e.invalid(field, path, "must not contain the character NUL");
}
void no_parent_steps(Errors& e, const std::string& field, const std::string& path) {
  no_nul(e, field, path);
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin) == "..") return e.invalid(field, path, "must not contain '..'");
    begin = end + 1;
  }
}
void resource_field(Errors& e, const std::string& field, const ResourceFieldSelector& from, bool in_volume) {
  static const std::vector<std::string> kNames = {
      "limits.cpu",   "limits.ephemeral-storage",   "limits.memory",
      "requests.cpu", "requests.ephemeral-storage", "requests.memory"};
  if (in_volume && from.container_name.empty()) e.required(field + ".containerName");
  if (!from.resource.empty() && std::find(kNames.begin(), kNames.end(), from.resource) == kNames.end() &&
      from.resource.find("hugepages-") == std::string::npos)
    e.not_supported(field + ".resource", from.resource, kNames);
}

void seccomp(Errors& e, const std::string& field, const std::optional<SeccompProfile>& profile) {
  if (!profile) return;
  if (profile->type == "Localhost") {
    if (profile->localhost_profile.empty())
      e.required(field + ".localhostProfile", "must be set when seccomp type is Localhost");
    else relative_path(e, field + ".localhostProfile", profile->localhost_profile);
  } else if (!profile->localhost_profile.empty()) {
    e.invalid(field + ".localhostProfile", profile->localhost_profile,
              "can only be set when seccomp type is Localhost");
  }
}
void user_id(Errors& e, const std::string& field, const std::optional<int64_t>& id) {
  if (id && (*id < 0 || *id > INT32_MAX))
    e.invalid(field, *id, "must be between 0 and 2147483647, inclusive");
}

void container(Errors& e, const std::string& field, const Container& c, const ContainerContext& context) {
  if (c.image.empty()) e.required(field + ".image");
  else if (c.image.front() == ' ' || c.image.back() == ' ')
    e.invalid(field + ".image", c.image, "must not have leading or trailing whitespace");
  environment(e, field, c);
  ports(e, field, c, context);
  mounts(e, field, c, context);
  bool sidecar = context.init && c.restart_policy == "Always";
  if (!c.restart_policy.empty() && !context.init) {
    e.forbidden(field + ".restartPolicy", "may not be set for non-init containers");
  } else if (!c.restart_policy.empty() && !sidecar) {
    e.not_supported(field + ".restartPolicy", c.restart_policy, {"Always"});
  }
  if (context.init && !sidecar) {
    const char* why = "may not be set for init containers without restartPolicy=Always";
    if (c.lifecycle) e.forbidden(field + ".lifecycle", why);
    if (c.liveness_probe) e.forbidden(field + ".livenessProbe", why);
    if (c.readiness_probe) e.forbidden(field + ".readinessProbe", why);
    if (c.startup_probe) e.forbidden(field + ".startupProbe", why);
  } else {
    if (c.lifecycle) {
      hook(e, field + ".lifecycle.postStart", c.lifecycle->post_start);
      hook(e, field + ".lifecycle.preStop", c.lifecycle->pre_stop);
    }
    probe(e, field + ".livenessProbe", c.liveness_probe, true);
    probe(e, field + ".readinessProbe", c.readiness_probe, false);
    probe(e, field + ".startupProbe", c.startup_probe, true);
  }
  if (c.resources) resources(e, field + ".resources", *c.resources);
  if (c.security_context) {
    const SecurityContext& s = *c.security_context;
    user_id(e, field + ".securityContext.runAsUser", s.run_as_user);
    user_id(e, field + ".securityContext.runAsGroup", s.run_as_group);
    seccomp(e, field + ".securityContext.seccompProfile", s.seccomp_profile);
    if (s.allow_privilege_escalation && !*s.allow_privilege_escalation && s.privileged.value_or(false))
      e.invalid(field + ".securityContext", encode(s),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  }
}

}  // namespace api::rules
