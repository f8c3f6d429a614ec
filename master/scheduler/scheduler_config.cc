#include "master/scheduler/scheduler_config.h"

#include <algorithm>

#include "base/json_lists.h"

namespace master::scheduler {
using base::as_int;
using base::as_string;
using base::find;
using base::string_at;

namespace {

// Of kube-scheduler's default plugins those that are no row here: always on, or not there at all.
constexpr std::string_view kOthers[] = {
    "PrioritySort",  "SchedulingGates", "NodeName",           "DefaultBinder",    "DefaultPreemption",
    "VolumeBinding", "VolumeZone",      "VolumeRestrictions", "NodeVolumeLimits", "DynamicResources"};
// Of other processes' tasks or of how many threads there are: nothing to do.
constexpr std::string_view kWithoutEffect[] = {
    "apiVersion",       "kind",        "profiles",        "leaderElection",
    "clientConnection", "parallelism", "enableProfiling", "enableContentionProfiling"};

base::Error bad(const std::string& path, std::string reason) {
  return base::make_error(base::Kind::kInvalid, "KubeSchedulerConfiguration", path, std::move(reason));
}
base::Result<int> number_at(const json::value& object, const char* key, const std::string& path,
                            int64_t least, int64_t most, int absent) {
  const json::value* value = find(object, key);
  if (!value || value->is_null()) return absent;
  const int64_t number = as_int(value, INT64_MIN);
  if (number < least || number > most)
    return bad(path + "." + key, fmt::format("must be a number from {} to {}", least, most));
  return static_cast<int>(number);
}
base::Status known_keys(const json::value& object, const std::string& path,
                        std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return bad(path, "must be an object");
  for (const auto& item : object.get_object())
    if (std::find(known.begin(), known.end(), std::string_view(item.key())) == known.end())
      return bad(path + "." + std::string(item.key()), "not known here");
  return base::Status();
}

base::Status read_plugin_set(const json::value& set, const std::string& path, bool filters, bool scores,
                             Profile& profile) {
  TRY(known_keys(set, path, {"enabled", "disabled"}));
  for (const json::value& item : base::list_at(set, "disabled")) {
    const std::string name(string_at(item, "name"));
    if (name != "*" && !rule(name)) return bad(path + ".disabled", "\"" + name + "\" can't be disabled here");
    for (const Rule& one : rules())
      if (name == "*" || name == one.name) {
        if (filters && one.filter) profile.without.insert(one.name);
        if (scores) profile.weights[one.name] = 0;
      }
  }
  for (const json::value& item : base::list_at(set, "enabled")) {
    const std::string name(string_at(item, "name"));
    const Rule* one = rule(name);
    if (!one) {
      if (std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers)) continue;
      return bad(path + ".enabled", "\"" + name + "\" is not known here");
    }
    if (filters) profile.without.erase(name);
    const int weight = TRY(number_at(item, "weight", path + ".enabled", 0, 1000, 0));
    if (scores) profile.weights[name] = weight ? weight : one->weight;
  }
  return base::Status();
}
base::Status read_fit(const json::value& args, const std::string& path, Fit& fit) {
  TRY(known_keys(args, path, {"apiVersion", "kind", "scoringStrategy"}));
  const json::value* strategy = find(args, "scoringStrategy");
  if (!strategy || strategy->is_null()) return base::Status();
  const std::string here = path + ".scoringStrategy";
  TRY(known_keys(*strategy, here, {"type", "resources", "requestedToCapacityRatio"}));
  const std::string_view type = string_at(*strategy, "type");
  if (type.empty() || type == "LeastAllocated") fit.strategy = Fit::Strategy::kLeastAllocated;
  else if (type == "MostAllocated") fit.strategy = Fit::Strategy::kMostAllocated;
  else if (type == "RequestedToCapacityRatio") fit.strategy = Fit::Strategy::kRequestedToCapacityRatio;
  else return bad(here + ".type", "must be LeastAllocated, MostAllocated or RequestedToCapacityRatio");
  if (const json::array& resources = base::list_at(*strategy, "resources"); !resources.empty()) {
    fit.resources.clear();
    for (const json::value& item : resources) {
      const int weight = TRY(number_at(item, "weight", here + ".resources", 1, 100, 1));
      fit.resources.emplace_back(string_at(item, "name"), weight);
    }
  }
  if (const json::value* ratio = find(*strategy, "requestedToCapacityRatio"))
    for (const json::value& point : base::list_at(*ratio, "shape")) {
      const int utilization = TRY(number_at(point, "utilization", here + ".shape", 0, 100, 0));
      const int score = TRY(number_at(point, "score", here + ".shape", 0, 10, 0));
      if (!fit.shape.empty() && utilization <= fit.shape.back().first)
        return bad(here + ".shape", "utilization values must be sorted in increasing order");
      fit.shape.emplace_back(utilization, score);
    }
  if (fit.strategy == Fit::Strategy::kRequestedToCapacityRatio && fit.shape.empty())
    return bad(here + ".requestedToCapacityRatio.shape", "at least one point must be specified");
  return base::Status();
}
base::Result<Profile> read_profile(const json::value& item, const std::string& path, int percentage) {
  TRY(known_keys(item, path, {"schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"}));
  Profile profile;
  if (std::string_view name = string_at(item, "schedulerName"); !name.empty()) profile.scheduler_name = name;
  profile.percentage_of_nodes_to_score =
      TRY(number_at(item, "percentageOfNodesToScore", path, 0, 100, percentage));
  if (const json::value* plugins = find(item, "plugins")) {
    TRY(known_keys(*plugins, path + ".plugins", {"multiPoint", "filter", "score"}));
    // What is said of one point goes before what is said of all.
    if (const json::value* set = find(*plugins, "multiPoint"))
      TRY(read_plugin_set(*set, path + ".plugins.multiPoint", true, true, profile));
    if (const json::value* set = find(*plugins, "filter"))
      TRY(read_plugin_set(*set, path + ".plugins.filter", true, false, profile));
    if (const json::value* set = find(*plugins, "score"))
      TRY(read_plugin_set(*set, path + ".plugins.score", false, true, profile));
  }
  for (const json::value& config : base::list_at(item, "pluginConfig")) {
    const std::string name(string_at(config, "name")), here = path + ".pluginConfig." + name;
    const json::value* args = find(config, "args");
    if (!args || args->is_null()) continue;
    if (name == "NodeResourcesFit") {
      TRY(read_fit(*args, here, profile.fit));
    } else if (name == "InterPodAffinity") {
      TRY(known_keys(*args, here, {"apiVersion", "kind", "hardPodAffinityWeight"}));
      profile.hard_pod_affinity_weight = TRY(number_at(*args, "hardPodAffinityWeight", here, 0, 100, 1));
    } else {
      return bad(here, "not known here");
    }
  }
  return profile;
}

}  // namespace

base::Result<Config> read_config(const json::value& file) {
  if (string_at(file, "apiVersion") != "kubescheduler.config.k8s.io/v1" ||
      string_at(file, "kind") != "KubeSchedulerConfiguration")
    return bad("apiVersion, kind", "must be kubescheduler.config.k8s.io/v1, KubeSchedulerConfiguration");
  Config config;
  for (const auto& item : file.get_object()) {
    const std::string_view key = item.key();
    if (key == "percentageOfNodesToScore" || key == "podInitialBackoffSeconds" ||
        key == "podMaxBackoffSeconds")
      continue;
    if (std::find(std::begin(kWithoutEffect), std::end(kWithoutEffect), key) == std::end(kWithoutEffect))
      return bad(std::string(key), "not known here");
  }
  const int percentage = TRY(number_at(file, "percentageOfNodesToScore", "", 0, 100, 0));
  const int first = TRY(number_at(file, "podInitialBackoffSeconds", "", 1, 3600, 1));
  const int last = TRY(number_at(file, "podMaxBackoffSeconds", "", first, 3600, std::max(first, 10)));
  config.first_backoff = std::chrono::seconds(first);
  config.last_backoff = std::chrono::seconds(last);
  const json::array& profiles = base::list_at(file, "profiles");
  if (!profiles.empty()) config.profiles.clear();
  else config.profiles.begin()->second.percentage_of_nodes_to_score = percentage;
  for (size_t i = 0; i < profiles.size(); ++i) {
    const std::string path = fmt::format("profiles[{}]", i);
    Profile profile = TRY(read_profile(profiles[i], path, percentage));
    const std::string name = profile.scheduler_name;
    if (!config.profiles.emplace(name, std::move(profile)).second)
      return bad(path + ".schedulerName", "Duplicate value: \"" + name + "\"");
  }
  return config;
}

}  // namespace master::scheduler
