#include "master/scheduler/scheduler.h"

#include "base/json_lists.h"
#include "base/log.h"
#include "master/scheduler/pod_writer.h"
#include "master/scheduler/preemption_plan.h"
#include "master/scheduler/queue_plan.h"

namespace master::scheduler {
using namespace std::chrono_literals;
using base::find;
using base::find_path;
using base::string_at;
using Seen = api::Informer::Change;

namespace {

// Decisions of one turn of the loop, so that watches are read in between: so many, or those of so long.
constexpr int kPerTurn = 64;
constexpr base::Duration kTurn = std::chrono::milliseconds(5);
constexpr const char* kGatedMessage = "Scheduling is blocked due to non-empty scheduling gates";

const json::value* condition_of(const json::value& pod, std::string_view type) {
  for (const json::value& condition : base::list_at(find_path(pod, "status", "conditions")))
    if (string_at(condition, "type") == type) return &condition;
  return nullptr;
}
// The queue's clock: monotonic.
base::Time queue_now() { return base::Time(base::steady_now().time_since_epoch()); }

}  // namespace

struct Scheduler::Impl {
  struct Waiting {
    std::shared_ptr<const Ask> ask;
    const Profile* profile = nullptr;
    controllers::ObjectRef ref;
    std::string told;          // the message of its last Event
    std::string shown, since;  // of its condition, as the watch last showed it or we have written it since
    std::string nominated;     // in its status, the same
    bool binding = false;
  };

  Impl(base::Loop& loop_in, std::shared_ptr<api::Transport> transport_in, Config config,
       std::function<base::Time()> now)
      : loop(loop_in), transport(std::move(transport_in)), writer(transport, std::move(now)),
        profiles(std::move(config.profiles)), queue(config.first_backoff, config.last_backoff) {}

  void start() {
    follow(api::resources::nodes, [this](Seen seen, const json::value& object) { node_seen(seen, object); });
    follow(api::resources::namespaces,
           [this](Seen seen, const json::value& object) { namespace_seen(seen, object); });
    follow({"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"},
           [this](Seen seen, const json::value& object) { budget_seen(seen, object); });
    follow(controllers::kPersistentVolumeClaims, [this](Seen seen, const json::value& object) {
      claim_seen(seen == Seen::kDeleted, claim_reader(object));
    });
    follow(controllers::kPersistentVolumes, [this](Seen seen, const json::value& object) {
      volume_seen(seen == Seen::kDeleted, volume_reader(object));
    });
    follow({"storage.k8s.io", "v1", "csinodes", "CSINode", false}, [this](Seen seen,
                                                                          const json::value& object) {
      picture.change_volumes().set_limits(std::string(string_at(object, "metadata", "name")),
                                          seen == Seen::kDeleted ? Volumes::Limits() : read_limits(object));
      changed({Change::kVolumes});
    });
    follow(controllers::kStorageClasses, [this](Seen seen, const json::value& object) {
      auto cls = class_reader(object);
      picture.change_volumes().set_class(cls->meta.name, seen == Seen::kDeleted ? nullptr : cls);
      changed({Change::kVolumes});
    });
    follow(api::resources::pods, [this](Seen seen, const json::value& object) { pod_seen(seen, object); });
    for (auto& informer : informers) informer->start();
  }
  void follow(api::Resource resource, std::function<void(Seen, const json::value&)> on_object) {
    api::Informer::Options options;
    options.resource = std::move(resource);
    informers.push_back(
        std::make_unique<api::Informer>(loop, *transport, options, std::move(on_object), [this] {
          synced = true;
          for (const auto& informer : informers) synced &= informer->synced();
          wake();
        }));
  }

  // ---- observe
  void node_seen(Seen seen, const json::value& object) {
    const std::string name(string_at(object, "metadata", "name"));
    if (seen == Seen::kDeleted) return picture.remove_node(name);
    Change change;
    change.what = picture.set_node(read_node(object));
    change.node = picture.node(name);
    if (change.what) changed(change);
  }
  void namespace_seen(Seen seen, const json::value& object) {
    const std::string name(string_at(object, "metadata", "name"));
    picture.set_namespace(name, seen == Seen::kDeleted
                                    ? Labels{}
                                    : controllers::read_labels(find_path(object, "metadata", "labels")));
    changed({Change::kNamespaceLabels});
  }
  void budget_seen(Seen seen, const json::value& object) {
    const std::string key = controllers::key_of(string_at(object, "metadata", "namespace"),
                                                string_at(object, "metadata", "name"));
    if (seen == Seen::kDeleted) picture.remove_budget(key);
    else picture.set_budget(key, read_budget(object));
  }
  // Each try that fails makes a Pod wait longer: only what can make a difference is one.
  void claim_seen(bool gone, Volumes::ClaimPtr claim) {
    const auto before = picture.volumes().claim(claim->meta.key());
    picture.change_volumes().set_claim(claim->meta.key(), gone ? nullptr : claim);
    if (!gone && before && before->meta.uid == claim->meta.uid && is_bound(*before) == is_bound(*claim) &&
        before->volume == claim->volume && before->storage_class == claim->storage_class &&
        before->meta.deleting == claim->meta.deleting && before->phase == claim->phase &&
        controllers::label(before->annotations, controllers::kSelectedNode) ==
            controllers::label(claim->annotations, controllers::kSelectedNode))
      return;
    Change change{Change::kVolumes};
    change.claim = &claim->meta;
    changed(change);
  }
  void volume_seen(bool gone, Volumes::VolumePtr volume) {
    const auto before = picture.volumes().volume(volume->meta.name);
    picture.change_volumes().set_volume(volume->meta.name, gone ? nullptr : volume);
    if (!gone && before && before->claim.has_value() == volume->claim.has_value() &&
        before->labels == volume->labels && before->meta.deleting == volume->meta.deleting)
      return;
    if (!gone) changed({Change::kVolumes});
  }
  void pod_seen(Seen seen, const json::value& object) {
    const std::string key = controllers::key_of(string_at(object, "metadata", "namespace"),
                                                string_at(object, "metadata", "name"));
    const std::string_view phase = string_at(object, "status", "phase"),
                           node = string_at(object, "spec", "nodeName");
    if (seen == Seen::kDeleted || phase == "Succeeded" || phase == "Failed") {
      drop(key);
      return unplace(key);
    }
    if (!node.empty()) {
      drop(key);
      return place(key, object, std::string(node));
    }
    const std::string_view scheduler_name = string_at(object, "spec", "schedulerName");
    auto profile = profiles.find(scheduler_name.empty() ? "default-scheduler" : std::string(scheduler_name));
    if (profile == profiles.end() || !string_at(object, "metadata", "deletionTimestamp").empty())
      return drop(key);
    if (!base::list_at(find_path(object, "spec", "schedulingGates")).empty()) {
      drop(key);
      return tell_gated(key, object);
    }
    gated.erase(key);
    pending(key, object, profile->second);
  }
  void place(const std::string& key, const json::value& object, std::string node) {
    Placed now;
    now.uid = string_at(object, "metadata", "uid");
    now.node = std::move(node);
    now.terminating = !string_at(object, "metadata", "deletionTimestamp").empty();
    if (const json::value* target = now.terminating ? condition_of(object, "DisruptionTarget") : nullptr)
      now.preempted =
          string_at(*target, "status") == "True" && string_at(*target, "reason") == "PreemptionByScheduler";
    now.started = base::parse_time(string_at(object, "status", "startTime")).value_or(base::Time::max());
    const Placed* before = picture.placed(key);
    if (before && (before->uid != now.uid || before->node != now.node)) {
      unplace(key);
      before = nullptr;
    }
    // Of a Pod that has its node, only labels and requests change.
    const json::value* spec = find(object, "spec");
    const bool same_labels =
        before && before->ask->labels == controllers::read_labels(find_path(object, "metadata", "labels"));
    const bool same_ask = same_labels && before->ask->requests == pod_requests(*spec);
    if (same_ask && before->terminating == now.terminating && before->preempted == now.preempted &&
        before->started == now.started)
      return;
    const bool ending = before && !before->terminating && now.terminating;
    now.ask = same_ask ? before->ask : picture.share(read_ask(object));
    Change change;
    change.what = !before                  ? Change::kPodPlaced
                  : !same_labels || ending ? Change::kPodLabels
                  : !same_ask              ? Change::kPodRemoved  // it may ask for less
                                           : 0u;
    const auto ask = now.ask;
    change.pod = ask.get();
    picture.place(key, std::move(now));
    if (change.what) changed(change);
  }
  void unplace(const std::string& key) {
    const Placed* placed = picture.placed(key);
    if (!placed) return;
    const auto ask = placed->ask;
    picture.remove(key);
    changed({Change::kPodRemoved, nullptr, ask.get()});
  }
  void pending(const std::string& key, const json::value& object, const Profile& profile) {
    const std::string_view uid = string_at(object, "metadata", "uid");
    if (auto at = waiting.find(key); at != waiting.end() && at->second.ref.uid != uid)
      drop(key);  // whatever had this name before
    auto [at, fresh] = waiting.try_emplace(key);
    Waiting& pod = at->second;
    pod.shown.clear();
    pod.since.clear();
    if (const json::value* condition = condition_of(object, "PodScheduled");
        condition && string_at(*condition, "status") == "False") {
      pod.since = string_at(*condition, "lastTransitionTime");
      if (string_at(*condition, "reason") == "Unschedulable") pod.shown = string_at(*condition, "message");
    }
    if (fresh) {
      unplace(key);
      pod.profile = &profile;
      pod.ref = {"v1", "Pod", std::string(string_at(object, "metadata", "namespace")),
                 std::string(string_at(object, "metadata", "name")), std::string(uid)};
      pod.ask = picture.share(read_ask(object));
      // A promise of a scheduler before this one; from now on they are ours.
      pod.nominated = string_at(object, "status", "nominatedNodeName");
      if (!pod.nominated.empty()) picture.nominate(key, {pod.ask, pod.nominated});
    } else {
      if (pod.binding) return;
      // Only what it asks for can make a difference; our own condition must not wake it.
      auto ask = picture.share(read_ask(object));
      if (ask == pod.ask) return;
      pod.ask = ask;
      if (const Nominated* nominated = picture.nominated(key)) picture.nominate(key, {ask, nominated->node});
    }
    queue.add(key, pod.ask);
    wake();
  }
  void tell_gated(const std::string& key, const json::value& object) {
    const std::string uid(string_at(object, "metadata", "uid"));
    const json::value* condition = condition_of(object, "PodScheduled");
    if (condition && string_at(*condition, "reason") == "SchedulingGated") return;
    if (std::string& told = gated[key]; told == uid) return;
    else told = uid;
    writer.not_scheduled({"v1", "Pod", std::string(string_at(object, "metadata", "namespace")),
                          std::string(string_at(object, "metadata", "name")), uid},
                         "SchedulingGated", kGatedMessage, {}, nullptr, [this, key](base::Status told) {
                           if (!told.ok()) gated.erase(key);
                         });
  }
  void drop(const std::string& key) {
    gated.erase(key);
    auto at = waiting.find(key);
    if (at == waiting.end()) return;
    const auto ask = at->second.ask;
    queue.remove(key);
    waiting.erase(at);
    if (!picture.nominated(key)) return;
    picture.denominate(key);
    changed({Change::kPodRemoved, nullptr, ask.get()});  // what was kept for it is free
  }

  // ---- when
  void changed(const Change& change) {
    queue.changed(change, queue_now());
    wake();
  }
  void wake() {
    if (posted || !synced) return;
    auto due = queue.due();
    if (!due) return alarm.reset();
    const base::Duration wait = std::max<base::Duration>(*due - queue_now(), 0ms);
    posted = wait == 0ms;
    alarm.emplace(loop.after(wait, [this] { drain(); }));
  }
  void drain() {
    posted = true;
    const base::Time end = queue_now() + kTurn;
    for (int i = 0; i < kPerTurn && queue_now() < end; ++i) {
      auto key = queue.take(queue_now());
      if (!key) break;
      if (auto at = waiting.find(*key); at != waiting.end() && !at->second.binding)
        schedule(*key, at->second);
    }
    posted = false;
    wake();
  }

  // ---- plan and act
  // Pods that ask for the same as one that fitted nowhere, before anything has changed.
  struct Hopeless {
    std::string message;
    uint32_t refused_by = 0;
  };
  Hopeless* known_hopeless(const std::string& key, const Waiting& pod) {
    if (hopeless_at != picture.version()) hopeless.clear();
    hopeless_at = picture.version();
    if (picture.nominated(key)) return nullptr;
    auto at = hopeless.find({pod.ask, pod.profile});
    return at == hopeless.end() ? nullptr : &at->second;
  }
  void schedule(const std::string& key, Waiting& pod) {
    if (const Hopeless* known = known_hopeless(key, pod)) {
      queue.unschedulable(key, known->refused_by, queue_now());
      return tell(key, pod, known->message, "");
    }
    const Choice choice =
        choose(*pod.ask, key, picture, *pod.profile, start_at, std::hash<std::string>()(pod.ref.uid));
    if (!picture.nodes().empty()) start_at = (start_at + choice.looked_at) % picture.nodes().size();
    base::log::debug("schedule {}: {}", key, choice.node.empty() ? choice.message : choice.node);
    if (choice.node.empty()) return unschedulable(key, pod, choice);
    if (!bind_claims(key, pod, choice.node)) return;
    pod.binding = true;
    // Assumed until the watch or a failure says otherwise.
    Placed placed;
    placed.ask = pod.ask;
    placed.node = choice.node;
    placed.uid = pod.ref.uid;
    placed.started = base::Time::max();
    picture.denominate(key);
    picture.place(key, std::move(placed));
    queue.changed({Change::kPodPlaced, nullptr, pod.ask.get()}, queue_now());
    writer.bind(pod.ref, choice.node,
                [this, key, ref = pod.ref, profile = pod.profile, node = choice.node](base::Status result) {
                  if (!result.ok()) return bind_failed(key, ref, *profile, result.error());
                  writer.event(ref, "Normal", "Scheduled",
                               fmt::format("Successfully assigned {} to {}", key, node),
                               profile->scheduler_name);
                });
  }
  // Tells the claims that wait for their first consumer which node it is; true: none waits any more. Until
  // then the room on the node is kept for the Pod, and what comes of its claims brings it here again.
  bool bind_claims(const std::string& key, const Waiting& pod, const std::string& node) {
    bool bound = true;
    for (const std::string& name : pod.ask->claims) {
      auto claim = picture.volumes().claim(controllers::key_of(pod.ask->ns, name));
      if (!claim || is_bound(*claim)) continue;
      bound = false;
      auto at = claim->annotations.find(controllers::kSelectedNode);
      if (at != claim->annotations.end() && at->second == node) continue;
      writer.select_node(*claim, node, [this, key](base::Status told) {
        if (told.ok() || told.error().kind == base::Kind::kConflict) return;  // the watch says more
        base::log::warning("choose a node for the claims of {}: {}", key, told.error().message());
        queue.activate(key);
        wake();
      });
    }
    if (bound) return true;
    queue.unschedulable(key, 1u << static_cast<unsigned>(rule("VolumeBinding") - rules().data()),
                        queue_now());
    picture.nominate(key, {pod.ask, node});
    return false;
  }
  void bind_failed(const std::string& key, const controllers::ObjectRef& ref, const Profile& profile,
                   const base::Error& error) {
    auto at = waiting.find(key);
    if (at == waiting.end() || at->second.ref.uid != ref.uid) return;  // gone, or bound after all
    at->second.binding = false;
    queue.failed(key, queue_now());
    unplace(key);
    wake();
    if (error.kind == base::Kind::kNotFound) return;  // its deletion is on the way
    base::log::warning("bind {}: {}", key, error.message());
    writer.event(ref, "Warning", "FailedScheduling", error.message(), profile.scheduler_name);
  }
  void unschedulable(const std::string& key, Waiting& pod, const Choice& choice) {
    Preemption plan;
    if (!picture.nodes().empty())
      plan = plan_preemption(*pod.ask, key, picture, *pod.profile, choice, start_at);
    queue.unschedulable(key, choice.refused_by, queue_now());
    const std::string message = choice.message + (plan.message.empty() ? "" : " " + plan.message);
    if (plan.node.empty() && !picture.nominated(key))
      hopeless[{pod.ask, pod.profile}] = {message, choice.refused_by};
    std::string nominated = plan.keep_nomination ? pod.nominated : plan.node;
    if (nominated.empty()) picture.denominate(key);
    else picture.nominate(key, {pod.ask, nominated});
    tell(key, pod, message, nominated);
    for (const std::string& other : plan.denominated) {
      picture.denominate(other);
      queue.activate(other);
      auto at = waiting.find(other);
      if (at == waiting.end()) continue;
      at->second.nominated.clear();
      writer.clear_nomination(at->second.ref);
    }
    for (const Preemption::Victim& victim : plan.victims)
      if (!victim.terminating && evicting.insert(victim.uid).second) evict(key, pod, victim, plan.node);
  }
  void evict(const std::string& key, const Waiting& pod, const Preemption::Victim& victim,
             const std::string& node) {
    const auto [ns, name] = controllers::split_key(victim.pod);
    base::log::info("preempt {} on {} for {}", victim.pod, node, key);
    writer.evict({"v1", "Pod", ns, name, victim.uid}, pod.ref.uid, pod.profile->scheduler_name, node,
                 [this, key, victim](base::Status result) {
                   evicting.erase(victim.uid);
                   if (result.ok()) return;
                   base::log::warning("preempt {} for {}: {}", victim.pod, key, result.error().message());
                   if (auto at = waiting.find(key); at == waiting.end() || at->second.binding) return;
                   queue.failed(key, queue_now());
                   wake();
                 });
  }
  void tell(const std::string& key, Waiting& pod, const std::string& message, const std::string& nominated) {
    if (pod.told != message)
      writer.event(pod.ref, "Warning", "FailedScheduling", message, pod.profile->scheduler_name);
    pod.told = message;
    if (pod.shown == message && pod.nominated == nominated) return;  // by a scheduler before this one
    pod.shown = message;
    const bool promised = pod.nominated != nominated;
    pod.nominated = nominated;
    writer.not_scheduled(pod.ref, "Unschedulable", message, pod.since, promised ? &nominated : nullptr,
                         [this, key, uid = pod.ref.uid](base::Status result) {
                           auto at = waiting.find(key);  // told again with the next attempt
                           if (result.ok() || at == waiting.end() || at->second.ref.uid != uid) return;
                           at->second.told.clear();
                           at->second.shown.clear();
                           at->second.nominated.clear();
                         });
  }

  base::Loop& loop;
  std::shared_ptr<api::Transport> transport;
  PodWriter writer;
  const std::map<std::string, Profile> profiles;  // by scheduler name
  std::vector<std::unique_ptr<api::Informer>> informers;
  controllers::Store<controllers::Claim>::Reader claim_reader =
      controllers::Claim::reader(controllers::kPersistentVolumeClaims);
  controllers::Store<controllers::Volume>::Reader volume_reader =
      controllers::Volume::reader(controllers::kPersistentVolumes);
  controllers::Store<controllers::StorageClass>::Reader class_reader =
      controllers::StorageClass::reader(controllers::kStorageClasses);
  bool synced = false, posted = false;
  Picture picture;
  Queue queue;
  std::unordered_map<std::string, Waiting> waiting;    // Pods without a node, by key
  std::unordered_map<std::string, std::string> gated;  // uids of those told so, by key
  std::set<std::string> evicting;                      // uids
  std::map<std::pair<std::shared_ptr<const Ask>, const Profile*>, Hopeless> hopeless;
  uint64_t hopeless_at = 0;  // the picture's version
  size_t start_at = 0;
  std::optional<base::Loop::Handle> alarm;
};

Scheduler::Scheduler(base::Loop& loop, std::shared_ptr<api::Transport> transport, Config config,
                     std::function<base::Time()> now)
    : impl_(std::make_unique<Impl>(loop, std::move(transport), std::move(config), std::move(now))) {}
Scheduler::~Scheduler() = default;
void Scheduler::start() { impl_->start(); }

}  // namespace master::scheduler
