#include "master/controllers/revisions.h"

#include <algorithm>
#include <tuple>

#include "base/json_lists.h"
#include "master/controllers/template_hash.h"
#include "master/controllers/workloads.h"

namespace master::controllers {
using base::as_int;
using base::find;
using base::find_path;

const api::Resource kControllerRevisions = {"apps", "v1", "controllerrevisions", "ControllerRevision", true};

namespace {
// How strategic merge patch says that the template is replaced as a whole; first in the sorted text.
constexpr const char* kPatch = "$patch";

json::value sorted_copy(const json::value& value) {
  if (value.is_array()) {
    json::array out;
    for (const json::value& item : value.get_array()) out.push_back(sorted_copy(item));
    return out;
  }
  if (!value.is_object()) return value;
  std::map<std::string_view, const json::value*> sorted;
  for (const auto& item : value.get_object()) sorted.emplace(item.key(), &item.value());
  json::object out;
  for (const auto& [key, item] : sorted) out[key] = sorted_copy(*item);
  return out;
}
json::object object_copy(const json::value& value) {
  return value.is_object() ? value.get_object() : json::object();
}
}  // namespace

Store<Revision>::Reader Revision::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const Revision> {
    auto revision = std::make_shared<Revision>();
    revision->meta = read_meta(object);
    revision->controller = controller_owner(object);
    revision->labels = read_labels(find_path(object, "metadata", "labels"));
    revision->number = as_int(find(object, "revision"));
    if (const json::value* in = find_path(object, "data", "spec", "template"); in && in->is_object()) {
      json::object pod_template = in->get_object();
      pod_template.erase(kPatch);
      revision->pod_template = std::move(pod_template);
      revision->content = canonical_text(revision->pod_template);
    }
    return revision;
  };
}
std::vector<std::string> Revision::terms(const Revision& revision) {
  return {revision.controller.uid.empty() ? orphans_of(revision.meta.ns) : owned_by(revision.controller.uid)};
}

RevisionPlan plan_revisions(const RevisionOwner& owner, const Revisions& revisions) {
  RevisionPlan plan;
  const std::string content = canonical_text(object_copy(owner.pod_template));
  const std::string hash =
      safe_hash(content + (owner.collisions > 0 ? std::to_string(owner.collisions) : std::string()));
  json::object labels = base::map_at(find_path(owner.pod_template, "metadata", "labels"));
  labels[owner.hash_label] = hash;
  // A selector over the hash itself matches none that could be made: then what is ours is kept, or each round
  // would let one go and make another.
  const json::value made_with(labels);
  const bool can_match = owner.selector.matches(read_labels(&made_with));
  std::vector<const Revision*> mine;
  for (const auto& revision : revisions) {
    const bool match = owner.selector.matches(revision->labels);
    if (revision->controller.uid == owner.meta.uid) {
      if (match || !can_match) mine.push_back(revision.get());
      else plan.release.push_back(revision->meta.name);
    } else if (revision->controller.uid.empty() && match && !revision->meta.deleting) {
      plan.adopt.push_back(revision->meta.name);
    }
  }
  std::sort(plan.adopt.begin(), plan.adopt.end());
  std::sort(plan.release.begin(), plan.release.end());
  if (!plan.settled()) return plan;
  std::sort(mine.begin(), mine.end(), [](const Revision* a, const Revision* b) {
    return std::tie(a->number, a->meta.created, a->meta.name) <
           std::tie(b->number, b->meta.created, b->meta.name);
  });
  int64_t before = 0;
  for (const Revision* revision : mine) {
    if (revision->content == content && !revision->meta.deleting) {
      plan.newest = revision;
      plan.same.insert(revision->meta.name);
    } else {
      plan.old.push_back(revision);
      before = std::max(before, revision->number);
    }
  }
  const int64_t next = before == INT64_MAX ? before : before + 1;
  if (plan.newest) {
    if (plan.newest->number >= next) return plan;
    plan.renumber = plan.newest->meta.name;
    plan.number = next;
    return plan;
  }
  json::object patch{{kPatch, "replace"}};
  for (const auto& item : object_copy(sorted_copy(owner.pod_template))) patch[item.key()] = item.value();
  json::object annotations;
  for (const auto& [key, value] : owner.annotations) annotations[key] = value;
  constexpr size_t kMaxPrefix = 223;  // a name has 253 characters at most
  json::object meta{{"name", owner.meta.name.substr(0, kMaxPrefix) + "-" + hash},
                    {"namespace", owner.meta.ns},
                    {"labels", std::move(labels)},
                    {"annotations", std::move(annotations)},
                    {"ownerReferences", json::array{controller_reference("apps/v1", owner.kind,
                                                                         owner.meta.name, owner.meta.uid)}}};
  plan.create = json::object{{"apiVersion", "apps/v1"},
                             {"kind", "ControllerRevision"},
                             {"metadata", std::move(meta)},
                             {"data", {{"spec", {{"template", std::move(patch)}}}}},
                             {"revision", next}};
  return plan;
}

std::string RevisionPlan::text() const {
  std::string out;
  for (const std::string& name : adopt) out += fmt::format("adopt revision {}\n", name);
  for (const std::string& name : release) out += fmt::format("release revision {}\n", name);
  if (create) out += fmt::format("create revision {}\n", as_int(create->if_contains("revision")));
  if (!renumber.empty()) out += fmt::format("revision {} is number {}\n", renumber, number);
  return out;
}

}  // namespace master::controllers
