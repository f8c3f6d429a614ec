#include "master/auth/rbac_bootstrap.h"

#include "base/log.h"
#include "master/auth/rbac_defaults.h"

namespace master {

namespace json = base::json;
using base::string_at;

namespace {

constexpr auto kRolesAgain = std::chrono::seconds(1);

api::Resource resource_of(const json::value& object) {
  std::string kind(string_at(object, "kind")), plural = kind + "s";
  for (char& c : plural) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return {std::string(kRbacGroup), "v1", plural, kind, !kind.starts_with("Cluster")};
}

}  // namespace

RbacBootstrap::RbacBootstrap(Registry& registry)
    : registry_(registry),
      client_(registry.transport({"system:apiserver", {"system:masters"}}), "kube-apiserver") {}

void RbacBootstrap::start(std::function<void()> done) {
  done_ = std::move(done);
  pending_ = 1;
  for (const json::value& wanted : default_rbac_objects()) ensure(wanted);
  finished(nullptr, {});
}

void RbacBootstrap::ensure(const json::value& wanted) {
  api::Resource resource = resource_of(wanted);
  std::string ns(string_at(wanted, "metadata", "namespace")), name(string_at(wanted, "metadata", "name"));
  auto written = [this, wanted](base::Result<json::value> result) {
    finished(wanted, result.ok() ? base::Status() : base::Status(result.error()));
  };
  ObjectRef current = registry_.cache(kRbacGroup, resource.plural).find(object_key(ns, name));
  if (!current) {
    ++pending_;
    return client_.create(resource, ns, wanted, written);
  }
  json::value stored = parse_object(*current->text);
  if (!reconcile_default(wanted, stored)) return;
  ++pending_;
  client_.update(resource, ns, name, std::move(stored), written);
}

void RbacBootstrap::finished(const json::value& wanted, const base::Status& status) {
  if (!status.ok()) {
    base::log::error("default {} {}: {}", string_at(wanted, "kind"), string_at(wanted, "metadata", "name"),
                     status.error().message());
    if (status.error().kind == base::Kind::kUnavailable) {
      std::erase_if(again_, [](const base::Loop::Handle& timer) { return !timer.active(); });
      again_.push_back(registry_.loop().after(kRolesAgain, [this, wanted] { ensure(wanted); }));
    }
  }
  if (--pending_ > 0 || !done_) return;
  std::exchange(done_, nullptr)();
}

}  // namespace master
