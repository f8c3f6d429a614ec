#include "master/registry/heavy_requests.h"

#include <algorithm>
#include <map>

#include "master/registry/object_cache.h"

namespace master {
namespace {

constexpr size_t kHeavyBytes = 64 << 10, kHeavyJsonPatchBytes = 4 << 10, kHeavyQueryBytes = 1 << 10;

std::map<base::Loop*, std::unique_ptr<base::Fibers>>& all_fibers() {
  static thread_local std::map<base::Loop*, std::unique_ptr<base::Fibers>> fibers;
  return fibers;
}

// What it takes as text at least.
size_t least_bytes(const base::json::value& value) {
  size_t bytes = 2;
  if (const auto* text = value.if_string()) return bytes + text->size();
  if (const auto* list = value.if_array()) {
    for (const auto& item : *list) bytes += 1 + least_bytes(item);
  } else if (const auto* object = value.if_object()) {
    for (const auto& member : *object) bytes += 4 + member.key().size() + least_bytes(member.value());
  } else {
    bytes = 1;
  }
  return bytes;
}

}  // namespace

bool too_large(const base::json::value& object) { return least_bytes(object) > kMaxObjectBytes + (1 << 10); }

bool is_heavy(const RequestInfo& request) {
  const base::http::Request& http = request.http();
  size_t bytes = http.body.size();
  if (bytes > kHeavyBytes) return true;
  const std::string& verb = request.verb;
  if (verb == "deletecollection") return true;
  if (verb == "list") return http.query().size() > kHeavyQueryBytes;
  if (verb != "patch" && verb != "update" && verb != "delete") return false;
  if (verb == "patch" && bytes > kHeavyJsonPatchBytes &&
      http.headers.get("Content-Type").starts_with("application/json-patch"))
    return true;
  if (!request.resource || !request.resource->stored().objects || request.name.empty()) return false;
  ObjectRef object = request.resource->stored().objects->find(object_key(request.ns, request.name));
  return object && bytes + object->text->size() > kHeavyBytes;
}

void go_on(base::Loop& loop, const RequestPtr& request, std::function<void()> step) {
  if (base::on_fiber() || !is_heavy(*request)) return step();
  run_aside(loop, request->user.name, std::move(step));
}

void run_aside(base::Loop& loop, std::string flow, std::function<void()> step) {
  if (base::on_fiber()) return step();
  auto& fibers = all_fibers()[&loop];
  if (!fibers)
    fibers =
        std::make_unique<base::Fibers>(loop, std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u));
  fibers->start(std::move(flow), std::move(step));
}

void finish_heavy_requests(base::Loop& loop) { all_fibers().erase(&loop); }

}  // namespace master
