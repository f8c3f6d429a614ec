// Which webhooks a write concerns, what they are asked, and what their answer means. Pure.
// Source: kubernetes.io, "Dynamic Admission Control"; refusals as kube-apiserver's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/selector.h"
#include "api/validate/admission_expressions.h"
#include "master/registry/admission.h"

namespace master {

// One entry of a MutatingWebhookConfiguration or ValidatingWebhookConfiguration.
struct Webhook {
  std::string configuration, name;
  struct Rule {
    std::vector<std::string> groups, versions, resources, operations;
    std::string scope;               // "Cluster", "Namespaced", "*"
    std::vector<std::string> names;  // of a policy's rule; empty: any
  };
  std::vector<Rule> rules;
  api::Selector namespaces, objects;
  bool ignores_failure = false, exact = false, reinvoked = false, has_side_effects = false;
  int timeout_seconds = 10;
  // Of the AdmissionReviews that it is sent: the first of its list that is known here, "v1" or "v1beta1"; "":
  // none is.
  std::string review_version = "v1";
  base::json::value client_config;
  std::vector<api::MatchCondition> conditions;
};
// The webhooks of one configuration, in its order.
std::vector<Webhook> read_webhooks(const base::json::value& configuration);

// What rules and selectors say of the writes that a policy or its binding concerns: `rules` names the
// member with the rules.
Webhook read_match_resources(const base::json::value* match, const char* rules);

// What a write is to a rule: one version of the resource that it writes.
struct WriteSubject {
  std::string_view group, version, resource, subresource, name;
  bool namespaced = true;
  Operation operation = Operation::kCreate;
};
bool rule_matches(const Webhook::Rule& rule, const WriteSubject& subject);
// Labels are those of the namespace that is written to (null for cluster-scoped resources), and of
// the object before and after.
bool selectors_match(const Webhook& hook, const base::json::value* namespace_labels, bool namespaced,
                     const base::json::value& object, const base::json::value& old);

// The first of a webhook's reviewVersions that this server speaks; "" for none.
std::string known_review_version(const base::json::value* versions);
// The AdmissionReview to send. `shown` is the version in which the webhook sees the objects.
base::json::value admission_review(const AdmissionAttributes& attributes, const ResourceInfo& shown,
                                   std::string_view review_version, std::string_view uid,
                                   base::json::value object, base::json::value old);
struct ReviewAnswer {
  bool allowed = false;
  base::json::value refusal;               // the Status to answer with, when it is not allowed
  std::optional<base::json::value> patch;  // a JSON patch
  std::vector<std::string> warnings;
  std::map<std::string, std::string> audit_annotations;
};
// An Error is an answer that is none: it counts as a failure of the webhook. A v1beta1 answer need neither
// repeat the uid nor name the type of its patch.
base::Result<ReviewAnswer> read_review(std::string_view webhook, std::string_view review_version,
                                       std::string_view uid, std::string_view body);

enum class WebhookStep : uint8_t { kPrepare, kCall, kRead };  // what failed
base::json::value webhook_failure(std::string_view webhook, WebhookStep step, const base::Error& error);
base::json::value dry_run_unsupported(std::string_view webhook);

}  // namespace master
