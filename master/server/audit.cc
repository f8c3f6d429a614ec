#include "master/server/audit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "api/yaml.h"
#include "base/json_limits.h"
#include "base/log.h"
#include "base/sys.h"

namespace master {

namespace json = base::json;
namespace sys = base::sys;

namespace {

constexpr size_t kMaxGathered = 4 << 20;  // written at once beyond it

const json::array* array_in(const json::value& object, std::string_view key) {
  const json::value* found = base::find(object, key);
  const json::array* array = found ? found->if_array() : nullptr;
  return array && !array->empty() ? array : nullptr;
}
bool lists(const json::array& list, std::string_view text) {
  return std::any_of(list.begin(), list.end(),
                     [&](const json::value& item) { return base::as_string(&item) == text; });
}
// "pods", "pods/log", "pods/*", "*", "*/scale"
bool audited_resource(std::string_view pattern, std::string_view plural, std::string_view subresource) {
  if (pattern == "*") return true;
  size_t slash = pattern.find('/');
  std::string_view resource = pattern.substr(0, slash);
  std::string_view sub = slash == std::string_view::npos ? std::string_view() : pattern.substr(slash + 1);
  return (resource == "*" || resource == plural) &&
         (slash == std::string_view::npos ? subresource.empty() : sub == "*" || sub == subresource);
}
bool audited_path(std::string_view pattern, std::string_view path) {
  if (pattern.ends_with('*')) return path.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == path;
}

bool rule_matches(const json::value& rule, const RequestInfo& request) {
  if (const json::array* users = array_in(rule, "users"); users && !lists(*users, request.user.name))
    return false;
  if (const json::array* groups = array_in(rule, "userGroups")) {
    bool any = false;
    for (const std::string& group : request.user.groups) any = any || lists(*groups, group);
    if (!any) return false;
  }
  if (const json::array* verbs = array_in(rule, "verbs"); verbs && !lists(*verbs, request.verb)) return false;
  const json::array *resources = array_in(rule, "resources"), *namespaces = array_in(rule, "namespaces"),
                    *paths = array_in(rule, "nonResourceURLs");
  if (!resources && !namespaces && !paths) return true;
  if (!request.resource) {
    if (!paths) return false;
    return std::any_of(paths->begin(), paths->end(), [&](const json::value& path) {
      return audited_path(base::as_string(&path), request.http().path());
    });
  }
  if (paths && !resources && !namespaces) return false;
  if (namespaces && !lists(*namespaces, request.ns)) return false;
  if (!resources) return true;
  for (const json::value& one : *resources) {
    if (base::string_at(one, "group") != request.resource->group) continue;
    if (const json::array* names = array_in(one, "resourceNames"); names && !lists(*names, request.name))
      continue;
    const json::array* plurals = array_in(one, "resources");
    if (!plurals) return true;
    for (const json::value& plural : *plurals)
      if (audited_resource(base::as_string(&plural), request.resource->plural, request.subresource))
        return true;
  }
  return false;
}

void take_stages(const json::value& from, std::vector<std::string>* out) {
  if (const json::array* stages = array_in(from, "omitStages"))
    for (const json::value& stage : *stages) out->emplace_back(base::as_string(&stage));
}

// A body as an event shows it; what is no JSON is left out.
void put_body(json::object& event, const char* key, std::string_view body, bool omit_managed_fields) {
  auto parsed = base::parse_json_carrier(body);
  if (!parsed.ok() || !parsed->is_object()) return;
  if (omit_managed_fields)
    if (json::value* metadata = parsed->get_object().if_contains("metadata");
        metadata && metadata->is_object())
      metadata->get_object().erase("managedFields");
  event[key] = std::move(*parsed);
}

json::value audited_user(const User& user) {
  json::object out{{"username", user.name}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  out["groups"] = json::array(user.groups.begin(), user.groups.end());
  if (!user.extra.empty()) {
    json::object& extra = out["extra"].emplace_object();
    for (const auto& [key, values] : user.extra) extra[key] = json::array(values.begin(), values.end());
  }
  return out;
}

}  // namespace

bool AuditPolicy::Decision::omits(std::string_view stage) const {
  return std::find(omit_stages.begin(), omit_stages.end(), stage) != omit_stages.end();
}

base::Result<AuditPolicy> AuditPolicy::parse(std::string_view yaml) {
  auto bad = [](std::string why) {
    return base::make_error(base::Kind::kInvalid, "read audit policy", "", std::move(why),
                            "see audit.k8s.io/v1 Policy");
  };
  std::vector<json::value> documents = TRY(api::parse_yaml(yaml));
  if (documents.size() != 1 || !documents[0].is_object()) return bad("expected one object");
  AuditPolicy policy;
  policy.policy_ = std::move(documents[0]);
  if (base::string_at(policy.policy_, "apiVersion") != "audit.k8s.io/v1" ||
      base::string_at(policy.policy_, "kind") != "Policy")
    return bad("it is no Policy of audit.k8s.io/v1");
  const json::array* rules = array_in(policy.policy_, "rules");
  if (!rules) return bad("it has no rules");
  auto check_stages = [](const json::value& from) {
    std::vector<std::string> stages;
    take_stages(from, &stages);
    for (const std::string& stage : stages)
      if (stage != kRequestReceived && stage != kResponseStarted && stage != kResponseComplete &&
          stage != "Panic")
        return false;
    return true;
  };
  if (!check_stages(policy.policy_)) return bad("omitStages: unknown stage");
  for (const json::value& rule : *rules) {
    std::string_view level = base::string_at(rule, "level");
    if (level != "None" && level != "Metadata" && level != "Request" && level != "RequestResponse")
      return bad("level \"" + std::string(level) + "\": expected None, Metadata, Request or RequestResponse");
    if (!check_stages(rule)) return bad("omitStages: unknown stage");
    if (array_in(rule, "nonResourceURLs") && (array_in(rule, "resources") || array_in(rule, "namespaces")))
      return bad("a rule has either nonResourceURLs or resources and namespaces");
  }
  return policy;
}

AuditPolicy::Decision AuditPolicy::decide(const RequestInfo& request) const {
  Decision decision;
  for (const json::value& rule : *array_in(policy_, "rules")) {
    if (!rule_matches(rule, request)) continue;
    std::string_view level = base::string_at(rule, "level");
    decision.level = level == "Metadata"          ? AuditLevel::kMetadata
                     : level == "Request"         ? AuditLevel::kRequest
                     : level == "RequestResponse" ? AuditLevel::kRequestResponse
                                                  : AuditLevel::kNone;
    if (decision.level == AuditLevel::kNone) return decision;
    take_stages(policy_, &decision.omit_stages);
    take_stages(rule, &decision.omit_stages);
    const json::value* omit = base::find(rule, "omitManagedFields");
    decision.omit_managed_fields =
        base::as_bool(omit && omit->is_bool() ? omit : base::find(policy_, "omitManagedFields"));
    return decision;
  }
  return decision;
}

std::string audit_event(std::string_view stage, const RequestInfo& request, const AuditedRequest& audited,
                        base::Time now) {
  AuditLevel level = audited.decision.level;
  const base::http::Request& http = request.http();
  std::string_view address = http.peer.address;
  size_t colon = address.rfind(':');
  if (colon != std::string_view::npos) address = address.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  json::object event{{"kind", "Event"},
                     {"apiVersion", "audit.k8s.io/v1"},
                     {"level", level == AuditLevel::kMetadata  ? "Metadata"
                               : level == AuditLevel::kRequest ? "Request"
                                                               : "RequestResponse"},
                     {"auditID", audited.id},
                     {"stage", stage},
                     {"requestURI", http.target},
                     {"verb", request.verb},
                     {"user", audited_user(request.impersonator ? *request.impersonator : request.user)}};
  if (request.impersonator) event["impersonatedUser"] = audited_user(request.user);
  json::array sources;
  if (!address.empty()) sources.emplace_back(address);
  event["sourceIPs"] = std::move(sources);
  if (std::string_view agent = http.headers.get("User-Agent"); !agent.empty()) event["userAgent"] = agent;
  if (request.resource) {
    json::object reference{{"resource", request.resource->plural}};
    if (!request.ns.empty()) reference["namespace"] = request.ns;
    if (!request.name.empty()) reference["name"] = request.name;
    if (!request.resource->group.empty()) reference["apiGroup"] = request.resource->group;
    reference["apiVersion"] = request.resource->version;
    if (!request.subresource.empty()) reference["subresource"] = request.subresource;
    event["objectRef"] = std::move(reference);
  }
  if (stage != kRequestReceived) {
    json::object status{{"metadata", json::object()}, {"code", audited.code}};
    if (audited.code >= 400) {
      auto parsed = base::parse_json_carrier(audited.response);
      if (parsed.ok() && base::string_at(*parsed, "kind") == "Status")
        for (const char* key : {"status", "message", "reason", "details"})
          if (const json::value* value = base::find(*parsed, key)) status[key] = *value;
    }
    event["responseStatus"] = std::move(status);
    if (level >= AuditLevel::kRequest)
      put_body(event, "requestObject", http.body, audited.decision.omit_managed_fields);
    if (level == AuditLevel::kRequestResponse)
      put_body(event, "responseObject", audited.response, audited.decision.omit_managed_fields);
  }
  event["requestReceivedTimestamp"] = base::format_micro_time(audited.received);
  event["stageTimestamp"] = base::format_micro_time(now);
  json::object annotations;
  if (audited.code != 0)
    annotations["authorization.k8s.io/decision"] = audited.code == 403 ? "forbid" : "allow";
  if (request.audit_annotations)
    for (const auto& [key, value] : *request.audit_annotations) annotations[key] = value;
  if (!annotations.empty()) event["annotations"] = std::move(annotations);
  std::string line = json::serialize(event);
  line += '\n';
  return line;
}

base::Result<std::unique_ptr<AuditLog>> AuditLog::open(base::Loop& loop, Options options) {
  std::unique_ptr<AuditLog> log(new AuditLog(loop, std::move(options)));
  TRY(log->reopen());
  return log;
}
AuditLog::~AuditLog() { write(); }

base::Status AuditLog::reopen() {
  if (options_.path == "-") {
    fd_ = base::UniqueFd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    return {};
  }
  if (size_t slash = options_.path.rfind('/'); slash != std::string::npos && slash > 0)
    TRY(sys::mkdir_all(options_.path.substr(0, slash), 0700));
  fd_ = TRY(sys::open(options_.path, O_WRONLY | O_CREAT | O_APPEND, 0600));
  struct stat status;
  size_ = ::fstat(fd_.get(), &status) == 0 ? status.st_size : 0;
  return {};
}

void AuditLog::append(std::string line) {
  ++events_;
  gathered_ += line;
  if (gathered_.size() >= kMaxGathered) return write();
  if (posted_) return;
  posted_ = true;
  loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    posted_ = false;
    write();
  });
}

void AuditLog::write() {
  if (gathered_.empty()) return;
  if (options_.path != "-" && size_ > 0 &&
      size_ + static_cast<int64_t>(gathered_.size()) > options_.max_size_bytes)
    rotate();
  if (auto status = sys::write_all(fd_.get(), gathered_); !status.ok()) {
    // Once, not for each line of a full disk.
    if (errors_ == 0) base::log::error("audit log: {}", status.error().message());
    errors_ += static_cast<uint64_t>(std::count(gathered_.begin(), gathered_.end(), '\n'));
  } else {
    size_ += static_cast<int64_t>(gathered_.size());
  }
  gathered_.clear();
  if (gathered_.capacity() > (64 << 10)) std::string().swap(gathered_);
}

// "audit.log" becomes "audit-2026-01-02T03-04-05.678901.log", as other tools of the field name it.
void AuditLog::rotate() {
  std::string stamp = base::format_micro_time(base::wall_now());
  std::replace(stamp.begin(), stamp.end(), ':', '-');
  stamp.pop_back();  // Z
  size_t dot = options_.path.rfind('.'), slash = options_.path.rfind('/');
  bool has_extension = dot != std::string::npos && (slash == std::string::npos || dot > slash + 1);
  std::string stem = options_.path.substr(0, has_extension ? dot : std::string::npos);
  std::string moved = stem + "-" + stamp + (has_extension ? options_.path.substr(dot) : "");
  if (::rename(options_.path.c_str(), moved.c_str()) != 0)
    return base::log::error("audit log: {}", sys::last_error("rename", options_.path).message());
  if (auto status = reopen(); !status.ok()) base::log::error("audit log: {}", status.error().message());
  remove_old();
}

void AuditLog::remove_old() {
  if (options_.max_backups == 0 && options_.max_age_days == 0) return;
  size_t slash = options_.path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : options_.path.substr(0, slash);
  std::string name = options_.path.substr(slash == std::string::npos ? 0 : slash + 1);
  size_t dot = name.rfind('.');
  std::string stem = name.substr(0, dot) + "-", extension = dot == std::string::npos ? "" : name.substr(dot);
  auto names = sys::list_dir(directory);
  if (!names.ok()) return;
  std::vector<std::string> backups;  // sorted by name, that is by time
  for (const std::string& one : *names)
    if (one.starts_with(stem) && one.ends_with(extension) &&
        one.size() == stem.size() + 26 + extension.size())
      backups.push_back(one);
  auto now = base::wall_now();
  for (size_t i = 0; i < backups.size(); ++i) {
    std::string path = directory + "/" + backups[i];
    struct stat status;
    bool old = options_.max_age_days > 0 && ::stat(path.c_str(), &status) == 0 &&
               now - base::Time(std::chrono::seconds(status.st_mtime)) >
                   std::chrono::hours(24) * options_.max_age_days;
    bool many = options_.max_backups > 0 && backups.size() - i > static_cast<size_t>(options_.max_backups);
    if (old || many) ::unlink(path.c_str());
  }
}

}  // namespace master
