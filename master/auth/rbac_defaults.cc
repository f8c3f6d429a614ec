#include "master/auth/rbac_defaults.h"

#include <algorithm>

#include "base/json_lists.h"
#include "master/auth/rbac_default_roles.h"

namespace master {

namespace json = base::json;
using base::find;
using base::string_at;

namespace {

constexpr std::string_view kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
std::vector<std::string> split_row(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (!text.empty()) {
    size_t end = text.find(separator);
    if (end != 0) out.emplace_back(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
  }
  return out;
}

std::vector<std::string> verbs_of_word(const std::string& word) {
  if (word == "read") return {"get", "list", "watch"};
  if (word == "write") return {"create", "delete", "deletecollection", "patch", "update"};
  if (word == "all")
    return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
  return split_row(word, ',');
}

PolicyRule rule_of(const std::vector<std::string>& words) {
  if (words[0] == "events") return {{"create", "patch", "update"}, {"", "events.k8s.io"}, {"events"}, {}, {}};
  PolicyRule rule{verbs_of_word(words[0]), {}, {}, {}, {}};
  if (words[1] == "url") {
    rule.non_resource_urls = split_row(words[2], ',');
    return rule;
  }
  for (const std::string& group : split_row(words[1], ','))
    rule.api_groups.push_back(group == "core" ? "" : group);
  rule.resources = split_row(words[2], ',');
  if (words.size() > 3) rule.resource_names = split_row(words[3], ',');
  return rule;
}

struct Default {
  bool is_binding = false;
  std::string ns, name, role;
  std::vector<PolicyRule> rules;
  std::vector<std::string> labels, subjects;
  std::string aggregate;
};

void set_name(Default& item, const std::string& text) {
  size_t slash = text.find('/');
  item.ns = slash == text.npos ? "" : text.substr(0, slash);
  item.name = slash == text.npos ? text : text.substr(slash + 1);
}

std::vector<Default> read_table() {
  std::vector<Default> out;
  for (const std::string& line : split_row(std::string(kControllerRoles).append(kDefaultRoles), '\n')) {
    std::vector<std::string> words = split_row(line, ' ');
    if (words[0] == "role" || words[0] == "bind") {
      out.emplace_back();
      out.back().is_binding = words[0] == "bind";
      set_name(out.back(), words[1]);
      if (out.back().is_binding) {
        out.back().role = words[2];
        out.back().subjects.assign(words.begin() + 3, words.end());
      }
    } else if (words[0] == "label") {
      out.back().labels.push_back(words[1]);
    } else if (words[0] == "aggregate") {
      out.back().aggregate = words[1];
    } else {
      out.back().rules.push_back(rule_of(words));
    }
  }
  // Each controller's role is bound to the account of its name.
  constexpr std::string_view kPrefix = "system:controller:";
  std::vector<Default> bindings;
  for (const Default& item : out) {
    if (item.is_binding || !item.ns.empty() || !item.name.starts_with(kPrefix)) continue;
    Default binding;
    binding.is_binding = true;
    binding.name = binding.role = item.name;
    binding.subjects = {"ServiceAccount=kube-system/" + item.name.substr(kPrefix.size())};
    bindings.push_back(std::move(binding));
  }
  out.insert(out.end(), bindings.begin(), bindings.end());
  return out;
}

json::array subjects_json(const std::vector<std::string>& subjects) {
  json::array out;
  for (const std::string& text : subjects) {
    size_t equals = text.find('=');
    std::string kind = text.substr(0, equals), name = text.substr(equals + 1);
    if (kind != "ServiceAccount") {
      out.push_back(json::object{{"apiGroup", kRbacGroup}, {"kind", kind}, {"name", name}});
      continue;
    }
    size_t slash = name.find('/');
    out.push_back(
        json::object{{"kind", kind}, {"name", name.substr(slash + 1)}, {"namespace", name.substr(0, slash)}});
  }
  return out;
}

json::value object_of(const Default& item) {
  json::object labels{{"kubernetes.io/bootstrapping", "rbac-defaults"}};
  for (const std::string& label : item.labels) labels[label] = "true";
  json::object metadata{{"name", item.name}};
  if (!item.ns.empty()) metadata["namespace"] = item.ns;
  metadata["labels"] = std::move(labels);
  metadata["annotations"] = json::object{{kAutoUpdate, "true"}};
  std::string role_kind = item.ns.empty() ? "ClusterRole" : "Role";
  json::object out{{"apiVersion", std::string(kRbacGroup) + "/v1"},
                   {"kind", role_kind + (item.is_binding ? "Binding" : "")},
                   {"metadata", std::move(metadata)}};
  if (item.is_binding) {
    out["roleRef"] = json::object{{"apiGroup", kRbacGroup}, {"kind", role_kind}, {"name", item.role}};
    if (!item.subjects.empty()) out["subjects"] = subjects_json(item.subjects);
    return out;
  }
  if (!item.aggregate.empty()) {
    json::object selector{{"matchLabels", json::object{{item.aggregate, "true"}}}};
    out["aggregationRule"] = json::object{{"clusterRoleSelectors", json::array{std::move(selector)}}};
    return out;
  }
  out["rules"] = to_json(item.rules);
  return out;
}

// Adds the members of `wanted` that `stored` lacks; true when there were some.
bool add_members(const json::value* wanted, json::object& parent, std::string_view key) {
  if (!wanted || !wanted->is_object()) return false;
  json::object& have = base::object_at(parent, key);
  bool changed = false;
  for (const auto& [name, value] : wanted->get_object())
    if (!have.contains(name)) {
      have[name] = value;
      changed = true;
    }
  return changed;
}

}  // namespace

std::vector<json::value> default_rbac_objects() {
  std::vector<Default> table = read_table();
  std::stable_partition(table.begin(), table.end(), [](const Default& item) { return !item.is_binding; });
  std::vector<json::value> out;
  out.reserve(table.size());
  for (const Default& item : table) out.push_back(object_of(item));
  return out;
}

std::vector<PolicyRule> default_cluster_role_rules(std::string_view name) {
  for (Default& item : read_table())
    if (!item.is_binding && item.ns.empty() && item.name == name) {
      for (PolicyRule& rule : item.rules) rule.compile();
      return item.rules;
    }
  return {};
}

bool reconcile_default(const json::value& wanted, json::value& stored) {
  if (string_at(stored, "metadata", "annotations", kAutoUpdate) == "false") return false;
  json::object& object = stored.get_object();
  json::object& metadata = base::object_at(object, "metadata");
  bool changed = add_members(base::find_path(wanted, "metadata", "labels"), metadata, "labels");
  changed |= add_members(base::find_path(wanted, "metadata", "annotations"), metadata, "annotations");
  if (const json::value* rules = find(wanted, "rules")) {
    std::vector<PolicyRule> missing = not_covered(read_rules(object.if_contains("rules")), read_rules(rules));
    for (const json::value& rule : to_json(missing)) base::list_in(object, "rules").push_back(rule);
    changed |= !missing.empty();
  }
  if (const json::value* rule = find(wanted, "aggregationRule");
      rule && !object.contains("aggregationRule")) {
    object["aggregationRule"] = *rule;
    changed = true;
  }
  if (const json::value* subjects = find(wanted, "subjects"); subjects && subjects->is_array())
    for (const json::value& subject : subjects->get_array()) {
      json::array& have = base::list_in(object, "subjects");
      bool there = std::any_of(have.begin(), have.end(), [&](const json::value& h) {
        return string_at(h, "kind") == string_at(subject, "kind") &&
               string_at(h, "name") == string_at(subject, "name") &&
               string_at(h, "namespace") == string_at(subject, "namespace");
      });
      if (there) continue;
      have.push_back(subject);
      changed = true;
    }
  return changed;
}

}  // namespace master
