#include "master/admission/service_account_admission.h"

#include <algorithm>
#include <map>

#include "api/status.h"
#include "base/json_lists.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

namespace {

constexpr std::string_view kMountPath = "/var/run/secrets/kubernetes.io/serviceaccount",
                           kVolumePrefix = "kube-api-access-";
constexpr auto kTokenPatience = std::chrono::seconds(1);

json::object token_volume(const std::string& name) {
  json::object token{{"serviceAccountToken", json::object{{"expirationSeconds", 3607}, {"path", "token"}}}};
  json::object ca{
      {"configMap", json::object{{"items", json::array{json::object{{"key", "ca.crt"}, {"path", "ca.crt"}}}},
                                 {"name", "kube-root-ca.crt"}}}};
  json::object field{{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}};
  json::object ns{
      {"downwardAPI", json::object{{"items", json::array{json::object{{"fieldRef", std::move(field)},
                                                                      {"path", "namespace"}}}}}}};
  return {
      {"name", name},
      {"projected", json::object{{"defaultMode", 0644},
                                 {"sources", json::array{std::move(token), std::move(ca), std::move(ns)}}}}};
}

// True when one of the containers of `list` mounts the volume now.
bool mount_in(json::object& spec, const char* list, const std::string& volume) {
  json::value* containers = spec.if_contains(list);
  if (!containers || !containers->is_array()) return false;
  bool mounted = false;
  for (json::value& container : containers->get_array()) {
    if (!container.is_object()) continue;
    json::array& mounts = base::list_in(container.get_object(), "volumeMounts");
    if (std::any_of(mounts.begin(), mounts.end(),
                    [](const json::value& m) { return string_at(m, "mountPath") == kMountPath; }))
      continue;
    mounts.push_back(json::object{{"mountPath", kMountPath}, {"name", volume}, {"readOnly", true}});
    mounted = true;
  }
  return mounted;
}

bool wants_token(const json::value& pod, const json::value& account) {
  if (const json::value* own = find_path(pod, "spec", "automountServiceAccountToken"); own && own->is_bool())
    return own->get_bool();
  return base::as_bool(find(account, "automountServiceAccountToken"), true);
}

class ServiceAccountAdmission final : public AdmissionPlugin {
 public:
  ServiceAccountAdmission(base::Loop& loop, ObjectCache& accounts) : loop_(loop), accounts_(accounts) {
    listener_ = accounts_.subscribe([this](const WatchEvent& event) {
      if (event.type == WatchEvent::Type::kDeleted) return;
      for (auto& [id, waiting] : waiting_)
        if (waiting.key == event.object->key)
          waiting.timer = loop_.after(base::Duration(0), [this, number = id] { resume(number); });
    });
  }
  ~ServiceAccountAdmission() override { accounts_.unsubscribe(listener_); }
  std::string_view name() const override { return "ServiceAccount"; }
  using AdmissionPlugin::mutate;
  using AdmissionPlugin::validate;

  void mutate(AttributesPtr attributes, Done done) override {
    if (!attributes->is("", "pods") || !attributes->object.is_object()) return done(nullptr);
    if (attributes->operation == Operation::kUpdate && attributes->subresource == "ephemeralcontainers")
      return mount_ephemeral(*attributes, done);
    if (attributes->operation != Operation::kCreate || !attributes->subresource.empty()) return done(nullptr);
    if (find_path(attributes->object, "metadata", "annotations", "kubernetes.io/config.mirror"))
      return done(nullptr);
    std::string key = object_key(attributes->ns, string_at(attributes->object, "spec", "serviceAccountName"));
    if (accounts_.find(key) || !key.ends_with("/default")) return done(admit(*attributes, key));
    uint64_t id = next_++;
    waiting_[id] = {std::move(attributes), std::move(done), key,
                    loop_.after(kTokenPatience, [this, id] { resume(id); })};
  }

 private:
  struct Waiting {
    AttributesPtr attributes;
    Done done;
    std::string key;
    base::Loop::Handle timer;
  };

  void resume(uint64_t id) {
    auto node = waiting_.extract(id);
    if (node.empty()) return;
    Waiting& waiting = node.mapped();
    waiting.done(admit(*waiting.attributes, waiting.key));
  }

  json::value admit(AdmissionAttributes& attributes, const std::string& key) const {
    ObjectRef object = accounts_.find(key);
    std::string name = key.substr(key.find('/') + 1);
    if (!object)
      return api::forbidden(
          attributes.resource->named(), attributes.name,
          "error looking up service account " + key + ": serviceaccount \"" + name + "\" not found");
    json::value account = parse_object(*object->text);
    json::object& spec = base::object_at(attributes.object.get_object(), "spec");
    if (wants_token(attributes.object, account))
      mount_account_token(attributes.object, std::string(kVolumePrefix) + random_suffix());
    if (const json::array& secrets = list_at(find(account, "imagePullSecrets"));
        list_at(spec.if_contains("imagePullSecrets")).empty() && !secrets.empty())
      spec["imagePullSecrets"] = secrets;
    return nullptr;
  }

  // A container that comes later gets the mount as its elders have it.
  static void mount_ephemeral(AdmissionAttributes& attributes, const Done& done) {
    json::object& spec = base::object_at(attributes.object.get_object(), "spec");
    for (const json::value& volume : list_at(spec.if_contains("volumes")))
      if (std::string name(string_at(volume, "name")); name.starts_with(kVolumePrefix)) {
        json::array before = list_at(find_path(attributes.old, "spec", "ephemeralContainers"));
        mount_in(spec, "ephemeralContainers", name);
        // What runs already cannot change.
        json::array& now = base::list_in(spec, "ephemeralContainers");
        for (size_t i = 0; i < std::min(before.size(), now.size()); ++i) now[i] = before[i];
      }
    done(nullptr);
  }

  base::Loop& loop_;
  ObjectCache& accounts_;
  uint64_t listener_ = 0, next_ = 1;
  std::map<uint64_t, Waiting> waiting_;
};

}  // namespace

void mount_account_token(json::value& pod, const std::string& volume_name) {
  json::object& spec = base::object_at(pod.get_object(), "spec");
  // One that somebody put there by hand, or that a copied Pod brings along, serves as well.
  std::string name = volume_name;
  bool there = false;
  for (const json::value& volume : list_at(spec.if_contains("volumes")))
    if (std::string_view has = string_at(volume, "name"); has.starts_with(kVolumePrefix)) {
      name = has;
      there = true;
    }
  bool mounted = mount_in(spec, "initContainers", name);
  mounted |= mount_in(spec, "containers", name);
  if (mounted && !there) base::list_in(spec, "volumes").push_back(token_volume(name));
}

std::unique_ptr<AdmissionPlugin> make_service_account_admission(base::Loop& loop, ObjectCache& accounts) {
  return std::make_unique<ServiceAccountAdmission>(loop, accounts);
}

}  // namespace master
