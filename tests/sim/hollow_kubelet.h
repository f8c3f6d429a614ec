// A kubelet without containers: it registers its Node, renews its Lease, follows the Pods that are bound to
// it, "runs" them after a while by writing their status, follows deletion with its grace, and finishes those
// that end by themselves. What runs on the node goes on whatever becomes of the kubelet or of its way to the
// master.
#pragma once

#include "tests/sim/cluster.h"

namespace simulated {

class HollowKubelet {
 public:
  struct Habits {
    base::Duration slowest_start = 3s, slowest_stop = 3s, longest_run = 30s;  // drawn below these
    double failures = 0;  // of Pods that end by themselves, that fail
  };
  struct Running {
    std::string key, uid;
  };

  HollowKubelet(Cluster& cluster, std::string name, uint64_t seed)
      : HollowKubelet(cluster, std::move(name), seed, Habits{}) {}
  HollowKubelet(Cluster& cluster, std::string name, uint64_t seed, Habits habits)
      : cluster_(cluster), name_(std::move(name)), habits_(habits), random_(seed) {
    start();
  }
  const std::string& name() const { return name_; }
  // By uid: what is on the node, whatever the API says.
  const std::map<std::string, Running>& running() const { return running_; }

  std::string text() const {
    std::string out = name_ + (life_ ? "" : ", without a kubelet") + ":";
    for (const auto& [uid, pod] : running_)
      out += " " + pod.key + (life_ && life_->known.contains(pod.key) ? "" : " (unknown to its kubelet)");
    if (life_)
      for (const auto& [key, pod] : life_->known)
        out += fmt::format("; knows {} {}{}{}", key, pod.phase, pod.ready ? ", ready" : "",
                           starting_.contains(pod.uid) ? ", starts" : "");
    return out;
  }

  // The process: as it ends, and as it is started again. Pods go on.
  void crash() { life_.reset(); }
  void start() { life_ = std::make_shared<Life>(*this); }
  bool is_up() const { return life_ != nullptr; }
  // The whole machine: what ran on it is gone.
  void lose_power() {
    crash();
    timers_.clear();
    running_.clear();
    starting_.clear();
    stopping_.clear();
  }

 private:
  struct Pod {
    std::string key, uid, phase;
    bool ready = false, deleting = false, ends = false, unready_image = false;
    int64_t grace = 0;
  };

  struct Life {
    explicit Life(HollowKubelet& kubelet)
        : k(kubelet),
          transport(k.cluster_.network.link(
              k.cluster_.door({"system:node:" + k.name_, {"system:nodes", "system:authenticated"}}),
              k.name_)),
          client(transport, "kubelet"),
          queue(
              k.cluster_.outside, [this](const std::string& key) { sync(key); }, 5s),
          pods(k.cluster_.outside, *transport, {api::resources::pods, "", "", "spec.nodeName=" + k.name_},
               [this](api::Informer::Change change, const json::value& object) { seen(change, object); }) {
      join();
    }

    // ---- the Node
    void join() {
      json::object labels{{"kubernetes.io/hostname", k.name_}};
      client.create(api::resources::nodes, "",
                    json::object{{"apiVersion", "v1"},
                                 {"kind", "Node"},
                                 {"metadata", {{"name", k.name_}, {"labels", std::move(labels)}}}},
                    [this](const base::Result<json::value>& result) {
                      if (result.ok() || result.error().kind == base::Kind::kExists) {
                        pods.start();
                        return beat();
                      }
                      timer = k.cluster_.outside.after(1s + k.upto(1s), [this] { join(); });
                    });
    }
    void beat() {
      timer = k.cluster_.outside.after(9s + k.upto(1s), [this] { beat(); });
      json::object spec{{"holderIdentity", k.name_},
                        {"renewTime", base::format_micro_time(base::wall_now())}};
      client.patch(api::resources::leases, "kube-node-lease", k.name_, "merge", json::object{{"spec", spec}},
                   [this, spec](const base::Result<json::value>& result) {
                     if (result.ok() || result.error().kind != base::Kind::kNotFound) return;
                     client.create(api::resources::leases, "kube-node-lease",
                                   json::object{{"apiVersion", "coordination.k8s.io/v1"},
                                                {"kind", "Lease"},
                                                {"metadata", {{"name", k.name_}}},
                                                {"spec", spec}},
                                   [](const base::Result<json::value>&) {});  // the next one comes soon
                   });
      if (beats++ % 2) return;
      client.get(api::resources::nodes, "", k.name_, [this](const base::Result<json::value>& node) {
        if (node.ok() && !is_ready(*node)) say_ready();
      });
    }
    static bool is_ready(const json::value& object) {
      for (const json::value& one : base::list_at(base::find_path(object, "status", "conditions")))
        if (base::string_at(one, "type") == "Ready") return base::string_at(one, "status") == "True";
      return false;
    }
    void say_ready() {
      const json::object amounts{{"cpu", "16"}, {"memory", "64Gi"}, {"pods", "110"}};
      const std::string now = base::format_time(base::wall_now());
      client.patch(
          api::resources::nodes, "", k.name_, "strategic-merge",
          json::object{{"status",
                        {{"capacity", amounts},
                         {"allocatable", amounts},
                         {"conditions", json::array{json::object{{"type", "Ready"},
                                                                 {"status", "True"},
                                                                 {"reason", "KubeletReady"},
                                                                 {"lastHeartbeatTime", now},
                                                                 {"lastTransitionTime", now}}}}}}},
          [](const base::Result<json::value>&) {}, "status");  // asked for again with a later beat
    }

    // ---- Pods
    void seen(api::Informer::Change change, const json::value& object) {
      Pod pod;
      pod.key = std::string(base::string_at(object, "metadata", "namespace")) + "/" +
                std::string(base::string_at(object, "metadata", "name"));
      if (change == api::Informer::Change::kDeleted) {
        known.erase(pod.key);
        return queue.add(pod.key);
      }
      pod.uid = base::string_at(object, "metadata", "uid");
      pod.phase = base::string_at(object, "status", "phase");
      pod.ready = is_ready(object);
      pod.deleting = base::find_path(object, "metadata", "deletionTimestamp") != nullptr;
      pod.grace = base::as_int(base::find_path(object, "metadata", "deletionGracePeriodSeconds"));
      pod.ends = base::string_at(object, "spec", "restartPolicy") != "Always";
      pod.unready_image = Cluster::unready_image(object);
      known[pod.key] = pod;
      queue.add(pod.key);
    }
    void sync(const std::string& key) {
      auto at = known.find(key);
      // What runs under the name and is another Pod, or none any more, ends first.
      for (const auto& [uid, running] : k.running_)
        if (running.key == key && (at == known.end() || at->second.uid != uid)) return k.stop(uid, 30);
      if (at == known.end()) return queue.succeeded(key);
      const Pod& pod = at->second;
      if (pod.deleting) {
        if (k.running_.contains(pod.uid)) return k.stop(pod.uid, pod.grace);
        return client.remove(api::resources::pods, ns_of(key), name_of(key),
                             json::object{{"gracePeriodSeconds", 0}, {"preconditions", {{"uid", pod.uid}}}},
                             [this, key](const base::Result<json::value>& result) { wrote(key, result); });
      }
      if (pod.phase == "Succeeded" || pod.phase == "Failed") return;
      if (auto ended = k.ended_.find(pod.uid); ended != k.ended_.end()) return say(pod, ended->second, false);
      if (pod.unready_image) return;
      if (!k.running_.contains(pod.uid)) return k.begin(pod);
      if (pod.phase != "Running" || !pod.ready) say(pod, "Running", true);
    }
    void say(const Pod& pod, const std::string& phase, bool ready) {
      const std::string ip = k.address_of(pod.uid), now = base::format_time(base::wall_now());
      json::object status{{"phase", phase},
                          {"conditions", json::array{json::object{{"type", "Ready"},
                                                                  {"status", ready ? "True" : "False"},
                                                                  {"lastTransitionTime", now}}}}};
      if (phase == "Running") {
        status["podIP"] = ip;
        status["podIPs"] = json::array{json::object{{"ip", ip}}};
      }
      client.patch(
          api::resources::pods, ns_of(pod.key), name_of(pod.key), "strategic-merge",
          json::object{{"metadata", {{"uid", pod.uid}}}, {"status", std::move(status)}},
          [this, key = pod.key](const base::Result<json::value>& result) { wrote(key, result); }, "status");
    }
    // What was written comes back by the watch; what was lost is written again.
    void wrote(const std::string& key, const base::Result<json::value>& result) {
      if (result.ok() || result.error().kind == base::Kind::kNotFound ||
          result.error().kind == base::Kind::kConflict)
        return queue.succeeded(key);
      queue.failed(key);
    }
    static std::string ns_of(const std::string& key) { return key.substr(0, key.find('/')); }
    static std::string name_of(const std::string& key) { return key.substr(key.find('/') + 1); }

    HollowKubelet& k;
    std::shared_ptr<api::Transport> transport;
    std::map<std::string, Pod> known;
    int beats = 0;
    base::Loop::Handle timer;
    api::Client client;
    api::WorkQueue queue;
    api::Informer pods;
  };

  // A container takes its time to start; what is decided then is decided anew.
  void begin(const Pod& pod) {
    if (!starting_.insert(pod.uid).second) return;
    later(upto(habits_.slowest_start), [this, pod] {
      starting_.erase(pod.uid);
      if (!life_) return;
      auto at = life_->known.find(pod.key);
      if (at != life_->known.end() && at->second.uid == pod.uid && !at->second.deleting) {
        running_[pod.uid] = {pod.key, pod.uid};
        if (pod.ends)
          later(upto(habits_.longest_run), [this, key = pod.key, uid = pod.uid] {
            if (running_.erase(uid) == 0) return;
            ended_[uid] = chance(habits_.failures) ? "Failed" : "Succeeded";
            wake(key);
          });
      }
      wake(pod.key);
    });
  }
  void stop(const std::string& uid, int64_t grace) {
    auto at = running_.find(uid);
    if (at == running_.end() || !stopping_.insert(uid).second) return;
    later(std::min<base::Duration>(upto(habits_.slowest_stop), std::chrono::seconds(grace)),
          [this, uid, key = at->second.key] {
            stopping_.erase(uid);
            running_.erase(uid);
            wake(key);
          });
  }
  void wake(const std::string& key) {
    if (life_) life_->queue.add(key);
  }
  void later(base::Duration delay, std::function<void()> then) {
    std::erase_if(timers_, [](const base::Loop::Handle& timer) { return !timer.active(); });
    timers_.push_back(cluster_.outside.after(delay, std::move(then)));
  }
  std::string address_of(const std::string& uid) {
    auto [at, fresh] = addresses_.try_emplace(uid, "");
    if (fresh) {
      const int n = ++cluster_.ips;
      at->second = fmt::format("10.{}.{}.{}", 200 + n / 62500, n / 250 % 250, n % 250 + 1);
    }
    return at->second;
  }
  base::Duration upto(base::Duration most) {
    return base::Duration(static_cast<int64_t>(random_() % static_cast<uint64_t>(most.count() + 1)));
  }
  bool chance(double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < p; }

  Cluster& cluster_;
  const std::string name_;
  const Habits habits_;
  std::mt19937_64 random_;
  std::map<std::string, Running> running_;
  std::map<std::string, std::string> ended_, addresses_;  // by uid: how it ended; its address
  std::set<std::string> starting_, stopping_;
  std::vector<base::Loop::Handle> timers_;
  std::shared_ptr<Life> life_;
};

}  // namespace simulated
