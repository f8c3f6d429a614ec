// A node that exists in memory, with a clock of its own: sampan-pod, disk, image store, registry and API of
// one Pod. No kinder than the real one: nothing is answered inside its call, calls can fail, be answered
// late, twice or never, and what is not there is not found. Nothing happens but in run() and advance().
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <set>

#include "api/patch/patch.h"
#include "api/schema.h"
#include "kubelet/pod/worker.h"

namespace kubelet {

class FakeMachine final : public Machine {
 public:
  enum class Fault { kNone, kFails, kTwice, kNever };
  explicit FakeMachine(Time start) : now_(start) {
    view_.node.host_ip = "192.0.2.1";
    view_.node_name = "n1";
    view_.layout = {.root_dir = "/nowhere", .run_dir = "/nowhere"};
  }

  // ---- for the test
  // Of calls by their name ("pull", "mount", "start", "token"…), until it is changed. What was asked while it
  // was kNever is held; answer() answers it.
  void set(const std::string& call, Fault fault) { faults_[call] = fault; }
  void answer(const std::string& call, bool ok = true) {
    for (auto& complete : std::exchange(held_[call], {})) complete(!ok);
    if (!disk_hangs()) {
      for (auto& [name, complete] : std::exchange(behind_, {})) later(name, std::move(complete));
    }
  }
  // The kubelet's process ends: its threads, timers and answers go with it; what it asked of sampan-pod may
  // still be done.
  void kill() {
    posted_.clear();
    behind_.clear();
    checks.clear();
    std::erase_if(held_, [](const auto& held) { return on_disk(held.first); });
  }
  size_t held(const std::string& call) const {
    auto it = held_.find(call);
    return it == held_.end() ? 0 : it->second.size();
  }
  void run() {
    for (int i = 0; !posted_.empty(); ++i) {
      ASSERT_LT(i, 10000) << "the worker never rests";
      auto task = std::move(posted_.front());
      posted_.pop_front();
      task();
    }
  }
  void advance(Time to) {
    run();
    for (int i = 0; !timers_.empty() && timers_.begin()->first <= to; ++i) {
      ASSERT_LT(i, 10000) << "the worker's timers never rest";
      auto [due, weak] = *timers_.begin();
      timers_.erase(timers_.begin());
      if (auto timer = weak.lock()) {
        now_ = std::max(now_, due);
        auto task = *timer;  // it may replace itself
        task();
        run();
      }
    }
    now_ = to;
  }

  std::function<void(const Action&)> on_action;
  std::string events;  // "Warning Failed: …", a line each
  bool network = true, api_loaded = true, store_read = true;
  std::set<std::string> store;  // images, by full name
  std::map<Reference, std::map<std::string, std::string>> objects;
  base::json::value api;  // the Pod as the API has it; null: gone
  std::map<std::string, std::string> records;
  bool directory = false;
  int tokens_given = 0, statuses = 0;
  std::vector<VolumeContent> volumes;  // as they were written last
  std::set<std::string> bad_volumes;   // that can't be made
  std::map<std::string, int> mounts;   // how often each was made
  std::set<std::string> addresses, bound;
  std::string stubborn;  // ends for SIGKILL only

  // sampan-pod, which outlives who is connected to it.
  struct Sandbox {
    std::map<std::string, runtime::ContainerState> containers;
    runtime::Pod* connected = nullptr;
  };
  std::shared_ptr<Sandbox> sandbox;  // null: there is none
  void exit(const std::string& id, int code, int signal = 0) {
    if (!sandbox || !sandbox->containers.contains(id)) return;
    runtime::ContainerState& c = sandbox->containers[id];
    if (c.phase == runtime::Phase::kExited) return;
    c.phase = runtime::Phase::kExited;
    c.exit_code = code;
    c.signal = signal;
    c.finished_at = now_;
    if (sandbox->connected && sandbox->connected->on_exit) sandbox->connected->on_exit(c);
  }
  void lose_sandbox() {
    auto lost = std::exchange(sandbox, nullptr);
    if (lost && lost->connected && lost->connected->on_lost) lost->connected->on_lost();
  }
  // Probes and hooks under way: "web readiness", "web hook".
  std::map<std::string, std::function<void(Outcome)>> checks;
  void check_done(const std::string& key, bool ok) {
    auto it = checks.find(key);
    ASSERT_NE(it, checks.end()) << key;
    auto done = std::move(it->second);
    checks.erase(it);
    done({.success = ok, .message = ok ? "" : "it said no"});
  }

  // ---- Machine
  const NodeView& view() const override { return view_; }
  Time now() const override { return now_; }
  void post(std::function<void()> task) override { posted_.push_back(std::move(task)); }
  Timer after(Duration delay, std::function<void()> task) override {
    auto timer = std::make_shared<std::function<void()>>(std::move(task));
    timers_.emplace(now_ + delay, timer);
    return timer;
  }
  void acts(const api::Pod&, const Action& action) override {
    last_ = action;
    if (on_action) on_action(action);
  }
  base::Status save_record(const std::string& uid, const std::string& text) override {
    if (faults_["record"] == Fault::kFails) return failed("write");
    records[uid] = text;
    return {};
  }
  bool has_network() const override { return network; }
  bool in_range(const std::string& ip) const override { return ip.starts_with("10.244."); }
  base::Result<std::string> take_address() override {
    if (faults_["address"] == Fault::kFails) return failed("take Pod address");
    const std::string ip = "10.244.0." + std::to_string(5 + taken_++);
    addresses.insert(ip);
    return ip;
  }
  void release_address(const std::string&, const std::string& ip) override { addresses.erase(ip); }
  void attach(const std::string&, std::shared_ptr<runtime::Pod::Sandbox>, const std::string& ip,
              Done done) override {
    EXPECT_TRUE(addresses.contains(ip)) << ip;
    later("attach", [this, done](bool fails) { done(fails ? failed("attach") : base::Status()); });
  }
  void start_sandbox(runtime::SandboxSpec, Answer<std::unique_ptr<runtime::Pod>> done) override {
    EXPECT_FALSE(sandbox) << "one is there";
    later("sandbox", [this, done](bool fails) {
      if (fails) return done(failed("start"));
      if (!sandbox) sandbox = std::make_shared<Sandbox>();
      done(std::unique_ptr<runtime::Pod>(std::make_unique<Pod>(*this, sandbox)));
    });
  }
  base::Result<std::unique_ptr<runtime::Pod>> connect_sandbox(const std::string&) override {
    if (!sandbox)
      return base::make_error(base::Kind::kNotFound, "connect to sampan-pod", "u1", "nobody listens");
    return std::unique_ptr<runtime::Pod>(std::make_unique<Pod>(*this, sandbox));
  }
  base::Result<std::string> sandbox_address(const runtime::Pod::Sandbox&) override { return std::string(); }
  void clean_dead_sandbox(const std::string&, Done done) override {
    later("clean", [this, done](bool fails) { done(fails ? failed("clean") : base::Status()); });
  }
  void make_volumes(const std::string&, VolumeWork work, std::function<void(VolumesMade)> done) override {
    later("mount", [this, done, work = std::move(work)](bool fails) {
      VolumesMade made;
      if (work.directory && fails) made.directory = failed("mount");
      directory |= made.directory.ok();
      EXPECT_TRUE(work.directory || directory) << "volumes before their directory";
      for (const auto& volume : work.volumes) {
        if (!made.directory.ok()) break;
        const bool bad = fails || bad_volumes.contains(volume.name);
        made.volumes.emplace(volume.name, bad ? failed("mount") : base::Status());
        if (!bad) write(volume), ++mounts[volume.name];
      }
      done(std::move(made));
    });
  }
  void write_volumes(const std::string&, std::vector<VolumeContent> written, std::optional<uint32_t>,
                     Done done) override {
    EXPECT_TRUE(directory);
    later("refresh", [this, done, written = std::move(written)](bool fails) {
      if (!fails)
        for (const auto& volume : written) write(volume);
      done(fails ? failed("write") : base::Status());
    });
  }
  void remove_directory(const std::string&, bool, Done done) override {
    later("unmount", [this, done](bool fails) {
      if (!fails) directory = false;
      done(fails ? failed("umount") : base::Status());
    });
  }
  void prepare(ContainerStart start, Answer<PreparedContainer> done) override {
    later("prepare", [this, done, start = std::move(start)](bool fails) {
      if (fails) return done(failed("open"));
      EXPECT_TRUE(directory) << "a container is prepared without its Pod's directory";
      const api::Container* c = find_container(start.pod, start.container);
      auto name = runtime::normalize_image_name(c->image);
      if (!store.contains(*name))
        return done(base::make_error(base::Kind::kNotFound, "find image", *name, "no such image"));
      auto env = container_env(start.pod, *c, {}, start.env);
      if (!env.ok()) return done(env.error());
      PreparedContainer out;
      out.spec.id = container_id(start.pod, start.container, start.attempt);
      out.image_id = "sha256:1";
      out.process = base::json::object{{"args", base::json::array{"x"}}};
      out.bound = {start.container + "." + std::to_string(start.attempt)};
      bound.insert(out.bound[0]);
      done(std::move(out));
    });
  }
  void unbind(const std::string&, std::vector<std::string> paths) override {
    for (const auto& path : paths) bound.erase(path);
  }
  void read_processes(const std::string&, std::map<std::string, int> attempts,
                      std::function<void(std::map<std::string, base::json::value>)> done) override {
    later("processes", [done, attempts = std::move(attempts)](bool fails) {
      std::map<std::string, base::json::value> out;
      for (const auto& [name, attempt] : attempts)
        if (!fails) out[name] = base::json::object{{"args", base::json::array{"x"}}};
      done(out);
    });
  }
  std::string termination_message(const std::string&, const std::string&, int, bool) override { return {}; }
  bool images_known() const override { return store_read; }
  void find_image(const std::string&, const std::string& name, Answer<runtime::Image> done) override {
    later("find", [this, name, done](bool fails) {
      if (fails) return done(failed("read images.json"));
      if (!store.contains(name))
        return done(base::make_error(base::Kind::kNotFound, "find image", name, "no such image"));
      runtime::Image image;
      image.name = name;
      image.digest = "sha256:1";
      done(std::move(image));
    });
  }
  bool must_pull(const std::string&, const std::string&, const std::vector<PullCredential>&) override {
    return false;
  }
  void pull(const std::string&, const std::string& name, std::vector<PullCredential>,
            Answer<Pulled> done) override {
    later("pull", [this, name, done](bool fails) {
      if (fails) return done(base::make_error(base::Kind::kUnavailable, "", "", "no such host"));
      store.insert(name);
      Pulled out;
      out.pull.name = name;
      out.pull.digest = "sha256:1";
      done(std::move(out));
    });
  }
  std::unique_ptr<NetCheck> check_net(NetTarget, Duration, NetDone done) override {
    return ask<NetCheck>(std::move(done));
  }
  std::unique_ptr<ExecRun> run_exec(runtime::Pod&, const std::string&, base::json::value process, Duration,
                                    std::function<void(Outcome)> done) override {
    EXPECT_TRUE(process.is_object()) << "an exec starts from the container's process object";
    return ask<ExecRun>(std::move(done));
  }
  void probe_counted(const ProbeOf&, const std::string&, Duration) override {}
  void refer(const std::string&, const std::string&, std::vector<Reference>) override {}
  bool loaded(const std::string&, const std::vector<Reference>& references) const override {
    return references.empty() || api_loaded;
  }
  const std::map<std::string, std::string>* data(const std::string&,
                                                 const Reference& reference) const override {
    auto it = objects.find(reference);
    return it == objects.end() ? nullptr : &it->second;
  }
  std::optional<ObjectCache::SecretSeen> secret(const std::string&, const std::string& name) const override {
    auto it = objects.find({ObjectKind::kSecret, name});
    if (it == objects.end()) return std::nullopt;
    return ObjectCache::SecretSeen{.uid = "s1", .type = "Opaque", .data = &it->second};
  }
  const std::vector<ServiceLink>* services(const std::string&) override {
    return api_loaded ? &services_ : nullptr;
  }
  void patch_status(const api::Pod&, base::json::object patch, Answer<base::json::value> done) override {
    later("status", [this, done, patch = std::move(patch)](bool fails) {
      if (fails) return done(failed("patch"));
      if (api.is_null()) return done(base::make_error(base::Kind::kNotFound, "patch", "web", "not found"));
      api = api::strategic_merge_patch(api::type_of<api::Pod>(), api, patch).value();
      ++statuses;
      bump();
      done(api);
    });
  }
  void remove_pod(const api::Pod&, Answer<base::json::value> done) override {
    later("delete", [this, done](bool fails) {
      if (fails) return done(failed("delete"));
      api = nullptr;
      done(base::json::value(base::json::object()));
    });
  }
  void request_token(const api::Pod&, const TokenKey&, Answer<base::json::value> done) override {
    later("token", [this, done](bool fails) {
      if (fails) return done(failed("request token"));
      done(base::json::value(base::json::object{
          {"status", base::json::object{{"token", "token-" + std::to_string(++tokens_given)}}}}));
    });
  }
  void fetch_claims(const api::Pod& pod, Answer<Claims> done) override {
    later("claims", [this, done, wanted = claims_of(pod)](bool fails) {
      if (fails) return done(failed("fetch claims"));
      Claims claims;
      for (const auto& [volume, claim] : wanted) {
        auto known = this->claims.find(claim);
        if (known == this->claims.end())
          return done(base::make_error(base::Kind::kUnavailable, "claims", claim,
                                       "persistentvolumeclaim \"" + claim + "\" not found"));
        claims[volume] = known->second;
      }
      done(claims);
    });
  }
  void event(const EventSubject& subject, bool warning, std::string reason, std::string message) override {
    events += std::string(warning ? "Warning " : "Normal ") +
              (subject.container.empty() ? "" : subject.container + " ") + reason + ": " + message + "\n";
  }
  std::map<std::string, ClaimedVolume> claims;  // that are bound, by name
  void bump() { api.at("metadata").as_object()["resourceVersion"] = std::to_string(++version_); }

 private:
  // A connection to the sandbox.
  class Pod final : public runtime::Pod {
   public:
    Pod(FakeMachine& machine, std::shared_ptr<FakeMachine::Sandbox> of)
        : machine_(machine), of_(std::move(of)) {
      if (!of_->connected) of_->connected = this;
    }
    ~Pod() override {
      if (of_->connected == this) of_->connected = nullptr;
    }
    const std::string& id() const override { return id_; }
    void sandbox(std::function<void(base::Result<runtime::Pod::Sandbox>)> done) override {
      machine_.later("describe", [done](bool fails) {
        if (fails) return done(failed("describe"));
        done(runtime::Pod::Sandbox{});
      });
    }
    void start(runtime::ContainerSpec spec,
               std::function<void(base::Result<runtime::ContainerState>)> done) override {
      EXPECT_FALSE(of_->containers.contains(spec.id)) << spec.id << " is there";
      machine_.later("start", [of = of_, &machine = machine_, id = spec.id, done](bool fails) {
        if (fails) return done(machine.failed("execve"));
        if (machine.sandbox != of) return done(machine.lost());
        runtime::ContainerState& c = of->containers[id];
        c.id = id;
        c.phase = runtime::Phase::kRunning;
        c.started_at = machine.now_;
        done(c);
      });
    }
    void signal(const std::string& container, int signal, Done done) override {
      machine_.later("signal", [&machine = machine_, container, signal, done](bool fails) {
        done(fails ? machine.failed("signal") : base::Status());
        const bool deaf = signal != SIGKILL && container.starts_with(machine.stubborn + ".");
        if (!fails && !(deaf && !machine.stubborn.empty()))
          machine.exit(container, signal == SIGKILL ? 137 : 0, signal == SIGKILL ? 9 : 0);
      });
    }
    void remove(const std::string& container, Done done) override {
      machine_.later("remove", [of = of_, &machine = machine_, container, done](bool fails) {
        if (!fails) of->containers.erase(container);
        done(fails ? machine.failed("remove") : base::Status());
      });
    }
    void list(std::function<void(base::Result<std::vector<runtime::ContainerState>>)> done) override {
      machine_.later("list", [of = of_, &machine = machine_, done](bool fails) {
        if (fails || machine.sandbox != of) return done(machine.lost());
        std::vector<runtime::ContainerState> out;
        for (const auto& [id, c] : of->containers) out.push_back(c);
        done(std::move(out));
      });
    }
    void stats(const std::string&, std::function<void(base::Result<runtime::Stats>)> done) override {
      done(machine_.failed("stats"));
    }
    void exec(Exec, std::function<void(base::Result<ExecStarted>)> started,
              std::function<void(int)>) override {
      started(machine_.failed("exec"));
    }
    void signal_exec(const std::string&, int, Done done) override { done(machine_.failed("signal")); }
    void attach(const std::string&, SlowReader, std::function<void(base::Result<Attached>)> done) override {
      done(machine_.failed("attach"));
    }
    void shutdown(Done done) override {
      machine_.later("shutdown", [of = of_, &machine = machine_, done](bool fails) {
        if (!fails && machine.sandbox == of) machine.sandbox = nullptr;
        done(fails ? machine.failed("shutdown") : base::Status());
      });
    }

   private:
    FakeMachine& machine_;
    std::shared_ptr<FakeMachine::Sandbox> of_;
    std::string id_ = "u1";
  };

  void write(const VolumeContent& volume) {
    std::erase_if(volumes, [&](const auto& v) { return v.name == volume.name; });
    volumes.push_back(volume);
  }
  template <typename T>
  std::unique_ptr<T> ask(std::function<void(Outcome)> done) {
    struct Asked final : T {
      Asked(FakeMachine& machine, std::string key, int number)
          : machine(machine), key(std::move(key)), number(number) {}
      ~Asked() override {
        if (machine.asked_[key] == number) machine.checks.erase(key);
      }
      FakeMachine& machine;
      std::string key;
      int number;
    };
    const std::string key =
        last_.container + (last_.kind == Action::Kind::kProbe ? std::string(" ") + probe_name(last_.probe)
                                                              : std::string(" hook"));
    checks[key] = std::move(done);
    return std::make_unique<Asked>(*this, key, ++asked_[key]);
  }
  static base::Error failed(const char* operation) {
    return base::make_error(base::Kind::kInternal, operation, "x", "the test said so");
  }
  static base::Error lost() {
    return base::make_error(base::Kind::kUnavailable, "ask sampan-pod", "u1", "it is gone");
  }
  // What is done on the Pod's disk waits for what was asked before it.
  static bool on_disk(const std::string& call) {
    static const std::set<std::string> calls{"mount", "refresh", "unmount",  "prepare",
                                             "find",  "clean",   "processes"};
    return calls.contains(call);
  }
  bool disk_hangs() const {
    return std::any_of(held_.begin(), held_.end(),
                       [](const auto& held) { return !held.second.empty() && on_disk(held.first); });
  }
  void later(const std::string& call, std::function<void(bool fails)> complete) {
    if (on_disk(call) && disk_hangs()) return behind_.emplace_back(call, std::move(complete)), void();
    switch (faults_[call]) {
      case Fault::kNever: held_[call].push_back(std::move(complete)); return;
      case Fault::kFails: post([complete] { complete(true); }); return;
      case Fault::kTwice: post([complete] { complete(false); }); [[fallthrough]];
      case Fault::kNone: post([complete] { complete(false); });
    }
  }

  NodeView view_;
  Time now_;
  std::deque<std::function<void()>> posted_;
  std::multimap<Time, std::weak_ptr<std::function<void()>>> timers_;
  std::map<std::string, Fault> faults_;
  std::map<std::string, std::vector<std::function<void(bool)>>> held_;
  std::vector<std::pair<std::string, std::function<void(bool)>>> behind_;
  std::map<std::string, int> asked_;
  std::vector<ServiceLink> services_;
  Action last_{.kind = Action::Kind::kDelete};
  int taken_ = 0, version_ = 1;
};

}  // namespace kubelet
