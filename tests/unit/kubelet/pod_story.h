// The life of a Pod as text: what happens on the left (>), what is done about it, and the status it would
// publish. Told twice: a fake node carries the planner's actions out at once (PlanStory), and the worker
// carries them out on a FakeMachine (WorkerStory). Both have a clock of their own.
#pragma once

#include <gtest/gtest.h>

#include <sstream>

#include "tests/unit/kubelet/fake_machine.h"

namespace kubelet {

using std::chrono::seconds;

inline api::Pod story_pod(const std::string& spec, const std::string& meta) {
  auto pod = api::decode_text<api::Pod>(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","uid":"u1","resourceVersion":"1")" +
      (meta.empty() ? "" : "," + meta) + R"(},"spec":)" + spec + "}");
  EXPECT_TRUE(pod.ok()) << (pod.ok() ? "" : pod.error().message());
  return *pod;
}

class Story {
 public:
  virtual ~Story() = default;
  // Lines of "at 10s", "exit web 1", "probe web liveness ok", "delete 30", …; returns the transcript.
  std::string tell(const std::string& events) {
    std::istringstream in(events);
    std::string line;
    round();
    while (std::getline(in, line)) {
      std::istringstream words(line);
      std::string word, name;
      words >> word;
      if (word.empty()) continue;
      out_ += "> " + line + "\n";
      if (word == "at") {
        int s;
        words >> s;
        advance(start_ + seconds(s));
      } else if (word == "exit") {
        int code;
        words >> name >> code;
        exit(name, code);
      } else if (word == "probe") {
        std::string kind, verdict;
        words >> name >> kind >> verdict;
        probe(name, kind, verdict == "ok");
      } else if (word == "delete") {
        int64_t grace;
        words >> grace;
        remove(grace);
      } else if (word == "hook-done" || word == "hook-fails") {
        words >> name;
        hook(name, word == "hook-done");
      } else if (word == "stubborn") {
        words >> name;
        stubborn(name);
      } else if (word == "pull-fails" || word == "pull-works") pulls_fail(word == "pull-fails");
      else if (word == "lose-sandbox") lose();
      else if (word == "gone") gone();
      else if (word == "show") {
        out_ += show();
        continue;
      } else if (!other(line)) ADD_FAILURE() << "unknown event " << line;
      round();
    }
    return out_;
  }
  virtual api::PodStatus status() = 0;

 protected:
  virtual void round() = 0;
  virtual void advance(Time to) = 0;
  virtual Time now() const = 0;
  virtual void exit(const std::string& name, int code) = 0;
  virtual void probe(const std::string& name, const std::string& kind, bool ok) = 0;
  virtual void remove(int64_t grace) = 0;
  virtual void hook(const std::string& name, bool ok) = 0;
  virtual void stubborn(const std::string& name) = 0;
  virtual void pulls_fail(bool fail) = 0;
  virtual void lose() = 0;
  virtual void gone() = 0;
  virtual bool other(const std::string&) { return false; }
  void told(const Action& a) {
    const auto t = std::chrono::duration_cast<seconds>(now() - start_).count();
    out_ += std::to_string(t) + "s " + a.text() + (a.why.empty() ? "" : " (" + a.why + ")") + "\n";
  }
  std::string show() {
    const api::PodStatus s = status();
    std::string out = "  " + s.phase + (s.reason.empty() ? "" : " " + s.reason);
    for (const auto& c : s.conditions)
      if (c.type == "Ready" || c.type == "Initialized") out += " " + c.type + "=" + c.status;
    out += "\n";
    auto line = [&](const api::ContainerStatus& c) {
      out += "  " + c.name + " ";
      if (c.state->running) out += "running";
      if (c.state->waiting) out += "waiting " + c.state->waiting->reason;
      if (c.state->terminated) out += "terminated " + c.state->terminated->reason;
      out += " restarts=" + std::to_string(c.restart_count) + (c.ready ? " ready" : "") + "\n";
    };
    for (const auto& c : s.init_container_statuses) line(c);
    for (const auto& c : s.container_statuses) line(c);
    return out;
  }

  const Time start_ = *base::parse_time("2026-01-01T00:00:00Z");
  std::string out_;
};

class PlanStory final : public Story {
 public:
  explicit PlanStory(const std::string& spec, const std::string& meta = "") : pod_(story_pod(spec, meta)) {
    seen_.network_ready = seen_.objects_loaded = seen_.pull_secrets_loaded = seen_.services_known = true;
    seen_.images_known = true;
    seen_.first_seen = now_;
  }
  api::PodStatus status() override { return plan_pod(pod_, seen_, {"192.0.2.1"}, now_).status; }
  PodObserved& seen() { return seen_; }
  api::Pod& pod() { return pod_; }
  void pulls_fail(bool fail) override { fail_pulls_ = fail; }

 private:
  Time now() const override { return now_; }
  void advance(Time to) override {
    for (;;) {
      Plan plan = plan_pod(pod_, seen_, {"192.0.2.1"}, now_);
      if (!plan.wake || *plan.wake > to) break;
      ASSERT_GT(*plan.wake, now_) << "a wake in the past spins";
      now_ = *plan.wake;
      round();
    }
    now_ = to;
  }
  void round() override {
    for (int i = 0; i < 50; ++i) {
      Plan plan = plan_pod(pod_, seen_, {"192.0.2.1"}, now_);
      if (plan.actions.empty()) {
        if (plan.finished && !finished_) {
          finished_ = true;
          out_ += "finished\n";
        }
        pod_.status = plan.status;
        return;
      }
      for (const Action& a : plan.actions) {
        told(a);
        carry_out(a);
      }
    }
    FAIL() << "the planner never rests:\n" << out_;
  }
  void carry_out(const Action& a) {
    ContainerSeen& c = seen_.containers[a.container];
    switch (a.kind) {
      case Action::Kind::kFindSandbox: seen_.recovered = Step::kDone; break;
      case Action::Kind::kCleanSandbox: seen_.sandbox.cleaned = Step::kDone; break;
      case Action::Kind::kStartSandbox:
        EXPECT_EQ(seen_.sandbox.cleaned, Step::kDone);
        seen_.sandbox.step = Step::kDone;
        seen_.sandbox.ip = "10.244.0.5";
        break;
      case Action::Kind::kFetchToken: seen_.tokens[a.token].held = true; break;
      case Action::Kind::kFetchClaims: seen_.volumes.claims.step = Step::kDone; break;
      case Action::Kind::kMountVolumes:
        seen_.volumes.directory.step = Step::kDone;
        for (const auto& name : a.volumes) seen_.volumes.each[name].step = Step::kDone;
        break;
      case Action::Kind::kRefreshVolumes: seen_.volumes.outdated = false; break;
      case Action::Kind::kPull:
        if (fail_pulls_) {
          c.image.reason = "ErrImagePull";
          c.image.message = "no such host";
          c.image.failed_at = now_;
          c.image.backoff = c.image.backoff == Duration{} ? kBackoffFirst : c.image.backoff * 2;
        } else {
          c.image = {};
          c.image.present = true;
          c.image.digest = "sha256:1";
          c.image.pulled_attempt = a.attempt;
        }
        break;
      case Action::Kind::kPrepare:
        c.prepared = Step::kDone;
        c.prepared_attempt = a.attempt;
        break;
      case Action::Kind::kStart: {
        EXPECT_EQ(seen_.sandbox.step, Step::kDone);
        EXPECT_EQ(c.prepared, Step::kDone);
        ContainerSeen next;
        if (c.remains) next.leaving = c.attempt;
        next.image = c.image;
        if (c.run == Run::kExited) next.last = c.exit;
        next.attempt = a.attempt;
        next.backoff = a.backoff;
        next.backoff_at = now_;
        next.run = Run::kRunning;
        next.started_at = now_;
        next.image_id = "sha256:1";
        next.sandbox = seen_.sandbox.attempt;
        c = next;
        break;
      }
      case Action::Kind::kPostStart: c.post_start = Step::kBusy; break;
      case Action::Kind::kProbe: {
        ProbeSeen& p = a.probe == ProbeKind::kStartup    ? c.startup
                       : a.probe == ProbeKind::kLiveness ? c.liveness
                                                         : c.readiness;
        p.in_flight = true;
        p.last_started = now_;
        break;
      }
      case Action::Kind::kPreStop:
        c.stopping = true;
        c.stop_at = now_;
        c.grace_seconds = a.grace_seconds;
        c.pre_stop = Step::kBusy;
        break;
      case Action::Kind::kSignal:
        if (!c.stopping) {
          c.stopping = true;
          c.stop_at = now_;
          c.grace_seconds = a.grace_seconds;
        }
        c.signalled = true;
        c.signalled_at = now_;
        if (a.container != stubborn_) exit(a.container, 0);
        break;
      case Action::Kind::kKill:
        c.stopping = c.killed = true;
        exit(a.container, 137);
        break;
      case Action::Kind::kRemove:
        if (c.leaving == a.attempt) c.leaving = -1;
        else c.remains = false;
        break;
      case Action::Kind::kStopSandbox: seen_.sandbox.step = Step::kNone; break;
      case Action::Kind::kUnmountVolumes: seen_.volumes = {}; break;
      case Action::Kind::kDelete: seen_.removed = Step::kDone; break;
    }
    if (a.container.empty()) seen_.containers.erase("");
  }
  void exit(const std::string& name, int code) override {
    ContainerSeen& c = seen_.containers[name];
    c.run = Run::kExited;
    c.remains = true;
    c.exit = {};
    c.exit.code = code;
    c.exit.reason = code ? "Error" : "Completed";
    c.exit.started_at = c.started_at;
    c.exit.finished_at = now_;
  }
  void probe(const std::string& name, const std::string& kind, bool ok) override {
    ContainerSeen& c = seen_.containers[name];
    const ProbeKind k = kind == "startup"    ? ProbeKind::kStartup
                        : kind == "liveness" ? ProbeKind::kLiveness
                                             : ProbeKind::kReadiness;
    ProbeSeen& p = k == ProbeKind::kStartup    ? c.startup
                   : k == ProbeKind::kLiveness ? c.liveness
                                               : c.readiness;
    EXPECT_TRUE(p.in_flight) << name << " " << kind;
    p.in_flight = false;
    count_probe(*probe_of(*find_container(pod_, name), k), k, ok, p);
  }
  void lose() override {
    seen_.sandbox.step = seen_.sandbox.cleaned = Step::kNone;
    seen_.sandbox.attempt++;
    for (auto& [name, c] : seen_.containers)
      if (c.run == Run::kRunning) {
        exit(name, 137);
        c.remains = false;
      }
  }
  void remove(int64_t grace) override {
    pod_.metadata.deletion_timestamp = base::format_time(now_ + seconds(grace));
    pod_.metadata.deletion_grace_period_seconds = grace;
  }
  void hook(const std::string& name, bool ok) override {
    auto& c = seen_.containers[name];
    (c.stopping ? c.pre_stop : c.post_start) = ok || c.stopping ? Step::kDone : Step::kFailed;
  }
  void stubborn(const std::string& name) override { stubborn_ = name; }
  void gone() override { seen_.gone_from_api = true; }

  Time now_ = start_;
  api::Pod pod_;
  PodObserved seen_;
  std::string stubborn_;
  bool fail_pulls_ = false, finished_ = false;
};

class WorkerStory final : public Story {
 public:
  explicit WorkerStory(const std::string& spec, const std::string& meta = "") : machine(start_) {
    const api::Pod pod = story_pod(spec, meta);
    machine.api = api::encode(pod);
    machine.on_action = [this](const Action& action) { told(action); };
    make(pod, std::nullopt);
  }
  ~WorkerStory() override { worker_.reset(); }
  api::PodStatus status() override {
    return pod_status(worker_->pod(), worker_->observed(), machine.view().node, machine.now());
  }
  void pulls_fail(bool fail) override {
    machine.set("pull", fail ? FakeMachine::Fault::kFails : FakeMachine::Fault::kNone);
  }
  PodWorker& worker() { return *worker_; }
  bool finished() const { return finished_; }
  // The kubelet is killed and started again: its record and the API are all it has.
  void restart() {
    worker_.reset();
    started_ = false;
    machine.kill();
    std::optional<PodObserved> record;
    if (machine.records.contains("u1"))
      record = decode_record(*base::parse_json(machine.records["u1"])).value();
    make(api::decode<api::Pod>(machine.api).value(), std::move(record));
  }

  FakeMachine machine;

 private:
  void make(api::Pod pod, std::optional<PodObserved> record) {
    worker_ = std::make_shared<PodWorker>(machine, std::move(pod), std::move(record));
    worker_->on_finished = [this] {
      finished_ = true;
      out_ += "finished\n";
    };
  }
  Time now() const override { return machine.now(); }
  void round() override {
    if (!std::exchange(started_, true)) worker_->start();
    machine.run();
  }
  void advance(Time to) override { machine.advance(to); }
  // As the informer says it, whoever changed it.
  void update() {
    machine.bump();
    worker_->update(api::decode<api::Pod>(machine.api).value());
  }
  void exit(const std::string& name, int code) override {
    machine.exit(name + "." + std::to_string(worker_->observed().containers.at(name).attempt), code);
  }
  void probe(const std::string& name, const std::string& kind, bool ok) override {
    machine.check_done(name + " " + kind, ok);
  }
  void remove(int64_t grace) override {
    auto& meta = machine.api.at("metadata").as_object();
    meta["deletionTimestamp"] = base::format_time(machine.now() + seconds(grace));
    meta["deletionGracePeriodSeconds"] = grace;
    update();
  }
  void hook(const std::string& name, bool ok) override { machine.check_done(name + " hook", ok); }
  void stubborn(const std::string& name) override { machine.stubborn = name; }
  void lose() override { machine.lose_sandbox(); }
  void gone() override {
    machine.api = nullptr;
    worker_->gone();
  }
  // "fail token", "hold mount", "twice start", "works pull"; "answer mount", "refuse mount"; "restart";
  // "configmap name key value"; "events": what was said since the last time.
  bool other(const std::string& line) override {
    std::istringstream words(line);
    std::string word, name, key, value;
    words >> word >> name;
    using Fault = FakeMachine::Fault;
    if (word == "fail") machine.set(name, Fault::kFails);
    else if (word == "hold") machine.set(name, Fault::kNever);
    else if (word == "twice") machine.set(name, Fault::kTwice);
    else if (word == "works") machine.set(name, Fault::kNone);
    else if (word == "answer" || word == "refuse") {
      EXPECT_GT(machine.held(name), 0u) << "nobody asked for " << name;
      machine.answer(name, word == "answer");
    } else if (word == "restart") restart();
    else if (word == "configmap") {
      words >> key >> value;
      machine.objects[{ObjectKind::kConfigMap, name}][key] = value;
      worker_->objects_changed();
    } else if (word == "events") out_ += std::exchange(machine.events, "");
    else return false;
    return true;
  }

  std::shared_ptr<PodWorker> worker_;
  bool started_ = false, finished_ = false;
};

}  // namespace kubelet
