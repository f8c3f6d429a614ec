#include "master/admission/input.h"

#include "master/admission/webhook_plan.h"
#include "master/auth/authorizer.h"

namespace master {

namespace json = base::json;
namespace cel = api::cel;

namespace {
constexpr uint64_t kConditionsBudget = 2'500'000;  // as upstream: a quarter of a policy's
}

ExpressionInput::ExpressionInput(const master::Authorizer& authorizer, AttributesPtr attributes,
                                 const ResourceInfo& shown, json::value object, json::value old,
                                 json::value namespace_object)
    : authorizer_(authorizer), attributes_(std::move(attributes)), object_(std::move(object)),
      old_(std::move(old)), namespace_object_(std::move(namespace_object)) {
  json::value review = admission_review(*attributes_, shown, "v1", "", nullptr, nullptr);
  request_ = std::move(review.at("request"));
}

std::vector<cel::Value> ExpressionInput::values(const json::value* params) const {
  const ResourceInfo& resource = *attributes_->request->resource;
  cel::Question question;
  question.group = resource.group;
  question.resource = resource.plural;
  question.subresource = attributes_->subresource;
  question.ns = attributes_->ns;
  question.name = attributes_->name;
  return {cel::Value::of_json(object_),
          cel::Value::of_json(old_),
          cel::Value::of_json(request_, &api::admission_request_schema()),
          params ? cel::Value::of_json(*params) : cel::Value(),
          cel::Value::of_json(namespace_object_),
          cel::authorizer_value(*this),
          cel::resource_check(*this, std::move(question))};
}

bool ExpressionInput::allows(const cel::Question& question, std::string* reason) const {
  User user = attributes_->request->user;
  if (size_t slash = question.service_account.find('/'); slash != std::string::npos) {
    std::string ns = question.service_account.substr(0, slash);
    user = {"system:serviceaccount:" + ns + ":" + question.service_account.substr(slash + 1),
            {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}};
  }
  Access access;
  access.is_resource = question.is_resource;
  access.verb = question.verb;
  access.ns = question.ns;
  access.group = question.group;
  access.resource = question.resource;
  access.subresource = question.subresource;
  access.name = question.name;
  access.path = question.path;
  return authorizer_.allows(user, access, reason);
}

Match matches(const std::vector<api::MatchCondition>& conditions, const std::vector<cel::Value>& values,
              std::string* error) {
  uint64_t left = kConditionsBudget;
  for (const api::MatchCondition& condition : conditions) {
    auto fail = [&](const std::string& why) {
      if (error->empty()) *error = "matchCondition \"" + condition.name + "\": " + why;
    };
    if (!condition.program) {
      fail("the expression does not compile");
      continue;
    }
    uint64_t cost = 0;
    auto verdict = condition.program->evaluate(values, std::min(left, cel::kExpressionBudget), &cost);
    left -= std::min(left, cost);
    if (!verdict.ok()) fail(verdict.error().reason);
    else if (verdict->kind != cel::Kind::boolean) fail("must evaluate to bool");
    else if (!verdict->boolean) return Match::kNo;
  }
  return error->empty() ? Match::kYes : Match::kError;
}

}  // namespace master
