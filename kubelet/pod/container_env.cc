// Environment of a container; see the header. Must never look at anything but its arguments.
#include "kubelet/pod/container_env.h"

#include <algorithm>
#include <cctype>

namespace kubelet {

namespace {

class Env {
 public:
  void set(const std::string& key, std::string value) {
    auto [it, fresh] = values_.emplace(key, value);
    if (fresh) order_.push_back(key);
    else it->second = std::move(value);
  }
  const std::string* get(const std::string& key) const {
    auto it = values_.find(key);
    return it == values_.end() ? nullptr : &it->second;
  }
  std::vector<std::string> list() const {
    std::vector<std::string> out;
    for (const auto& key : order_) out.push_back(key + "=" + values_.at(key));
    return out;
  }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> order_;
};

base::Error bad_env(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "make environment", {}, std::move(reason));
}

const char* kind_text(ObjectKind kind) { return kind == ObjectKind::kConfigMap ? "configmap" : "secret"; }

bool valid_name(const std::string& key) {
  return !key.empty() && key.find('=') == std::string::npos && key.find('\0') == std::string::npos;
}

struct Key {
  ObjectKind kind;
  std::string name, key;
  bool optional;
};
base::Result<std::optional<std::string>> key_value(const api::Pod& pod, const Key& ref,
                                                   const EnvSources& sources) {
  const auto* data = sources.data ? sources.data(ref.kind, ref.name) : nullptr;
  if (!data) {
    if (ref.optional) return std::optional<std::string>();
    return bad_env(std::string(kind_text(ref.kind)) + " \"" + ref.name + "\" not found");
  }
  auto it = data->find(ref.key);
  if (it != data->end()) return std::optional<std::string>(it->second);
  if (ref.optional) return std::optional<std::string>();
  return bad_env("couldn't find key " + ref.key + " in " +
                 (ref.kind == ObjectKind::kConfigMap ? "ConfigMap " : "Secret ") + pod.metadata.namespace_ +
                 "/" + ref.name);
}

base::Status add_from(const api::Pod&, const api::EnvFromSource& from, const EnvSources& sources, Env& env) {
  const bool map = from.config_map_ref.has_value();
  if (!map && !from.secret_ref) return {};
  const ObjectKind kind = map ? ObjectKind::kConfigMap : ObjectKind::kSecret;
  const std::string& name = map ? from.config_map_ref->name : from.secret_ref->name;
  const bool optional = (map ? from.config_map_ref->optional : from.secret_ref->optional).value_or(false);
  const auto* data = sources.data ? sources.data(kind, name) : nullptr;
  if (!data) {
    if (optional) return {};
    return bad_env(std::string(kind_text(kind)) + " \"" + name + "\" not found");
  }
  for (const auto& [key, value] : *data)
    if (valid_name(from.prefix + key)) env.set(from.prefix + key, value);
  return {};
}

base::Result<std::optional<std::string>> from_source(const api::Pod& pod, const api::Container& container,
                                                     const api::EnvVarSource& from,
                                                     const EnvSources& sources) {
  if (from.field_ref) return std::optional(TRY(field_value(pod, from.field_ref->field_path, sources)));
  if (from.resource_field_ref)
    return std::optional(TRY(resource_value(pod, *from.resource_field_ref, container.name, sources)));
  if (const auto& ref = from.config_map_key_ref)
    return key_value(pod, {ObjectKind::kConfigMap, ref->name, ref->key, ref->optional.value_or(false)},
                     sources);
  if (const auto& ref = from.secret_key_ref)
    return key_value(pod, {ObjectKind::kSecret, ref->name, ref->key, ref->optional.value_or(false)}, sources);
  return bad_env("fileKeyRef is not supported by this kubelet: use a ConfigMap");
}

std::string upper(std::string_view name) {
  std::string out;
  for (char c : name)
    out += c == '-' || c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

std::string expand(std::string_view text,
                   const std::function<const std::string*(const std::string&)>& value) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
    } else if (text[i + 1] == '$') {
      out += '$';
      ++i;
    } else if (size_t end; text[i + 1] == '(' && (end = text.find(')', i)) != std::string_view::npos) {
      const std::string name(text.substr(i + 2, end - i - 2));
      const std::string* found = value(name);
      out += found ? *found : "$(" + name + ")";
      i = end;
    } else {
      out += '$';
    }
  }
  return out;
}

std::string expand(std::string_view text, const std::vector<std::string>& env) {
  if (text.find('$') == std::string_view::npos) return std::string(text);
  std::string held;
  return expand(text, [&](const std::string& name) -> const std::string* {
    for (const auto& entry : env)
      if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name)) {
        held = entry.substr(name.size() + 1);
        return &held;
      }
    return nullptr;
  });
}

std::vector<std::pair<std::string, std::string>> service_env(const ServiceLink& service) {
  std::vector<std::pair<std::string, std::string>> out;
  if (service.ports.empty()) return out;
  const std::string prefix = upper(service.name);
  out.emplace_back(prefix + "_SERVICE_HOST", service.cluster_ip);
  out.emplace_back(prefix + "_SERVICE_PORT", std::to_string(service.ports[0].port));
  for (const auto& port : service.ports)
    if (!port.name.empty())
      out.emplace_back(prefix + "_SERVICE_PORT_" + upper(port.name), std::to_string(port.port));
  for (size_t i = 0; i < service.ports.size(); ++i) {
    const auto& port = service.ports[i];
    std::string protocol = port.protocol.empty() ? "TCP" : port.protocol;
    std::string lower = protocol;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const std::string number = std::to_string(port.port);
    const std::string url = lower + "://" + service.cluster_ip + ":" + number;
    if (i == 0) out.emplace_back(prefix + "_PORT", url);
    const std::string base = prefix + "_PORT_" + number + "_" + protocol;
    out.emplace_back(base, url);
    out.emplace_back(base + "_PROTO", lower);
    out.emplace_back(base + "_PORT", number);
    out.emplace_back(base + "_ADDR", service.cluster_ip);
  }
  return out;
}

base::Result<std::vector<std::string>> container_env(const api::Pod& pod, const api::Container& container,
                                                     const std::vector<std::string>& image_env,
                                                     const EnvSources& sources) {
  Env env;
  env.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  for (const auto& entry : image_env)
    if (size_t eq = entry.find('='); eq != std::string::npos)
      env.set(entry.substr(0, eq), entry.substr(eq + 1));
  if (container.tty.value_or(false) && !env.get("TERM")) env.set("TERM", "xterm");
  const bool links = spec_of(pod).enable_service_links.value_or(true);
  Env services;
  for (const auto& service : sources.services)
    if (links || service.name == "kubernetes")
      for (auto& [key, value] : service_env(service)) {
        env.set(key, value);
        services.set(key, value);
      }
  for (const auto& from : container.env_from)
    if (auto status = add_from(pod, from, sources, env); !status.ok()) return status.error();
  for (const auto& variable : container.env) {
    if (!variable.value_from) {
      env.set(variable.name, expand(variable.value, [&](const std::string& name) { return env.get(name); }));
      continue;
    }
    auto value = TRY(from_source(pod, container, *variable.value_from, sources));
    if (value) env.set(variable.name, std::move(*value));
  }
  return env.list();
}

}  // namespace kubelet
