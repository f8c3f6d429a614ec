#include "master/extensions/custom_resource_plan.h"

#include "base/json_lists.h"
#include "master/registry/custom_strategy.h"

namespace master {

namespace json = base::json;

namespace {

constexpr const char* kListNames[] = {"shortNames", "categories"};

std::string_view condition_status(const json::value& definition, std::string_view type) {
  const json::value* list = base::find_path(definition, "status", "conditions");
  if (!list || !list->is_array()) return {};
  for (const json::value& one : list->get_array())
    if (base::string_at(one, "type") == type) return base::string_at(one, "status");
  return {};
}

void set_condition(json::object& status, std::string_view type, bool holds, std::string_view reason,
                   std::string_view message, base::Time now) {
  json::value& list = status["conditions"];
  if (!list.is_array()) list = json::array();
  json::object fresh{{"type", type},
                     {"status", holds ? "True" : "False"},
                     {"lastTransitionTime", base::format_time(now)},
                     {"reason", reason},
                     {"message", message}};
  for (json::value& one : list.get_array()) {
    if (base::string_at(one, "type") != type) continue;
    if (base::string_at(one, "status") == (holds ? "True" : "False"))
      if (const json::value* when = base::find(one, "lastTransitionTime"))
        fresh["lastTransitionTime"] = *when;
    one = std::move(fresh);
    return;
  }
  list.get_array().push_back(std::move(fresh));
}

// The reason and sentence of the first conflict, empty when all names are free.
std::pair<std::string, std::string> accept_names(const json::value& wanted, json::object& accepted,
                                                 const TakenNames& others) {
  std::pair<std::string, std::string> conflict;
  auto in_use = [](std::string_view name) { return "\"" + std::string(name) + "\" is already in use"; };
  auto one = [&](const char* member, const std::set<std::string, std::less<>>& taken, const char* reason) {
    std::string name(base::string_at(wanted, member));
    if (name == base::as_string(accepted.if_contains(member)) || !taken.contains(name)) {
      if (name.empty()) accepted.erase(member);
      else accepted[member] = name;
    } else {
      conflict = {reason, in_use(name)};
    }
  };
  one("plural", others.resources, "PluralConflict");
  one("singular", others.resources, "SingularConflict");
  std::string taken;
  if (const json::value* list = base::find(wanted, "shortNames"); list && list->is_array())
    for (const json::value& name : list->get_array())
      if (others.resources.contains(base::as_string(&name)))
        taken += (taken.empty() ? "" : ", ") + in_use(base::as_string(&name));
  if (!taken.empty()) conflict = {"ShortNamesConflict", taken};
  for (const char* member : kListNames) {
    if (member == kListNames[0] && !taken.empty()) continue;
    const json::value* list = base::find(wanted, member);
    if (list && list->is_array() && !list->get_array().empty()) accepted[member] = *list;
    else accepted.erase(member);
  }
  one("kind", others.kinds, "KindConflict");
  one("listKind", others.kinds, "ListKindConflict");
  return conflict;
}

bool has_finalizer(const json::value& definition) {
  const json::value* list = base::find_path(definition, "metadata", "finalizers");
  if (list && list->is_array())
    for (const json::value& one : list->get_array())
      if (base::as_string(&one) == kCleanupFinalizer) return true;
  return false;
}

}  // namespace

void TakenNames::add(const json::value& names) {
  for (const char* member : {"plural", "singular"})
    if (std::string_view name = base::string_at(names, member); !name.empty()) resources.emplace(name);
  if (const json::value* list = base::find(names, "shortNames"); list && list->is_array())
    for (const json::value& name : list->get_array()) resources.emplace(base::as_string(&name));
  for (const char* member : {"kind", "listKind"})
    if (std::string_view name = base::string_at(names, member); !name.empty()) kinds.emplace(name);
}

std::string DefinitionPlan::text() const {
  std::string out = serve ? "serve" : "wait";
  if (!status.is_null()) out += ", write status";
  if (empties) out += ", delete instances";
  if (drops_finalizer) out += ", drop finalizer";
  return out;
}

bool is_established(const json::value& definition) {
  return condition_status(definition, "Established") == "True";
}

DefinitionPlan plan_definition(const json::value& definition, const TakenNames& others, bool has_instances,
                               base::Time now) {
  DefinitionPlan plan;
  const json::value* old = base::find(definition, "status");
  json::value status = old && old->is_object() ? *old : json::value(json::object());
  json::object& object = status.get_object();
  static const json::value kNone = json::object();
  const json::value* wanted = base::find_path(definition, "spec", "names");
  auto conflict = accept_names(wanted ? *wanted : kNone, base::object_at(object, "acceptedNames"), others);
  bool accepted = conflict.first.empty(), established = is_established(definition);
  if (accepted) set_condition(object, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
  else set_condition(object, "NamesAccepted", false, conflict.first, conflict.second, now);
  if (!established) {
    if (accepted)
      set_condition(object, "Established", true, "InitialNamesAccepted",
                    "the initial names have been accepted", now);
    else set_condition(object, "Established", false, "NotAccepted", "not all names are accepted", now);
  }
  plan.serve = established || accepted;
  if (base::find_path(definition, "metadata", "deletionTimestamp") && has_finalizer(definition)) {
    plan.empties = has_instances;
    plan.drops_finalizer = !has_instances;
    if (has_instances)
      set_condition(object, "Terminating", true, "InstanceDeletionInProgress",
                    "CustomResource deletion is in progress", now);
    else
      set_condition(object, "Terminating", false, "InstanceDeletionCompleted", "removed all instances", now);
  }
  if (!old || status != *old) plan.status = std::move(status);
  return plan;
}

}  // namespace master
