// The Pod's record as JSON: what a restarted kubelet cannot see any more. Pure.
#include "kubelet/pod/observed.h"

namespace kubelet {

namespace json = base::json;

namespace {

int64_t ns(Time t) { return t.time_since_epoch().count(); }
Time time_at(const json::value& in, const char* key) {
  return Time(Duration(base::as_int(base::find(in, key))));
}

json::object put(const Exit& e) {
  return {{"code", e.code},       {"signal", e.signal},          {"reason", e.reason},
          {"message", e.message}, {"started", ns(e.started_at)}, {"finished", ns(e.finished_at)},
          {"id", e.container_id}};
}
Exit get_exit(const json::value& in) {
  Exit e;
  e.code = static_cast<int>(base::as_int(base::find(in, "code")));
  e.signal = static_cast<int>(base::as_int(base::find(in, "signal")));
  e.reason = base::string_at(in, "reason");
  e.message = base::string_at(in, "message");
  e.started_at = time_at(in, "started");
  e.finished_at = time_at(in, "finished");
  e.container_id = base::string_at(in, "id");
  return e;
}
json::object put(const ProbeSeen& p) {
  return {{"verdict", static_cast<int>(p.verdict)},
          {"streak", p.streak},
          {"success", p.last_success},
          {"started", ns(p.last_started)}};
}
ProbeSeen get_probe(const json::value* in) {
  ProbeSeen p;
  if (!in) return p;
  const int64_t verdict = base::as_int(base::find(*in, "verdict"));
  if (verdict >= 0 && verdict <= 2) p.verdict = static_cast<ProbeSeen::Verdict>(verdict);
  p.streak = static_cast<int>(base::as_int(base::find(*in, "streak")));
  p.last_success = base::as_bool(base::find(*in, "success"));
  p.last_started = time_at(*in, "started");
  return p;
}
Step get_step(const json::value& in, const char* key) {
  const int64_t step = base::as_int(base::find(in, key));
  return step >= 0 && step <= 3 ? static_cast<Step>(step) : Step::kNone;
}

}  // namespace

json::value encode_record(const PodObserved& seen) {
  json::object containers;
  for (const auto& [name, c] : seen.containers) {
    json::object o{{"attempt", c.attempt},
                   {"sandbox", c.sandbox},
                   {"run", static_cast<int>(c.run)},
                   {"started", ns(c.started_at)},
                   {"remains", c.remains},
                   {"leaving", c.leaving},
                   {"image", c.image_id},
                   {"stopSignal", c.stop_signal},
                   {"backoff", c.backoff.count()},
                   {"backoffAt", ns(c.backoff_at)},
                   {"postStart", static_cast<int>(c.post_start)},
                   {"preStop", static_cast<int>(c.pre_stop)},
                   {"stopping", c.stopping},
                   {"signalled", c.signalled},
                   {"killed", c.killed},
                   {"stopAt", ns(c.stop_at)},
                   {"signalledAt", ns(c.signalled_at)},
                   {"grace", c.grace_seconds},
                   {"pulled", c.image.pulled_attempt}};
    if (c.run == Run::kExited) o["exit"] = put(c.exit);
    if (c.last) o["last"] = put(*c.last);
    o["startup"] = put(c.startup);
    o["liveness"] = put(c.liveness);
    o["readiness"] = put(c.readiness);
    containers[name] = std::move(o);
  }
  json::object volumes;
  for (const auto& [name, volume] : seen.volumes.each) volumes[name] = static_cast<int>(volume.step);
  return json::object{{"firstSeen", ns(seen.first_seen)},
                      {"sandbox", json::object{{"step", static_cast<int>(seen.sandbox.step)},
                                               {"attempt", seen.sandbox.attempt},
                                               {"cleaned", seen.sandbox.cleaned == Step::kDone},
                                               {"ip", seen.sandbox.ip}}},
                      {"directory", static_cast<int>(seen.volumes.directory.step)},
                      {"volumes", std::move(volumes)},
                      {"containers", std::move(containers)}};
}

base::Result<PodObserved> decode_record(const json::value& in) {
  if (!in.is_object() || !base::find(in, "containers"))
    return base::make_error(base::Kind::kCorrupt, "read Pod record", {}, "not a record");
  PodObserved seen;
  seen.first_seen = time_at(in, "firstSeen");
  if (const json::value* sandbox = base::find(in, "sandbox")) {
    seen.sandbox.step = get_step(*sandbox, "step");
    seen.sandbox.attempt = static_cast<int>(base::as_int(base::find(*sandbox, "attempt")));
    seen.sandbox.ip = base::string_at(*sandbox, "ip");
    if (const json::value* cleaned = base::find(*sandbox, "cleaned"); cleaned && !base::as_bool(cleaned))
      seen.sandbox.cleaned = Step::kNone;
  }
  seen.volumes.directory.step = get_step(in, "directory");
  if (const json::value* volumes = base::find(in, "volumes"); volumes && volumes->is_object())
    for (const auto& [name, step] : volumes->get_object())
      seen.volumes.each[std::string(name)].step = get_step(*volumes, std::string(name).c_str());
  const json::value* containers = base::find(in, "containers");
  if (const json::object* object = containers->if_object()) {
    for (const auto& [name, o] : *object) {
      ContainerSeen c;
      c.attempt = static_cast<int>(base::as_int(base::find(o, "attempt"), -1));
      c.sandbox = static_cast<int>(base::as_int(base::find(o, "sandbox")));
      const int64_t run = base::as_int(base::find(o, "run"));
      c.run = run >= 0 && run <= 3 ? static_cast<Run>(run) : Run::kNone;
      c.started_at = time_at(o, "started");
      c.remains = base::as_bool(base::find(o, "remains"));
      c.leaving = static_cast<int>(base::as_int(base::find(o, "leaving"), -1));
      c.image_id = base::string_at(o, "image");
      c.stop_signal = base::string_at(o, "stopSignal");
      c.backoff = Duration(base::as_int(base::find(o, "backoff")));
      c.backoff_at = time_at(o, "backoffAt");
      c.post_start = get_step(o, "postStart");
      c.pre_stop = get_step(o, "preStop");
      c.stopping = base::as_bool(base::find(o, "stopping"));
      c.signalled = base::as_bool(base::find(o, "signalled"));
      c.killed = base::as_bool(base::find(o, "killed"));
      c.stop_at = time_at(o, "stopAt");
      c.signalled_at = time_at(o, "signalledAt");
      c.grace_seconds = base::as_int(base::find(o, "grace"));
      c.image.pulled_attempt = static_cast<int>(base::as_int(base::find(o, "pulled"), -1));
      if (const json::value* exit = base::find(o, "exit")) c.exit = get_exit(*exit);
      if (const json::value* last = base::find(o, "last")) c.last = get_exit(*last);
      c.startup = get_probe(base::find(o, "startup"));
      c.liveness = get_probe(base::find(o, "liveness"));
      c.readiness = get_probe(base::find(o, "readiness"));
      seen.containers.emplace(std::string(name), std::move(c));
    }
  }
  return seen;
}

}  // namespace kubelet
