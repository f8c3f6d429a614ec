// What controllers keep of objects: small projections read straight from JSON, labels and
// tolerations shared between the many Pods of one template, label selectors.
// Never a whole Pod; templates only of their owners. Single-threaded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/selector.h"
#include "base/clock.h"
#include "base/json.h"

namespace api {
struct Resource;
}

namespace master::controllers {

namespace json = base::json;
using Labels = std::map<std::string, std::string>;
using api::Selector;

std::string key_of(std::string_view ns, std::string_view name);  // "ns/name"; "name" without ns
std::pair<std::string, std::string> split_key(std::string_view key);

// metadata.resourceVersion as the number our store writes; 0 when absent.
uint64_t revision_of(const json::value& object);

inline json::value copy_of(const json::value* value) {
  return value ? *value : json::value();
}  // null when absent

// A time of an object, at most two centuries from 1970: sums with what users write in seconds (seconds_of)
// and differences fit base::Time, which ends in 2262. Nothing for what is no time.
std::optional<base::Time> read_time(std::string_view text);
// Seconds that a user may have written, at most 2^31.
base::Duration seconds_of(int64_t seconds);

struct OwnerRef {
  std::string api_version, kind, name, uid;
  bool controller = false, block = false;
};

struct Meta {
  std::string ns, name, uid;
  uint64_t revision = 0;
  int64_t generation = 0;
  base::Time created{};
  bool deleting = false;
  std::string key() const { return key_of(ns, name); }
};
Meta read_meta(const json::value& object);
std::vector<OwnerRef> read_owners(const json::value& object);
// The one with controller: true; empty uid when there is none.
OwnerRef controller_owner(const json::value& object);
Labels read_labels(const json::value* labels);
std::string_view label(const Labels& labels, const std::string& key);

// Selectors of owners: a plain map (ReplicationController, Service) or a metav1.LabelSelector.
// Absent, empty or malformed selects nothing here, since no owner may claim every Pod.
Selector map_selector(const json::value* map);
Selector label_selector(const json::value* selector);

struct Toleration {
  std::string key, op, value, effect;
  std::optional<int64_t> seconds;
  bool operator==(const Toleration&) const = default;
};
struct Taint {
  std::string key, value, effect;
  std::string time_added;
  bool operator==(const Taint&) const = default;
};
bool tolerates(const Toleration& toleration, const Taint& taint);
std::vector<Toleration> read_tolerations(const json::value* list);
std::vector<Taint> read_taints(const json::value* list);

struct NamedPort {
  std::string name, protocol;
  int port = 0;
  bool operator==(const NamedPort&) const = default;
};
// What Pods of one template have in common; shared by Interner.
struct PodShape {
  Labels labels;
  std::vector<NamedPort> ports;
  std::vector<Toleration> tolerations;
  std::string restart_policy, hostname, subdomain;
  std::string owner_api_version;  // the controller's
  int deletion_cost = 0;
};

// Under which terms (store.h) Pods and what else has a controller are found again.
std::string owned_by(std::string_view uid);
std::string orphans_of(std::string_view ns);
std::string on_node(std::string_view node);

struct JobPod;      // jobs.h
struct PodVolumes;  // volumes.h

struct Pod {
  Meta meta;
  std::shared_ptr<const PodShape> shape;
  std::string owner_uid, owner_kind, owner_name;  // the controller
  std::string phase, node;
  std::string named_node;  // of a Pod without a node: the one that its affinity names (DaemonSets)
  std::vector<std::string> ips;
  bool ready = false, evicted = false;
  base::Time ready_since{};
  base::Time deletion_at{};  // metadata.deletionTimestamp
  int restarts = 0;
  std::shared_ptr<const JobPod> job;          // of Pods that Jobs made, and of no other
  std::shared_ptr<const PodVolumes> volumes;  // of Pods that use claims, and of no other
  bool active() const { return !meta.deleting && phase != "Succeeded" && phase != "Failed"; }
  bool finished() const { return phase == "Succeeded" || phase == "Failed"; }

  // How Hub::follow() reads and finds them.
  static std::function<std::shared_ptr<const Pod>(const json::value&)> reader(const api::Resource& resource);
  static std::vector<std::string> terms(const Pod& pod);
};

class PodReader {
 public:
  std::shared_ptr<const Pod> read(const json::value& object);

 private:
  std::unordered_map<std::string, std::weak_ptr<const PodShape>> shapes_;
  size_t sweep_at_ = 1024;
};

// An IntOrString ("25%", 3) of `total`; a percentage is rounded up or down. Nothing when it is neither.
std::optional<int64_t> scaled(const json::value& int_or_percent, int64_t total, bool round_up);

// Conditions are kept as JSON objects; these two are all that is done with them.
const json::object* find_condition(const json::array& conditions, std::string_view type);
// Sets type/status/reason/message; lastTransitionTime moves only when status does. Returns
// whether anything but times changed. `extra_update_time` also maintains lastUpdateTime.
bool set_condition(json::array& conditions, std::string_view type, std::string_view status,
                   std::string_view reason, std::string_view message, base::Time now,
                   bool extra_update_time = false);
void remove_condition(json::array& conditions, std::string_view type);

}  // namespace master::controllers
