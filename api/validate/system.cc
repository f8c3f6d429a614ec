// Rules of flow control, of policy bindings and of devices.
#include <algorithm>
#include <set>

#include "api/validate/rules.h"

namespace api::rules {
namespace {

void asterisk_alone(Errors& e, const View& list) {
  bool all = false;
  list.each([&](const View& one) { all |= one.text() == "*"; });
  if (all && list.size() > 1)
    e.invalid(list.path(), list.shown(),
              "if '*' is present, must not specify other " + list.path().substr(list.path().rfind('.') + 1));
}
// ---- flow control ------------------------------------------------------------------------------
void flow_subject(Errors& e, const View& subject) {
  static const std::pair<const char*, const char*> kKinds[] = {
      {"User", "user"}, {"Group", "group"}, {"ServiceAccount", "serviceAccount"}};
  View kind = subject["kind"];
  one_of(e, kind, {"Group", "ServiceAccount", "User"});
  for (const auto& [name, member] : kKinds) {
    View part = subject[member];
    bool wanted = kind.text() == name;
    std::string word = member;
    if (wanted && !part.has())
      e.required(part.path(), word + " is required when subject kind is '" + name + "'");
    if (!wanted && part.has())
      e.forbidden(part.path(), word + " is forbidden when subject kind is not '" + name + "'");
    if (wanted && part.has() && !part["name"].filled()) e.required(part["name"].path());
  }
}

}  // namespace

void policy_binding(Errors& e, const json::value& after, const json::value*) {
  View spec = View(&after)["spec"], actions = spec["validationActions"], name = spec["policyName"];
  if (!name.filled()) e.required(name.path());
  else e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
  std::set<std::string> seen;
  actions.each([&](const View& one) {
    one_of(e, one, {"Audit", "Deny", "Warn"});
    if (!seen.insert(std::string(one.text())).second) e.duplicate(one.path(), one.text());
  });
  if (seen.contains("Deny") && seen.contains("Warn"))
    e.invalid(actions.path(), actions.shown(),
              "must not contain both Deny and Warn (repeating the same validation failure information in the "
              "API response and headers serves no purpose)");
}
void validating_policy_binding(Errors& e, const json::value& after, const json::value* before) {
  policy_binding(e, after, before);
  View actions = View(&after)["spec"]["validationActions"];
  if (!actions.filled()) e.required(actions.path(), "at least one validation action is required");
}

void flow_schema(Errors& e, const json::value& after, const json::value*) {
  View object(&after), spec = object["spec"], precedence = spec["matchingPrecedence"];
  std::string_view name = object["metadata"]["name"].text();
  if (precedence.number() < 1) e.invalid(precedence.path(), precedence.number(), "must be a positive value");
  if (precedence.number() > 10000)
    e.invalid(precedence.path(), precedence.number(), "must not be greater than 10000");
  if (precedence.number() == 1 && name != "exempt")
    e.invalid(precedence.path(), precedence.number(),
              "only the schema named 'exempt' may have matchingPrecedence 1");
  if (View method = spec["distinguisherMethod"]; method.has()) {
    if (!method["type"].filled()) e.required(method["type"].path());
    one_of(e, method["type"], {"ByNamespace", "ByUser"});
  }
  if (View level = spec["priorityLevelConfiguration"]["name"]; level.filled())
    e.all(level.path(), level.text(), check_dns1123_subdomain(level.text()));
  spec["rules"].each([&](const View& rule) {
    if (!rule["subjects"].filled())
      e.required(rule["subjects"].path(), "subjects must contain at least one value");
    if (!rule["resourceRules"].filled() && !rule["nonResourceRules"].filled())
      e.required(rule.path(), "at least one of resourceRules and nonResourceRules has to be non-empty");
    rule["subjects"].each([&](const View& subject) { flow_subject(e, subject); });
    rule["resourceRules"].each([&](const View& each) {
      for (const char* part : {"verbs", "apiGroups", "resources"}) asterisk_alone(e, each[part]);
      if (!each["namespaces"].filled() && !each["clusterScope"].flag())
        e.required(each["namespaces"].path(),
                   "resource rules that are not cluster scoped must supply at least one namespace");
    });
    rule["nonResourceRules"].each([&](const View& each) {
      asterisk_alone(e, each["verbs"]);
      each["nonResourceURLs"].each([&](const View& url) {
        if (url.text() != "*" && !url.text().starts_with("/"))
          e.invalid(url.path(), url.text(), "must start with slash");
      });
    });
  });
}

void priority_level(Errors& e, const json::value& after, const json::value*) {
  View object(&after), spec = object["spec"], type = spec["type"], limited = spec["limited"],
                       exempt = spec["exempt"];
  one_of(e, type, {"Exempt", "Limited"});
  bool is_exempt = type.text() == "Exempt";
  std::string_view name = object["metadata"]["name"].text();
  if ((name == "exempt") != is_exempt)
    e.invalid(type.path(), type.text(), "type must be 'Exempt' if and only if `name` is 'exempt'");
  if (is_exempt && limited.has()) e.forbidden(limited.path(), "must be nil if the type is not Limited");
  if (!is_exempt && exempt.has()) e.forbidden(exempt.path(), "must be nil if the type is Limited");
  if (is_exempt) return;
  if (!limited.has()) return e.required(limited.path(), "must not be empty when type is Limited");
  View lend = limited["lendablePercent"], borrow = limited["borrowingLimitPercent"],
       response = limited["limitResponse"], queuing = response["queuing"];
  non_negative(e, limited["nominalConcurrencyShares"]);
  if (lend.number() < 0 || lend.number() > 100)
    e.invalid(lend.path(), lend.number(), "must be between 0 and 100, inclusive");
  if (borrow.has() && borrow.number() < 0)
    e.invalid(borrow.path(), borrow.number(), "if specified, must be a non-negative integer");
  one_of(e, response["type"], {"Queue", "Reject"});
  if (response["type"].text() == "Reject" && queuing.has())
    e.forbidden(queuing.path(), "must be nil if limited.limitResponse.type is not Limited");
  if (response["type"].text() != "Queue") return;
  if (!queuing.has())
    return e.required(queuing.path(), "must not be empty if limited.limitResponse.type is Limited");
  for (const char* part : {"queueLengthLimit", "queues", "handSize"})
    if (queuing[part].number() <= 0)
      e.invalid(queuing[part].path(), queuing[part].number(), "must be positive");
  if (queuing["queues"].number() > 10000000)
    e.invalid(queuing["queues"].path(), queuing["queues"].number(), "must not be greater than 10000000");
  if (queuing["handSize"].number() > queuing["queues"].number())
    e.invalid(queuing["handSize"].path(), queuing["handSize"].number(),
              "should not be greater than queues (" + std::to_string(queuing["queues"].number()) + ")");
}

}  // namespace api::rules
