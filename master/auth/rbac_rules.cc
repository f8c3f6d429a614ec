#include "master/auth/rbac_rules.h"

#include <algorithm>
#include <set>

namespace master {

namespace json = base::json;

namespace {

constexpr std::string_view kVerbs[] = {
    "get",  "list", "watch", "create",  "update",      "patch", "delete",  "deletecollection",
    "post", "put",  "head",  "options", "impersonate", "bind",  "escalate"};
constexpr uint32_t kAllVerbs = ~uint32_t{0};

bool has(const std::vector<std::string>& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// "pods", "pods/log", "*/scale", "*".
bool resource_matches(std::string_view pattern, std::string_view resource, std::string_view subresource) {
  if (pattern == "*") return true;
  if (subresource.empty()) return pattern == resource;
  size_t slash = pattern.size() - std::min(pattern.size(), subresource.size() + 1);
  if (!pattern.ends_with(subresource) || slash == 0 || pattern[slash] != '/') return false;
  std::string_view owner = pattern.substr(0, slash);
  return owner == "*" || owner == resource;
}
bool url_matches(std::string_view pattern, std::string_view path) {
  if (pattern.ends_with('*')) return path.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == path;
}

// A rule of one verb, group, resource and name (or URL): does one of the held rules include it?
bool covers(const PolicyRule& held, const PolicyRule& atom) {
  if (!has_or_star(held.verbs, atom.verbs[0])) return false;
  if (!atom.non_resource_urls.empty()) {
    for (const std::string& pattern : held.non_resource_urls)
      if (url_matches(pattern, atom.non_resource_urls[0])) return true;
    return false;
  }
  if (!has_or_star(held.api_groups, atom.api_groups[0])) return false;
  std::string_view resource = atom.resources[0];
  bool named = has_or_star(held.resources, resource);
  if (size_t slash = resource.find('/'); !named && slash != resource.npos)
    named = has(held.resources, "*" + std::string(resource.substr(slash)));
  if (!named) return false;
  if (held.resource_names.empty()) return true;
  return !atom.resource_names.empty() && has(held.resource_names, atom.resource_names[0]);
}

void each_atom(const PolicyRule& rule, const auto& each) {
  for (const std::string& verb : rule.verbs) {
    for (const std::string& url : rule.non_resource_urls) each(PolicyRule{{verb}, {}, {}, {}, {url}});
    for (const std::string& group : rule.api_groups)
      for (const std::string& resource : rule.resources) {
        if (rule.resource_names.empty()) each(PolicyRule{{verb}, {group}, {resource}, {}, {}});
        for (const std::string& name : rule.resource_names)
          each(PolicyRule{{verb}, {group}, {resource}, {name}, {}});
      }
  }
}

std::vector<std::string> only_strings(const json::value* list) {
  std::vector<std::string> out;
  if (!list || !list->is_array()) return out;
  for (const json::value& item : list->get_array())
    if (item.is_string()) out.emplace_back(std::string(item.get_string()));
  return out;
}

}  // namespace

bool has_or_star(const std::vector<std::string>& list, std::string_view value) {
  for (const std::string& item : list)
    if (item == "*" || item == value) return true;
  return false;
}

uint32_t verb_bit(std::string_view verb) {
  for (size_t i = 0; i < std::size(kVerbs); ++i)
    if (kVerbs[i] == verb) return uint32_t{1} << i;
  return 0;
}

void PolicyRule::compile() {
  verb_bits = 0;
  for (const std::string& verb : verbs) verb_bits |= verb == "*" ? kAllVerbs : verb_bit(verb);
}

bool allows(const PolicyRule& rule, const Access& access) {
  uint32_t bit = verb_bit(access.verb);
  if (rule.verb_bits != kAllVerbs && (bit ? (rule.verb_bits & bit) == 0 : !has(rule.verbs, access.verb)))
    return false;
  if (!access.is_resource)
    return std::any_of(rule.non_resource_urls.begin(), rule.non_resource_urls.end(),
                       [&](const std::string& pattern) { return url_matches(pattern, access.path); });
  if (!has_or_star(rule.api_groups, access.group)) return false;
  if (std::none_of(rule.resources.begin(), rule.resources.end(), [&](const std::string& pattern) {
        return resource_matches(pattern, access.resource, access.subresource);
      }))
    return false;
  return rule.resource_names.empty() || has(rule.resource_names, access.name);
}

std::vector<PolicyRule> read_rules(const json::value* list) {
  std::vector<PolicyRule> out;
  if (!list || !list->is_array()) return out;
  for (const json::value& item : list->get_array()) {
    PolicyRule rule{only_strings(base::find(item, "verbs")), only_strings(base::find(item, "apiGroups")),
                    only_strings(base::find(item, "resources")),
                    only_strings(base::find(item, "resourceNames")),
                    only_strings(base::find(item, "nonResourceURLs"))};
    rule.compile();
    out.push_back(std::move(rule));
  }
  return out;
}

json::array to_json(const std::vector<PolicyRule>& rules) {
  json::array out;
  for (const PolicyRule& rule : rules) {
    json::object item{{"verbs", json::value_from(rule.verbs)}};
    auto add = [&](const char* key, const std::vector<std::string>& values) {
      if (!values.empty()) item[key] = json::value_from(values);
    };
    add("apiGroups", rule.api_groups);
    add("resources", rule.resources);
    add("resourceNames", rule.resource_names);
    add("nonResourceURLs", rule.non_resource_urls);
    out.push_back(std::move(item));
  }
  return out;
}

std::vector<PolicyRule> not_covered(const std::vector<PolicyRule>& held,
                                    const std::vector<PolicyRule>& wanted) {
  std::vector<PolicyRule> out;
  for (const PolicyRule& rule : wanted)
    each_atom(rule, [&](PolicyRule atom) {
      if (std::none_of(held.begin(), held.end(), [&](const PolicyRule& h) { return covers(h, atom); }))
        out.push_back(std::move(atom));
    });
  return out;
}

std::string quoted_list(const std::vector<std::string>& values) {
  std::string out = "[";
  for (const std::string& value : values)
    out += (out.size() > 1 ? " " : "") + base::to_json(json::value(value));
  return out + "]";
}

std::string describe(const std::vector<PolicyRule>& rules) {
  std::vector<PolicyRule> merged;
  for (const PolicyRule& rule : rules) {
    auto same = std::find_if(merged.begin(), merged.end(), [&](const PolicyRule& m) {
      return m.api_groups == rule.api_groups && m.resources == rule.resources &&
             m.resource_names == rule.resource_names && m.non_resource_urls == rule.non_resource_urls;
    });
    if (same == merged.end()) {
      merged.push_back(rule);
      continue;
    }
    for (const std::string& verb : rule.verbs)
      if (!has(same->verbs, verb)) same->verbs.push_back(verb);
  }
  std::set<std::string> lines;
  for (const PolicyRule& rule : merged) {
    std::string line;
    auto add = [&](const char* name, const std::vector<std::string>& values) {
      if (!values.empty())
        line += (line.empty() ? "{" : ", ") + std::string(name) + ":" + quoted_list(values);
    };
    add("APIGroups", rule.api_groups);
    add("Resources", rule.resources);
    add("NonResourceURLs", rule.non_resource_urls);
    add("ResourceNames", rule.resource_names);
    add("Verbs", rule.verbs);
    lines.insert(line + "}");
  }
  std::string out;
  for (const std::string& line : lines) out += (out.empty() ? "" : "\n") + line;
  return out;
}

}  // namespace master
