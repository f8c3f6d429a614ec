// The PodStatus to publish, in Kubernetes' words: states, conditions, phase. Pure. What others
// wrote into the status (conditions of readiness gates, PodScheduled) is kept.
#include <algorithm>

#include "kubelet/node/utf8.h"
#include "kubelet/pod/plan.h"
#include "kubelet/pod/termination_message.h"

namespace kubelet {

namespace {

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : " ") + name;
  return out;
}

api::ContainerStateTerminated terminated(const Exit& exit, size_t message_bytes) {
  api::ContainerStateTerminated out;
  out.container_id = exit.container_id;
  out.exit_code = exit.code;
  // A container that was never started by the kernel has no signal and may have no start.
  if (exit.signal) out.signal = exit.signal;
  out.reason = exit.reason;
  out.message = first_bytes(exit.message, message_bytes);
  if (exit.started_at != Time{}) out.started_at = base::format_time(exit.started_at);
  out.finished_at = base::format_time(exit.finished_at);
  return out;
}

class StatusBuilder {
 public:
  StatusBuilder(const api::Pod& pod, const PodObserved& seen, const NodeFacts& node, Time now)
      : pod_(pod), spec_(spec_of(pod)), seen_(seen), node_(node), now_(now) {}

  api::PodStatus build() {
    if (pod_.status) status_ = *pod_.status;
    const std::string before = status_.phase;
    terminal_ = terminal_phase(pod_, seen_, now_);
    message_bytes_ =
        kMaxPodMessageBytes / std::max<size_t>(1, spec_.containers.size() + spec_.init_containers.size() +
                                                      spec_.ephemeral_containers.size());
    initialized_ = is_initialized(pod_, seen_);
    status_.host_ip = node_.host_ip;
    status_.host_ips = {api::HostIP{.ip = node_.host_ip}};
    if (status_.start_time.empty()) status_.start_time = base::format_time(seen_.first_seen);
    if (status_.qos_class.empty()) status_.qos_class = qos_class(pod_);
    if (pod_.metadata.generation) status_.observed_generation = pod_.metadata.generation;
    set_ip();
    containers();
    status_.phase = phase(before);
    if (before != "Succeeded" && before != "Failed") {
      status_.reason.clear();
      status_.message.clear();
      if (status_.phase == "Failed" && deadline_passed(pod_, seen_, now_) && !all_over()) {
        status_.reason = "DeadlineExceeded";
        status_.message = "Pod was active on the node longer than the specified deadline";
      }
    }
    conditions();
    return std::move(status_);
  }

 private:
  void set_ip() {
    const bool host_network = spec_.host_network.value_or(false);
    const std::string ip =
        host_network ? (seen_.sandbox.step == Step::kDone ? node_.host_ip : "") : seen_.sandbox.ip;
    if (ip.empty()) return;  // the last known one stays: a finished Pod keeps showing it
    status_.pod_ip = ip;
    status_.pod_ips = {api::PodIP{.ip = ip}};
  }

  api::ContainerState terminated_state(const Exit& exit) const {
    api::ContainerState state;
    state.terminated = terminated(exit, message_bytes_);
    return state;
  }

  const ContainerSeen& of(const api::Container& c) const {
    static const ContainerSeen none;
    auto it = seen_.containers.find(c.name);
    return it == seen_.containers.end() ? none : it->second;
  }

  bool all_over() const {
    return std::all_of(spec_.containers.begin(), spec_.containers.end(), [&](const auto& c) {
      return of(c).run == Run::kExited && !should_restart(pod_, c, false, of(c));
    });
  }

  void containers() {
    auto old_init = std::move(status_.init_container_statuses);
    auto old = std::move(status_.container_statuses);
    status_.init_container_statuses.clear();
    status_.container_statuses.clear();
    for (const auto& c : spec_.init_containers)
      status_.init_container_statuses.push_back(container(c, true, old_init));
    for (const auto& c : spec_.containers) status_.container_statuses.push_back(container(c, false, old));
  }

  api::ContainerStatus container(const api::Container& c, bool init,
                                 const std::vector<api::ContainerStatus>& old) {
    const ContainerSeen& s = of(c);
    api::ContainerStatus out;
    // Nothing is known of this container here, but the Pod is over: what the API knows stands.
    if (s.attempt < 0 && !terminal_.empty())
      for (const auto& o : old)
        if (o.name == c.name && o.state && o.state->terminated) return o;
    out.name = c.name;
    out.image = c.image;
    out.image_id = s.image_id;
    out.restart_count = std::max(0, s.attempt);
    out.started = has_started(c, s);
    out.ready = init && !is_sidecar(c) ? s.run == Run::kExited && s.exit.code == 0 : is_ready(c, s);
    const std::string id =
        "sampan://" + pod_.metadata.uid + "/" + container_id(pod_, c.name, std::max(0, s.attempt));
    if (s.attempt >= 0 && s.run != Run::kNone && s.run != Run::kStarting) out.container_id = id;
    api::ContainerState& state = out.state.emplace();
    const bool hook_pending =
        c.lifecycle && c.lifecycle->post_start && s.post_start != Step::kDone && !s.stopping;
    if (s.run == Run::kRunning && !hook_pending) {
      state.running = api::ContainerStateRunning{.started_at = base::format_time(s.started_at)};
      if (s.last) out.last_state = terminated_state(*s.last);
      return out;
    }
    if (s.run == Run::kExited) {
      const bool again = terminal_.empty() && !is_terminating(pod_) && should_restart(pod_, c, init, s);
      if (again && waiting_for_image(c, s, s.attempt + 1, state)) {
        out.last_state = terminated_state(s.exit);
      } else if (again && !s.config_error.empty()) {
        state.waiting = api::ContainerStateWaiting{.message = s.config_error, .reason = s.config_reason};
        out.last_state = terminated_state(s.exit);
      } else if (again && restart_wait(s, now_) > Duration::zero()) {
        const auto backoff = std::chrono::duration_cast<std::chrono::seconds>(s.backoff).count();
        state.waiting = api::ContainerStateWaiting{
            .message = "back-off " + duration_text(backoff) + " restarting failed container=" + c.name +
                       " pod=" + pod_.metadata.name + "_" + pod_.metadata.namespace_ + "(" +
                       pod_.metadata.uid + ")",
            .reason = "CrashLoopBackOff"};
        out.last_state = terminated_state(s.exit);
      } else {
        state.terminated = terminated(s.exit, message_bytes_);
        if (s.last) out.last_state = terminated_state(*s.last);
      }
      return out;
    }
    if (s.last) out.last_state = terminated_state(*s.last);
    if (!waiting_for_image(c, s, std::max(0, s.attempt), state)) {
      if (!s.config_error.empty()) {
        state.waiting = api::ContainerStateWaiting{.message = s.config_error, .reason = s.config_reason};
      } else {
        state.waiting = api::ContainerStateWaiting{
            .message = "", .reason = spec_.init_containers.empty() ? "ContainerCreating" : "PodInitializing"};
      }
    }
    return out;
  }

  static std::string duration_text(int64_t seconds) {
    const int64_t minutes = seconds / 60;
    return (minutes ? std::to_string(minutes) + "m" : "") + std::to_string(seconds % 60) + "s";
  }

  // True when it is the image that the container waits for, and that is worth saying.
  bool waiting_for_image(const api::Container& c, const ContainerSeen& s, int attempt,
                         api::ContainerState& state) const {
    const ImageSeen& image = s.image;
    if (image.reason.empty() || image.pulling) return false;
    if (image.present && (pull_policy(c) != "Always" || image.pulled_attempt >= attempt)) return false;
    api::ContainerStateWaiting waiting{.message = image.message, .reason = image.reason};
    if (image.reason == "ErrImagePull" && now_ >= image.failed_at + kShowError) {
      waiting.reason = "ImagePullBackOff";
      waiting.message = "Back-off pulling image \"" + c.image + "\": ErrImagePull: " + image.message;
    }
    state.waiting = std::move(waiting);
    return true;
  }

  std::string phase(const std::string& before) const {
    if (before == "Succeeded" || before == "Failed") return before;
    // Published when nothing runs any more: nobody may replace a Pod that still works.
    if (!terminal_.empty() &&
        std::none_of(seen_.containers.begin(), seen_.containers.end(), [](const auto& named) {
          return named.second.run == Run::kRunning || named.second.run == Run::kStarting;
        }))
      return terminal_;
    if (!initialized_) {
      bool ran = false;
      for (const auto& c : spec_.containers) ran |= of(c).attempt >= 0;
      if (!ran) return "Pending";
    }
    bool any_running = false, waiting = false, any_exited = false, failed = false;
    for (const auto& c : spec_.containers) {
      const ContainerSeen& s = of(c);
      if (s.run == Run::kRunning) any_running = true;
      else if (s.run == Run::kExited) any_exited = true, failed |= s.exit.code != 0;
      else if (!s.last) waiting = true;
    }
    if (is_terminating(pod_) && any_exited && !any_running && !waiting)
      return failed ? "Failed" : "Succeeded";
    return waiting ? "Pending" : "Running";
  }

  void conditions() {
    std::vector<std::string> unready, incomplete;
    for (const auto& c : spec_.init_containers) {
      const ContainerSeen& s = of(c);
      if (is_sidecar(c)) {
        if (!has_started(c, s)) incomplete.push_back(c.name);
        if (!is_ready(c, s)) unready.push_back(c.name);
      } else if (s.run != Run::kExited || s.exit.code != 0) {
        incomplete.push_back(c.name);
      }
    }
    for (const auto& c : spec_.containers)
      if (!is_ready(c, of(c))) unready.push_back(c.name);
    const bool over = status_.phase == "Succeeded" || status_.phase == "Failed";
    const std::string over_reason = status_.phase == "Succeeded" ? "PodCompleted" : "PodFailed";

    set("PodReadyToStartContainers", seen_.sandbox.step == Step::kDone);
    if (incomplete.empty()) set("Initialized", true);
    else if (status_.phase == "Succeeded") set("Initialized", true, "PodCompleted");
    else
      set("Initialized", false, "ContainersNotInitialized",
          "containers with incomplete status: [" + join(incomplete) + "]");

    const std::string unready_text = "containers with unready status: [" + join(unready) + "]";
    const bool containers_ready = !over && unready.empty() && incomplete.empty();
    std::string reason, message;
    if (over) reason = over_reason;
    else if (!containers_ready) reason = "ContainersNotReady", message = unready_text;
    std::string ready_reason = reason, ready_message = message;
    bool ready = containers_ready;
    if (ready) {
      std::vector<std::string> gates;
      for (const auto& gate : spec_.readiness_gates) {
        auto it = std::find_if(status_.conditions.begin(), status_.conditions.end(),
                               [&](const auto& c) { return c.type == gate.condition_type; });
        if (it == status_.conditions.end())
          gates.push_back("corresponding condition of pod readiness gate \"" + gate.condition_type +
                          "\" does not exist.");
        else if (it->status != "True")
          gates.push_back("the status of pod readiness gate \"" + gate.condition_type +
                          "\" is not \"True\", but " + it->status);
      }
      if (!gates.empty()) {
        ready = false;
        ready_reason = "ReadinessGatesNotReady";
        for (const auto& text : gates) ready_message += (ready_message.empty() ? "" : ", ") + text;
      }
    }
    set("Ready", ready, ready_reason, ready_message);
    set("ContainersReady", containers_ready, reason, message);
    if (std::none_of(status_.conditions.begin(), status_.conditions.end(),
                     [](const auto& c) { return c.type == "PodScheduled"; }))
      set("PodScheduled", true);
  }

  void set(const std::string& type, bool value, const std::string& reason = {},
           const std::string& message = {}) {
    auto it = std::find_if(status_.conditions.begin(), status_.conditions.end(),
                           [&](const auto& c) { return c.type == type; });
    if (it == status_.conditions.end()) {
      it = status_.conditions.insert(status_.conditions.end(), api::PodCondition{});
      it->type = type;
    }
    const std::string text = value ? "True" : "False";
    if (it->status != text) it->last_transition_time = base::format_time(now_);
    it->status = text;
    it->reason = reason;
    it->message = message;
    if (pod_.metadata.generation) it->observed_generation = pod_.metadata.generation;
  }

  const api::Pod& pod_;
  const api::PodSpec& spec_;
  const PodObserved& seen_;
  const NodeFacts& node_;
  const Time now_;
  std::string terminal_;
  size_t message_bytes_ = 0;  // of each container's termination message
  bool initialized_ = false;
  api::PodStatus status_;
};

}  // namespace

std::string no_log_text(const api::PodStatus& status, const std::string& pod, const std::string& container) {
  const std::string who = "container \"" + container + "\" in pod \"" + pod + "\"";
  for (const auto* list : {&status.init_container_statuses, &status.container_statuses})
    for (const auto& c : *list) {
      if (c.name != container) continue;
      if (!c.state || !c.state->waiting)
        return who +
               (c.state && c.state->terminated ? " is terminated" : " is waiting to start - no logs yet");
      const std::string& reason = c.state->waiting->reason;
      return who + " is waiting to start: " +
             (reason == "ErrImagePull"       ? "image can't be pulled"
              : reason == "ImagePullBackOff" ? "trying and failing to pull image"
                                             : reason);
    }
  return who + " is not available";
}

api::PodStatus pod_status(const api::Pod& pod, const PodObserved& seen, const NodeFacts& node, Time now) {
  return StatusBuilder(pod, seen, node, now).build();
}

}  // namespace kubelet
