// Registration, status, Lease and network of this node. One timer runs for ever: the Lease's.
#include "kubelet/node/agent.h"

#include <algorithm>

#include "api/local_volumes.h"
#include "base/log.h"

namespace kubelet {

namespace json = base::json;
using std::chrono::seconds;

namespace {
constexpr auto kLeasePeriod = seconds(10);
constexpr int kLeaseSeconds = 40;
constexpr int kHealthEvery = 6;  // Leases: conditions are looked at once a minute
}  // namespace

NodeAgent::NodeAgent(base::Loop& loop, api::Client& client, Background& background, Events& events,
                     Options options)
    : loop_(loop), client_(client), background_(background), events_(events), options_(std::move(options)),
      nodes_(
          loop, client.transport(),
          {.resource = api::resources::nodes, .ns = "", .label_selector = "", .field_selector = ""},
          [this](api::Informer::Change change, const json::value& object) { node_changed(change, object); }) {
}

void NodeAgent::start() {
  register_node();
  nodes_.start();
  renew_lease();
}

void NodeAgent::set_images(std::vector<api::ContainerImage> images) {
  options_.facts.images = std::move(images);
  sync_status();
}

void NodeAgent::register_node() {
  if (registering_) return;
  registering_ = true;
  auto again = [this](const base::Error& error) {
    registering_ = false;
    base::log::warning("register node {}: {}", options_.facts.node_name, error.message());
    retry_ = loop_.after(register_backoff_.next(error, std::chrono::steady_clock::now()),
                         [this] { register_node(); });
  };
  api::Node node = make_node(options_.facts);
  if (!options_.local_volumes.empty())
    node.metadata.annotations[std::string(api::local_volumes::kDirectoryAnnotation)] = options_.local_volumes;
  client_.create(
      api::resources::nodes, "", api::encode(node), [this, again](base::Result<json::value> result) {
        if (result.ok()) {
          registering_ = false;
          registered_ = true;
          base::log::info("node {} registered", options_.facts.node_name);
          EventSubject subject{.kind = "Node",
                               .ns = "",
                               .name = options_.facts.node_name,
                               .uid = options_.facts.node_name,
                               .container = ""};
          events_.emit(subject, false, "Starting", "Starting kubelet.");
          return;  // the informer brings it back
        }
        if (result.error().kind != base::Kind::kExists) return again(result.error());
        // Here before: only the labels and the annotation that are ours are made right.
        json::object labels, annotations;
        if (!options_.local_volumes.empty())
          annotations[api::local_volumes::kDirectoryAnnotation] = options_.local_volumes;
        for (const auto& [key, value] : make_node(options_.facts).metadata.labels) labels[key] = value;
        client_.patch(api::resources::nodes, "", options_.facts.node_name, "merge",
                      json::object{{"metadata", json::object{{"labels", std::move(labels)},
                                                             {"annotations", std::move(annotations)}}}},
                      [this, again](base::Result<json::value> result) {
                        if (!result.ok()) return again(result.error());
                        registering_ = false;
                        registered_ = true;
                      });
      });
}

void NodeAgent::node_changed(api::Informer::Change change, const json::value& object) {
  const std::string name(base::string_at(object, "metadata", "name"));
  const bool own = name == options_.facts.node_name;
  if (change == api::Informer::Change::kDeleted) {
    if (own) {
      own_.reset();
      registered_ = false;
      base::log::warning("node {}: deleted from the API: registering again", name);
      return register_node();
    }
    routes_.erase(name);
    return sync_network();
  }
  if (own) {
    auto node = api::decode<api::Node>(object);
    if (!node.ok()) return base::log::error("node {}: {}", name, node.error().message());
    own_ = std::move(*node);
    if (own_->spec && !own_->spec->pod_cidr.empty()) {
      auto cidr = base::Cidr::parse_v4(own_->spec->pod_cidr);
      if (!cidr) {
        network_error_ = "spec.podCIDR " + own_->spec->pod_cidr + " is not an IPv4 network";
      } else if (auto pool = netns::AddressPool::of(*cidr); !pool.ok()) {
        network_error_ = pool.error().message();
      } else if (!pod_cidr_) {
        pod_cidr_ = cidr;
      } else if (pod_cidr_->canonical().text() != cidr->canonical().text()) {
        base::log::warning("node {}: spec.podCIDR changed from {} to {}: kept until the kubelet starts again",
                           name, pod_cidr_->canonical().text(), cidr->canonical().text());
      }
    }
    sync_status();
    return sync_network();
  }
  std::string address;
  if (const json::value* addresses = base::find_path(object, "status", "addresses");
      addresses && addresses->is_array())
    for (const auto& a : addresses->get_array())
      if (base::string_at(a, "type") == "InternalIP") address = base::string_at(a, "address");
  // As the kernel tells them again: another form of the same network would be added for ever.
  const auto cidr = base::Cidr::parse_v4(base::string_at(object, "spec", "podCIDR"));
  const auto via = base::Ip::parse_v4(address);
  const std::pair<std::string, std::string> route{cidr ? cidr->canonical().text() : "",
                                                  via ? via->text() : ""};
  if (!cidr || !via || cidr->prefix == 0) routes_.erase(name);  // nobody's Pods are the whole world
  else if (routes_[name] == route) return;
  else routes_[name] = route;
  sync_network();
}

void NodeAgent::sync_network() {
  if (!pod_cidr_) return;
  if (network_busy_) {
    network_again_ = true;
    return;
  }
  netns::NodeNetwork desired;
  desired.bridge = options_.bridge;
  desired.pod_cidr = *pod_cidr_;
  desired.mtu = options_.mtu;
  for (const auto& [name, route] : routes_) {
    // Nobody else is asked for our own Pods, whatever another Node says.
    const auto other = base::Cidr::parse_v4(route.first);
    if (other && other->overlaps(*pod_cidr_)) continue;
    if (route.second != options_.facts.node_ip) desired.routes[route.first] = route.second;
  }
  if (applied_ && applied_->routes == desired.routes && network_ready_) return;
  network_busy_ = true;
  background_.call<base::Status>(
      [desired]() -> base::Status {
        auto observed = TRY(netns::observe(desired.bridge));
        return netns::act(desired, netns::plan(desired, observed));
      },
      [this, desired](base::Status status) {
        network_busy_ = false;
        if (!status.ok()) {
          network_error_ = "node network: " + status.error().message();
          base::log::error("{}", network_error_);
          network_retry_ = loop_.after(seconds(2), [this] { sync_network(); });
          sync_status();
        } else {
          applied_ = desired;
          if (!network_ready_) {
            network_ready_ = true;
            base::log::info("node network: {} on {}", desired.pod_cidr.canonical().text(), desired.bridge);
            if (on_network) on_network(desired.pod_cidr);
            sync_status();
          }
        }
        if (std::exchange(network_again_, false)) sync_network();
      });
}

void NodeAgent::sync_status() {
  if (!own_) return;
  if (status_busy_) {
    status_again_ = true;
    return;
  }
  NodeHealth health = read_health(options_.root_dir);
  health.network_ready = network_ready_;
  health.network_message = "container runtime network not ready: " + network_error_;
  const api::NodeStatus want = node_status(*own_, options_.facts, health, base::wall_now());
  const json::value text = api::encode(want);
  if (own_->status && text == api::encode(*own_->status)) return;
  status_busy_ = true;
  client_.patch(
      api::resources::nodes, "", options_.facts.node_name, "strategic-merge",
      json::object{{"status", node_status_patch(own_->status.value_or(api::NodeStatus{}), want)}},
      [this](base::Result<json::value> result) {
        status_busy_ = false;
        if (result.ok()) {
          status_backoff_.reset();
          if (auto node = api::decode<api::Node>(*result); node.ok()) own_ = std::move(*node);
        } else if (result.error().kind != base::Kind::kNotFound) {
          base::log::warning("node {}: publish status: {}", options_.facts.node_name,
                             result.error().message());
          status_retry_ = loop_.after(status_backoff_.next(result.error(), std::chrono::steady_clock::now()),
                                      [this] { sync_status(); });
        }
        if (std::exchange(status_again_, false)) sync_status();
      },
      "status");
}

// KEP-589: the Lease is the heartbeat; its holder is the node.
void NodeAgent::renew_lease() {
  lease_timer_ = loop_.after(kLeasePeriod, [this] { renew_lease(); });
  if (++lease_count_ % kHealthEvery == 0) sync_status();
  applied_.reset();  // somebody may have flushed a rule, a route or an address
  sync_network();
  if (lease_busy_) return;
  lease_busy_ = true;
  const std::string ns = "kube-node-lease", name = options_.facts.node_name;
  const std::string now = base::format_micro_time(base::wall_now());
  if (lease_.is_object()) {
    base::object_at(lease_.get_object(), "spec")["renewTime"] = now;
    client_.update(api::resources::leases, ns, name, lease_, [this](base::Result<json::value> result) {
      lease_busy_ = false;
      if (result.ok()) {
        lease_ = std::move(*result);
        lease_backoff_.reset();
      } else if (result.error().kind == base::Kind::kNotFound || result.error().kind == base::Kind::kConflict)
        lease_ = nullptr;  // read anew next time
      else {
        // Not the next period's: a master that lives for a moment now and then must not take the node for
        // lost.
        base::log::warning("renew lease: {}", result.error().message());
        lease_timer_ = loop_.after(lease_backoff_.next(result.error(), std::chrono::steady_clock::now()),
                                   [this] { renew_lease(); });
      }
    });
    return;
  }
  client_.get(api::resources::leases, ns, name, [this, ns, name, now](base::Result<json::value> result) {
    lease_busy_ = false;
    if (result.ok()) {
      lease_ = std::move(*result);
      base::object_at(lease_.get_object(), "spec")["holderIdentity"] = name;
      lease_timer_ = loop_.after(std::chrono::milliseconds(1), [this] { renew_lease(); });
      return;
    }
    if (result.error().kind != base::Kind::kNotFound) {
      base::log::warning("read lease: {}", result.error().message());
      lease_timer_ = loop_.after(lease_backoff_.next(result.error(), std::chrono::steady_clock::now()),
                                 [this] { renew_lease(); });
      return;
    }
    lease_busy_ = true;
    json::object metadata{{"name", name}, {"namespace", ns}};
    if (own_)
      metadata["ownerReferences"] = json::array{
          json::object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", name}, {"uid", own_->metadata.uid}}};
    client_.create(api::resources::leases, ns,
                   json::object{{"apiVersion", "coordination.k8s.io/v1"},
                                {"kind", "Lease"},
                                {"metadata", std::move(metadata)},
                                {"spec", json::object{{"holderIdentity", name},
                                                      {"leaseDurationSeconds", kLeaseSeconds},
                                                      {"renewTime", now}}}},
                   [this](base::Result<json::value> result) {
                     lease_busy_ = false;
                     if (result.ok()) {
                       lease_ = std::move(*result);
                     } else {
                       // The namespace kube-node-lease comes with the master's start.
                       base::log::warning("create lease: {}", result.error().message());
                       lease_timer_ =
                           loop_.after(lease_backoff_.next(result.error(), std::chrono::steady_clock::now()),
                                       [this] { renew_lease(); });
                     }
                   });
  });
}

}  // namespace kubelet
