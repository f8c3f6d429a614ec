// See events.h. The limits are those of client-go's correlator: same event within ten minutes is
// one object with a count; 25 at once per object, then one in five minutes.
#include "master/controllers/events.h"

namespace master::controllers {
using namespace std::chrono_literals;
namespace json = base::json;

std::string answered(const base::Error& error) {
  constexpr std::string_view kHttp = "HTTP 000: ";  // api::error_from_status()
  std::string_view text = error.reason;
  if (text.starts_with("HTTP ") && text.size() > kHttp.size() && text.substr(8, 2) == ": ")
    return std::string(text.substr(kHttp.size()));
  return error.reason.empty() ? error.message() : error.reason;
}

EventRecorder::EventRecorder(api::Client& client, std::string component, std::function<base::Time()> now)
    : client_(client), component_(std::move(component)), now_(std::move(now)) {}

bool EventRecorder::allowed(const std::string& uid, base::Time now) {
  constexpr double kBurst = 25, kPerSecond = 1.0 / 300;
  if (buckets_.size() > 4096) buckets_.clear();
  auto [at, fresh] = buckets_.try_emplace(uid, Bucket{kBurst, now});
  Bucket& bucket = at->second;
  std::chrono::duration<double> passed = now - bucket.at;
  bucket.tokens = std::min(kBurst, bucket.tokens + passed.count() * kPerSecond);
  bucket.at = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

void EventRecorder::record(const ObjectRef& about, std::string_view type, std::string_view reason,
                           std::string_view message, std::string_view component) {
  const base::Time now = now_();
  if (!allowed(about.uid + about.name, now)) return;
  std::string identity = fmt::format("{}\n{}\n{}\n{}", about.uid, about.name, reason, message);
  if (seen_.size() > 4096) std::erase_if(seen_, [&](auto& item) { return now - item.second.last > 10min; });
  if (seen_.size() > 8192) seen_.clear();
  Seen& seen = seen_[identity];
  if (seen.count > 0 && now - seen.last < 10min) {
    seen.last = now;
    ++seen.count;
    json::object patch{{"count", seen.count}, {"lastTimestamp", base::format_time(now)}};
    client_.patch(api::resources::events, seen.ns, seen.name, "merge", std::move(patch),
                  [this, identity](base::Result<json::value> result) {
                    if (!result.ok()) seen_.erase(identity);  // expired at the server: a new one next time
                  });
    return;
  }
  // Events of cluster-scoped objects live in "default", as everywhere in Kubernetes.
  seen =
      Seen{about.ns.empty() ? "default" : about.ns,
           fmt::format("{}.{:x}", about.name, now.time_since_epoch().count() + static_cast<int64_t>(next_++)),
           1, now};
  const std::string source(component.empty() ? std::string_view(component_) : component);
  json::object event{
      {"apiVersion", "v1"},
      {"kind", "Event"},
      {"metadata", {{"name", seen.name}, {"namespace", seen.ns}}},
      {"involvedObject",
       {{"apiVersion", about.api_version},
        {"kind", about.kind},
        {"name", about.name},
        {"namespace", about.ns},
        {"uid", about.uid}}},
      {"type", type},
      {"reason", reason},
      {"message", message},
      {"count", 1},
      {"firstTimestamp", base::format_time(now)},
      {"lastTimestamp", base::format_time(now)},
      {"source", {{"component", source}}},
      {"reportingComponent", source},
      {"reportingInstance", ""},
  };
  if (about.ns.empty()) event["involvedObject"].get_object().erase("namespace");
  client_.create(api::resources::events, seen.ns, std::move(event),
                 [](base::Result<json::value> result) { base::ignore(result, "events are best effort"); });
}

}  // namespace master::controllers
