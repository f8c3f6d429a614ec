// Contents of a Pod's volumes as values. Must never touch the file system.
#include "kubelet/volumes/plan.h"

#include <algorithm>

#include "api/quantity.h"

namespace kubelet {

namespace {

base::Error bad_volume(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "make volume", {}, std::move(reason));
}

// A key's path must stay inside the volume (validated by the API server too).
bool safe_path(const std::string& path) {
  if (path.empty() || path[0] == '/' || path.starts_with("..")) return false;
  size_t at = 0;
  while (at <= path.size()) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

struct Keys {
  ObjectKind kind;
  std::string name;
  const std::vector<api::KeyToPath>& items;
  bool optional;
  uint32_t mode;
};
base::Status add_keys(const Keys& keys, const VolumeSources& sources, std::vector<VolumeFile>& out) {
  const char* kind = keys.kind == ObjectKind::kConfigMap ? "configmap" : "secret";
  const auto* data = sources.env.data ? sources.env.data(keys.kind, keys.name) : nullptr;
  if (!data) {
    if (keys.optional) return {};
    return bad_volume(std::string(kind) + " \"" + keys.name + "\" not found");
  }
  if (keys.items.empty()) {
    for (const auto& [key, value] : *data) out.push_back({.path = key, .data = value, .mode = keys.mode});
    return {};
  }
  for (const auto& item : keys.items) {
    auto it = data->find(item.key);
    if (it == data->end()) {
      if (keys.optional) continue;
      return bad_volume(std::string(kind) + " references non-existent config key: " + item.key);
    }
    if (!safe_path(item.path))
      return bad_volume("path \"" + item.path + "\" of key " + item.key + " leaves the volume");
    out.push_back({.path = item.path,
                   .data = it->second,
                   .mode = item.mode ? static_cast<uint32_t>(*item.mode) : keys.mode});
  }
  return {};
}

base::Status add_fields(const api::Pod& pod, const std::vector<api::DownwardAPIVolumeFile>& items,
                        uint32_t mode, const VolumeSources& sources, std::vector<VolumeFile>& out) {
  for (const auto& item : items) {
    if (!safe_path(item.path)) return bad_volume("path \"" + item.path + "\" leaves the volume");
    std::string data;
    if (item.field_ref) data = TRY(field_value(pod, item.field_ref->field_path, sources.env));
    else if (item.resource_field_ref)
      data = TRY(resource_value(pod, *item.resource_field_ref, "", sources.env));
    out.push_back({.path = item.path,
                   .data = std::move(data),
                   .mode = item.mode ? static_cast<uint32_t>(*item.mode) : mode});
  }
  return {};
}

// The user of every container, when they all say one and it is the same.
std::optional<uint32_t> token_user(const api::Pod& pod) {
  const api::PodSpec& spec = spec_of(pod);
  std::optional<int64_t> user;
  for (const auto* list : {&spec.init_containers, &spec.containers})
    for (const auto& c : *list) {
      std::optional<int64_t> own = spec.security_context ? spec.security_context->run_as_user : std::nullopt;
      if (c.security_context && c.security_context->run_as_user) own = c.security_context->run_as_user;
      if (!own || (user && *user != *own)) return std::nullopt;
      user = own;
    }
  if (!user || *user < 0 || *user > INT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*user);
}

base::Status add_projection(const api::Pod& pod, const api::VolumeProjection& source, uint32_t mode,
                            const VolumeSources& sources, VolumeContent& out) {
  if (const auto& s = source.config_map)
    return add_keys({ObjectKind::kConfigMap, s->name, s->items, s->optional.value_or(false), mode}, sources,
                    out.files);
  if (const auto& s = source.secret) {
    out.in_memory = true;
    return add_keys({ObjectKind::kSecret, s->name, s->items, s->optional.value_or(false), mode}, sources,
                    out.files);
  }
  if (const auto& s = source.downward_api) return add_fields(pod, s->items, mode, sources, out.files);
  if (const auto& s = source.service_account_token) {
    out.in_memory = true;
    auto it = sources.tokens.find({s->audience, s->expiration_seconds.value_or(3600)});
    if (it == sources.tokens.end()) return bad_volume("no service account token was issued");
    if (!safe_path(s->path)) return bad_volume("path \"" + s->path + "\" leaves the volume");
    // Only who runs there may read a token, where that is known: of the one user that all containers run
    // as, or (by the volume's ownership, which adds 0040) of the Pod's group. KEP-1205.
    const auto user = token_user(pod);
    const bool group = spec_of(pod).security_context && spec_of(pod).security_context->fs_group;
    out.files.push_back(
        {.path = s->path, .data = it->second, .mode = user || group ? 0600 : mode, .user = user});
    return {};
  }
  return bad_volume(
      "unsupported projected source: use configMap, secret, downwardAPI or serviceAccountToken");
}

base::Result<VolumeContent> content_of(const api::Pod& pod, const api::Volume& v,
                                       const VolumeSources& sources) {
  VolumeContent out;
  out.name = v.name;
  auto mode = [](const std::optional<int32_t>& m) { return m ? static_cast<uint32_t>(*m) : 0644u; };
  if (v.host_path) {
    out.kind = VolumeContent::Kind::kHost;
    out.host_path = v.host_path->path;
    out.host_type = v.host_path->type;
  } else if (v.config_map) {
    out.kind = VolumeContent::Kind::kFiles;
    TRY(add_keys({ObjectKind::kConfigMap, v.config_map->name, v.config_map->items,
                  v.config_map->optional.value_or(false), mode(v.config_map->default_mode)},
                 sources, out.files));
  } else if (v.secret) {
    out.kind = VolumeContent::Kind::kFiles;
    out.in_memory = true;
    TRY(add_keys({ObjectKind::kSecret, v.secret->secret_name, v.secret->items,
                  v.secret->optional.value_or(false), mode(v.secret->default_mode)},
                 sources, out.files));
  } else if (v.downward_api) {
    out.kind = VolumeContent::Kind::kFiles;
    TRY(add_fields(pod, v.downward_api->items, mode(v.downward_api->default_mode), sources, out.files));
  } else if (v.projected) {
    out.kind = VolumeContent::Kind::kFiles;
    for (const auto& source : v.projected->sources)
      TRY(add_projection(pod, source, mode(v.projected->default_mode), sources, out));
  } else if (v.persistent_volume_claim || v.ephemeral) {
    auto claimed = sources.claims.find(v.name);
    if (claimed == sources.claims.end()) return bad_volume("its claim is not known yet");
    out.kind = VolumeContent::Kind::kClaimed;
    out.claimed = claimed->second;
  } else if (v.csi || v.nfs || v.iscsi || v.image || v.fc || v.rbd || v.cephfs) {
    return bad_volume(
        "this kind of volume is not supported: use emptyDir, hostPath, configMap, secret, downwardAPI, "
        "projected, persistentVolumeClaim or ephemeral");
  } else {  // as in the API: no source means emptyDir
    const bool memory = v.empty_dir && v.empty_dir->medium == "Memory";
    if (v.empty_dir && !v.empty_dir->medium.empty() && !memory)
      return bad_volume("unknown storage medium \"" + v.empty_dir->medium + "\": use \"\" or Memory");
    out.kind = memory ? VolumeContent::Kind::kMemory : VolumeContent::Kind::kEmpty;
    if (v.empty_dir && !v.empty_dir->size_limit.empty())
      out.size_limit_bytes = api::bytes_of(v.empty_dir->size_limit);
  }
  return out;
}

}  // namespace

VolumeNeeds needs_of(const api::Volume& v) {
  VolumeNeeds out;
  out.claim = v.persistent_volume_claim || v.ephemeral;
  if (v.config_map) out.objects.push_back({ObjectKind::kConfigMap, v.config_map->name});
  if (v.secret) out.objects.push_back({ObjectKind::kSecret, v.secret->secret_name});
  if (!v.projected) return out;
  for (const auto& s : v.projected->sources) {
    if (s.config_map) out.objects.push_back({ObjectKind::kConfigMap, s.config_map->name});
    if (s.secret) out.objects.push_back({ObjectKind::kSecret, s.secret->name});
    if (s.service_account_token)
      out.tokens.push_back(
          {s.service_account_token->audience, s.service_account_token->expiration_seconds.value_or(3600)});
  }
  return out;
}

bool is_written(const api::Volume& v) { return v.config_map || v.secret || v.downward_api || v.projected; }

std::vector<Reference> references(const api::Pod& pod) {
  std::vector<Reference> out;
  auto map = [&](const std::string& name) { out.push_back({ObjectKind::kConfigMap, name}); };
  auto secret = [&](const std::string& name) { out.push_back({ObjectKind::kSecret, name}); };
  const api::PodSpec& spec = spec_of(pod);
  for (const auto& v : spec.volumes)
    for (auto& reference : needs_of(v).objects) out.push_back(std::move(reference));
  auto look = [&](const api::Container& c) {
    for (const auto& from : c.env_from) {
      if (from.config_map_ref) map(from.config_map_ref->name);
      if (from.secret_ref) secret(from.secret_ref->name);
    }
    for (const auto& e : c.env) {
      if (!e.value_from) continue;
      if (e.value_from->config_map_key_ref) map(e.value_from->config_map_key_ref->name);
      if (e.value_from->secret_key_ref) secret(e.value_from->secret_key_ref->name);
    }
  };
  for (const auto& c : spec.init_containers) look(c);
  for (const auto& c : spec.containers) look(c);
  for (const auto& s : spec.image_pull_secrets)
    if (!s.name.empty()) secret(s.name);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<TokenKey> tokens(const api::Pod& pod) {
  std::vector<TokenKey> out;
  for (const auto& v : spec_of(pod).volumes)
    for (auto& token : needs_of(v).tokens) out.push_back(std::move(token));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

base::Duration token_renewal(base::Duration life) {
  return std::clamp<base::Duration>(life * 4 / 5, std::chrono::seconds(1), std::chrono::hours(24));
}
base::Duration token_retry(int failures_before) {
  return std::min<base::Duration>(std::chrono::seconds(1) * (1 << std::min(failures_before, 6)),
                                  std::chrono::seconds(60));
}

base::Result<VolumeContent> plan_volume(const api::Pod& pod, const api::Volume& v,
                                        const VolumeSources& sources) {
  auto content = content_of(pod, v, sources);
  if (content.ok()) return content;
  base::Error error = content.error();
  error.reason = "MountVolume.SetUp failed for volume \"" + v.name + "\" : " + error.reason;
  return error;
}

}  // namespace kubelet
