// Probes and hooks of a Pod's containers: where to look, and what the answer changes.
#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "kubelet/pod/worker.h"

namespace kubelet {

namespace json = base::json;
using std::chrono::seconds;

json::value PodWorker::process_of(const std::string& name, int attempt) {
  auto it = processes_.find(name);
  return it == processes_.end() || of(name).attempt != attempt ? json::value() : it->second;
}

std::optional<NetTarget> PodWorker::net_target(const api::Container& c,
                                               const std::optional<api::HTTPGetAction>& http,
                                               const std::optional<api::TCPSocketAction>& tcp) const {
  NetTarget target;
  const api::IntOrString* port = nullptr;
  const std::string own = spec_of(pod_).host_network.value_or(false) ? view().node.host_ip : seen_.sandbox.ip;
  if (http) {
    target.kind = http->scheme == "HTTPS" ? NetTarget::Kind::kHttps : NetTarget::Kind::kHttp;
    target.host = http->host.empty() ? own : http->host;
    target.path = http->path;
    for (const auto& header : http->http_headers) target.headers.emplace_back(header.name, header.value);
    port = &http->port;
  } else if (tcp) {
    target.kind = NetTarget::Kind::kTcp;
    target.host = tcp->host.empty() ? own : tcp->host;
    port = &tcp->port;
  } else {
    return std::nullopt;
  }
  int64_t number = port->number;
  if (port->is_string) {
    auto named =
        std::find_if(c.ports.begin(), c.ports.end(), [&](const auto& p) { return p.name == port->text; });
    if (named != c.ports.end()) {
      number = named->container_port;
    } else {  // maybe a number as text
      auto [end, error] = std::from_chars(port->text.data(), port->text.data() + port->text.size(), number);
      if (error != std::errc() || end != port->text.data() + port->text.size()) {
        target.error = "strconv.Atoi: parsing \"" + port->text + "\": invalid syntax";
        return target;
      }
    }
  }
  if (number < 1 || number > 65535) target.error = "invalid port number: " + std::to_string(number);
  else target.port = static_cast<int>(number);
  return target;
}

void PodWorker::run_probe(const Action& action) {
  const api::Container* c = find_container(pod_, action.container);
  ContainerSeen& seen = of(action.container);
  const api::Probe& probe = *probe_of(*c, action.probe);
  ProbeSeen& state = action.probe == ProbeKind::kStartup    ? seen.startup
                     : action.probe == ProbeKind::kLiveness ? seen.liveness
                                                            : seen.readiness;
  state.in_flight = true;
  state.last_started = machine_.now();
  const std::string key = action.container + "/" + probe_name(action.probe);
  const Duration timeout = seconds(std::max(1, probe.timeout_seconds.value_or(1)));
  auto done = [weak = weak_from_this(), name = action.container, attempt = seen.attempt,
               kind = action.probe](Outcome outcome) {
    if (auto self = weak.lock()) self->probe_done(name, attempt, kind, outcome);
  };
  if (probe.exec) {
    if (!runtime_) return done({.success = false, .message = "the Pod is gone"});
    exec_runs_[key] = machine_.run_exec(
        *runtime_, in_pod(action.container, seen.attempt),
        exec_process(process_of(action.container, seen.attempt), probe.exec->command, false), timeout,
        std::move(done));
    return;
  }
  std::optional<NetTarget> target = net_target(*c, probe.http_get, probe.tcp_socket);
  if (probe.grpc) {
    target.emplace();
    target->kind = NetTarget::Kind::kGrpc;
    target->host = spec_of(pod_).host_network.value_or(false) ? view().node.host_ip : seen_.sandbox.ip;
    target->port = probe.grpc->port;
    target->service = probe.grpc->service;
  }
  if (!target) {
    machine_.post([done = std::move(done)] { done({.success = false, .message = "missing probe handler"}); });
    return;
  }
  net_checks_[key] = machine_.check_net(std::move(*target), timeout, std::move(done));
}

void PodWorker::probe_done(const std::string& name, int attempt, ProbeKind kind, const Outcome& outcome) {
  ContainerSeen& seen = of(name);
  const api::Container* c = find_container(pod_, name);
  if (!c || seen.attempt != attempt || seen.run != Run::kRunning) return;
  ProbeSeen& state = kind == ProbeKind::kStartup    ? seen.startup
                     : kind == ProbeKind::kLiveness ? seen.liveness
                                                    : seen.readiness;
  if (!state.in_flight) return;
  state.in_flight = false;
  const api::Probe* probe = probe_of(*c, kind);
  if (!probe) return;
  std::string title = probe_name(kind);
  title[0] = static_cast<char>(title[0] - 'a' + 'A');
  machine_.probe_counted({.type = title,
                          .container = name,
                          .pod = pod_.metadata.name,
                          .ns = pod_.metadata.namespace_,
                          .uid = uid()},
                         outcome.success                                                     ? "successful"
                         : outcome.errored && outcome.errored == std::string_view("unknown") ? "unknown"
                                                                                             : "failed",
                         machine_.now() - state.last_started);
  if (outcome.warning) event(true, "ProbeWarning", title + " probe warning: " + outcome.message, name);
  if (!outcome.success && !seen.stopping)
    event(true, "Unhealthy",
          title +
              (outcome.errored ? " probe errored and resulted in " + std::string(outcome.errored) + " state: "
                               : " probe failed: ") +
              outcome.message,
          name);
  count_probe(*probe, kind, outcome.success, state);
  schedule();
}

void PodWorker::run_hook(const Action& action, bool post_start) {
  const api::Container* c = find_container(pod_, action.container);
  ContainerSeen& seen = of(action.container);
  const api::LifecycleHandler& hook = post_start ? *c->lifecycle->post_start : *c->lifecycle->pre_stop;
  if (post_start) {
    seen.post_start = Step::kBusy;
  } else {
    if (!std::exchange(seen.stopping, true)) {
      seen.stop_at = machine_.now();
      seen.grace_seconds = action.grace_seconds;
      event(false, "Killing", action.why, action.container);
    }
    seen.pre_stop = Step::kBusy;
  }
  const std::string key = action.container + (post_start ? "/postStart" : "/preStop");
  auto done = [weak = weak_from_this(), name = action.container, attempt = seen.attempt,
               post_start](Outcome outcome) {
    if (auto self = weak.lock()) self->hook_done(name, attempt, post_start, outcome);
  };
  // preStop is cut off by the planner when the grace period is over.
  if (hook.exec) {
    if (!runtime_)
      return hook_done(action.container, seen.attempt, post_start,
                       {.success = false, .message = "the Pod is gone"});
    exec_runs_[key] =
        machine_.run_exec(*runtime_, in_pod(action.container, seen.attempt),
                          exec_process(process_of(action.container, seen.attempt), hook.exec->command, false),
                          Duration::zero(), std::move(done));
  } else if (hook.sleep) {
    sleeps_[key] = machine_.after(seconds(std::min(hook.sleep->seconds, grace_of(pod_))),
                                  [done] { done({.success = true, .message = ""}); });
  } else if (auto target = net_target(*c, hook.http_get, std::nullopt)) {
    target->hook = true;
    net_checks_[key] = machine_.check_net(
        std::move(*target), seconds(std::max<int64_t>(30, action.grace_seconds)), std::move(done));
  } else {
    machine_.post(
        [done] { done({.success = false, .message = "invalid handler: exec, httpGet or sleep is needed"}); });
  }
}

void PodWorker::hook_done(const std::string& name, int attempt, bool post_start, const Outcome& outcome) {
  ContainerSeen& seen = of(name);
  if (seen.attempt != attempt || seen.run != Run::kRunning) return;
  Step& step = post_start ? seen.post_start : seen.pre_stop;
  if (step != Step::kBusy) return;
  if (outcome.success) {
    step = Step::kDone;
  } else {
    // A failed preStop does not keep the container from being stopped.
    step = post_start ? Step::kFailed : Step::kDone;
    event(true, post_start ? "FailedPostStartHook" : "FailedPreStopHook",
          post_start ? "PostStartHook failed: " + outcome.message : "PreStopHook failed: " + outcome.message,
          name);
  }
  schedule();
}

}  // namespace kubelet
