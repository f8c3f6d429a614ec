// Values of a Pod; see the header. Must never look at anything but its arguments.
#include "kubelet/volumes/pod_values.h"

#include "api/quantity.h"

namespace kubelet {

namespace {

base::Error bad_value(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "make environment", {}, std::move(reason));
}

}  // namespace

const api::PodSpec& spec_of(const api::Pod& pod) {
  static const api::PodSpec none;
  return pod.spec ? *pod.spec : none;
}

const api::Container* find_container(const api::Pod& pod, std::string_view name, bool* init) {
  for (const auto& c : spec_of(pod).init_containers) {
    if (c.name != name) continue;
    if (init) *init = true;
    return &c;
  }
  for (const auto& c : spec_of(pod).containers) {
    if (c.name != name) continue;
    if (init) *init = false;
    return &c;
  }
  return nullptr;
}

base::Result<std::string> field_value(const api::Pod& pod, const std::string& path,
                                      const EnvSources& sources) {
  const api::ObjectMeta& meta = pod.metadata;
  auto keyed = [&](std::string_view prefix,
                   const std::map<std::string, std::string>& map) -> std::optional<std::string> {
    if (!path.starts_with(prefix) || !path.ends_with("']")) return std::nullopt;
    auto it = map.find(path.substr(prefix.size(), path.size() - prefix.size() - 2));
    return it == map.end() ? "" : it->second;
  };
  auto listed = [](const std::map<std::string, std::string>& map) {
    std::string out;
    for (const auto& [key, value] : map) {
      std::string escaped;
      for (char c : value) {
        if (c == '"' || c == '\\') escaped += '\\';
        if (c == '\n') escaped += "\\n";
        else escaped += c;
      }
      out += (out.empty() ? "" : "\n") + key + "=\"" + escaped + "\"";
    }
    return out;
  };
  if (path == "metadata.name") return meta.name;
  if (path == "metadata.namespace") return meta.namespace_;
  if (path == "metadata.uid") return meta.uid;
  if (path == "metadata.labels") return listed(meta.labels);
  if (path == "metadata.annotations") return listed(meta.annotations);
  if (auto value = keyed("metadata.labels['", meta.labels)) return *value;
  if (auto value = keyed("metadata.annotations['", meta.annotations)) return *value;
  if (path == "spec.nodeName") return sources.node_name;
  if (path == "spec.serviceAccountName") return spec_of(pod).service_account_name;
  if (path == "status.podIP" || path == "status.podIPs") return sources.pod_ip;
  if (path == "status.hostIP" || path == "status.hostIPs") return sources.host_ip;
  return bad_value("unsupported fieldPath: " + path);
}

base::Result<std::string> resource_value(const api::Pod& pod, const api::ResourceFieldSelector& selector,
                                         const std::string& container, const EnvSources& sources) {
  const std::string& name = selector.container_name.empty() ? container : selector.container_name;
  const api::Container* c = find_container(pod, name);
  if (!c) return bad_value("container " + name + " not found");
  const size_t dot = selector.resource.find('.');
  const std::string which = selector.resource.substr(0, dot);
  const std::string resource = dot == std::string::npos ? "" : selector.resource.substr(dot + 1);
  if ((which != "limits" && which != "requests") || resource.empty())
    return bad_value("unsupported container resource: " + selector.resource);
  static const api::ResourceRequirements none;
  const auto& r = c->resources ? *c->resources : none;
  const auto& map = which == "limits" ? r.limits : r.requests;
  auto it = map.find(resource);
  const bool cpu = resource == "cpu";
  int64_t milli = 0;
  if (it != map.end()) milli = api::milli_of(it->second);
  else if (which == "limits")
    milli = cpu ? sources.node_cpu_milli : resource == "memory" ? sources.node_memory_bytes * 1000 : 0;
  int64_t divisor = selector.divisor.empty() ? 0 : api::milli_of(selector.divisor);
  if (divisor <= 0) divisor = 1000;
  return std::to_string((milli + divisor - 1) / divisor);
}

}  // namespace kubelet
