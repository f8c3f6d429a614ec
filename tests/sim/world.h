// A cluster with hollow nodes and everything that can befall it, drawn from the seed; and a book of all Pods
// that ever were, kept from the master's own history, against which promises are held at every change.
#pragma once

#include "tests/sim/hollow_kubelet.h"

namespace simulated {

struct Troubles {
  double lost = 0.03;         // of requests, and of answers
  double slow = 0.05;         // of watch events
  double broken = 0.005;      // of watch events: their watch ends
  double disk_errors = 0.01;  // of the store's transactions
  int master_crashes = 3;     // in all, each for some seconds at most
  int kubelet_crashes = 3;    // and for so many seconds that their nodes do not count as dead
  int partitions = 0;         // of a node, for minutes
  int power_losses = 0;       // of a node, for good
};

class World {
 public:
  struct PodState {
    std::string key, app, image, node, phase;
    bool ready = false, deleting = false;
    bool active() const { return !deleting && phase != "Failed" && phase != "Succeeded"; }
  };

  World(uint64_t seed, int nodes, HollowKubelet::Habits habits = {}) : cluster(seed, 0), random_(seed + 11) {
    cluster.on_pod = [this](const master::WatchEvent& event) { note(event); };
    cluster.on_start = [this] { read_anew(); };
    for (int i = 0; i < nodes; ++i)
      kubelets.push_back(
          std::make_unique<HollowKubelet>(cluster, fmt::format("hollow-{}", i), random_(), habits));
    EXPECT_TRUE(comes_to([&] { return ready_nodes() == nodes; }, 120s));
  }
  ~World() { cluster.on_pod = nullptr, cluster.on_start = nullptr; }

  int ready_nodes() {
    int count = 0;
    for (const json::object& node : cluster.list(api::resources::nodes)) {
      const json::value n(node);
      for (const json::value& one : base::list_at(base::find_path(n, "status", "conditions")))
        count += base::string_at(one, "type") == "Ready" && base::string_at(one, "status") == "True";
    }
    return count;
  }

  // So much time with troubles, then an end to all of them but what is dead.
  void endure(base::Duration how_long, const Troubles& troubles) {
    std::multimap<base::Steady, std::function<void()>> events;
    const base::Steady begin = base::steady_now(), end = begin + how_long;
    auto sometime = [&] { return begin + upto(how_long); };
    cluster.network.fail_before = cluster.network.fail_after = troubles.lost;
    cluster.network.slow_watches = troubles.slow;
    cluster.network.broken_watches = troubles.broken;
    cluster.disk->failures = troubles.disk_errors;
    cluster.disk->slowest = 40ms;
    for (int i = 0; i < troubles.master_crashes; ++i)
      events.emplace(sometime(), [&] {
        if (!cluster.life) return;
        cluster.crash_master();
        events.emplace(base::steady_now() + upto(8s), [&] { cluster.start_master(); });
      });
    for (int i = 0; i < troubles.kubelet_crashes; ++i)
      events.emplace(sometime(), [&] {
        HollowKubelet* kubelet = &any();
        if (!kubelet->is_up()) return;
        kubelet->crash();
        events.emplace(base::steady_now() + upto(20s), [this, kubelet] {
          if (!kubelet->is_up() && !is_dead(kubelet->name())) kubelet->start();
        });
      });
    for (int i = 0; i < troubles.partitions; ++i)
      events.emplace(sometime(), [&] {
        const std::string name = any().name();
        cluster.network.cut(name);
        events.emplace(base::steady_now() + upto(180s), [&, name] { cluster.network.mend(name); });
      });
    for (int i = 0; i < troubles.power_losses; ++i)
      events.emplace(sometime(), [&] {
        HollowKubelet& kubelet = any();
        kubelet.lose_power();
        dead_.insert(kubelet.name());
      });
    for (;;) {
      const base::Steady next = events.empty() ? end : std::min(end, events.begin()->first);
      if (next > base::steady_now()) pass(next - base::steady_now());
      if (base::steady_now() >= end) break;
      auto what = std::move(events.begin()->second);
      events.erase(events.begin());
      what();
    }
    if (!cluster.life) cluster.start_master();
    cluster.network.fail_before = cluster.network.fail_after = 0;
    cluster.network.slow_watches = cluster.network.broken_watches = cluster.disk->failures = 0;
    cluster.disk->slowest = 5ms;
    for (auto& kubelet : kubelets) {
      cluster.network.mend(kubelet->name());
      if (!kubelet->is_up() && !dead_.contains(kubelet->name())) kubelet->start();
    }
  }
  // As an operator does: a dead node keeps its Pods, ending, and may hold up who waits for them.
  void remove_dead_nodes() {
    for (const std::string& name : dead_) cluster.remove(api::resources::nodes, "", name);
  }
  void pass(base::Duration duration) {
    cluster.pass(duration, [this] { check(); });
  }
  // Whether it comes to that, and so soon; promises are held meanwhile.
  bool comes_to(const std::function<bool()>& good, base::Duration most) {
    for (const base::Steady end = base::steady_now() + most; !good() && base::steady_now() < end;) pass(1s);
    return good();
  }

  // ---- the book
  int count(const std::string& app, const std::function<bool(const PodState&)>& which) const {
    int out = 0;
    for (const auto& [uid, pod] : pods) out += pod.app == app && which(pod);
    return out;
  }
  int active(const std::string& app) const {
    return count(app, [](const PodState& pod) { return pod.active(); });
  }
  int ready(const std::string& app, const std::string& image = {}) const {
    return count(app, [&](const PodState& pod) {
      return pod.ready && pod.active() && (image.empty() || pod.image == image);
    });
  }
  int created(const std::string& app) const {
    auto at = created_.find(app);
    return at == created_.end() ? 0 : static_cast<int>(at->second.size());
  }
  // Pods on nodes under one name, whatever the API knows of them.
  std::map<std::string, int> running() const {
    std::map<std::string, int> out;
    for (const auto& kubelet : kubelets)
      for (const auto& [uid, pod] : kubelet->running()) ++out[pod.key];
    return out;
  }
  bool is_dead(const std::string& node) const { return dead_.contains(node); }
  std::string text() const {
    std::string out;
    for (const auto& [uid, pod] : pods)
      out += fmt::format("{} of {} ({}) on {}: {}{}{}\n", pod.key, pod.app, pod.image, pod.node, pod.phase,
                         pod.ready ? ", ready" : "", pod.deleting ? ", ends" : "");
    for (const auto& kubelet : kubelets) out += kubelet->text() + "\n";
    return out;
  }

  Cluster cluster;
  std::vector<std::unique_ptr<HollowKubelet>> kubelets;
  std::map<std::string, PodState> pods;  // by uid: those that are
  std::function<std::string()> promise;  // says what is broken; "" while nothing is

 private:
  void note(const master::WatchEvent& event) {
    const json::value object = master::parse_object(*event.object->text);
    const std::string uid(base::string_at(object, "metadata", "uid"));
    if (event.type == master::WatchEvent::Type::kDeleted) pods.erase(uid);
    else read(uid, object);
    check();
  }
  void read(const std::string& uid, const json::value& object) {
    PodState& pod = pods[uid];
    pod.key = std::string(base::string_at(object, "metadata", "namespace")) + "/" +
              std::string(base::string_at(object, "metadata", "name"));
    pod.app = base::string_at(object, "metadata", "labels", "app");
    pod.image = base::string_at(base::list_at(base::find_path(object, "spec", "containers"))[0], "image");
    pod.node = base::string_at(object, "spec", "nodeName");
    pod.phase = base::string_at(object, "status", "phase");
    pod.deleting = base::find_path(object, "metadata", "deletionTimestamp") != nullptr;
    pod.ready = false;
    for (const json::value& one : base::list_at(base::find_path(object, "status", "conditions")))
      pod.ready |= base::string_at(one, "type") == "Ready" && base::string_at(one, "status") == "True";
    created_[pod.app].insert(uid);
  }
  // What was not acknowledged may have been lost, or not.
  void read_anew() {
    pods.clear();
    for (const json::object& pod : cluster.list(api::resources::pods)) {
      const json::value object(pod);
      read(std::string(base::string_at(object, "metadata", "uid")), object);
    }
  }
  void check() {
    if (!promise || broken_) return;
    const std::string wrong = promise();
    broken_ = !wrong.empty();
    EXPECT_EQ(wrong, "") << "after " << (base::steady_now().time_since_epoch() - std::chrono::hours(1)) / 1s
                         << " s\n"
                         << text();
  }
  HollowKubelet& any() { return *kubelets[random_() % kubelets.size()]; }
  base::Duration upto(base::Duration most) {
    return base::Duration(static_cast<int64_t>(random_() % static_cast<uint64_t>(most.count() + 1)));
  }

  std::mt19937_64 random_;
  std::map<std::string, std::set<std::string>> created_;
  std::set<std::string> dead_;
  bool broken_ = false;
};

}  // namespace simulated
