// What CEL expressions of admission look at, for one write in one version. Loop thread only.
#pragma once

#include "api/cel/authorizer.h"
#include "api/validate/admission_expressions.h"
#include "master/registry/admission.h"
#include "master/registry/resource.h"

namespace master {

class Authorizer;

class ExpressionInput final : public api::cel::Authorizer {
 public:
  // `object` and `old` as `shown` has them.
  ExpressionInput(const master::Authorizer& authorizer, AttributesPtr attributes, const ResourceInfo& shown,
                  base::json::value object, base::json::value old, base::json::value namespace_object);
  // In the order of api::admission_variables(). They look into this and into `params`.
  std::vector<api::cel::Value> values(const base::json::value* params) const;
  bool allows(const api::cel::Question& question, std::string* reason) const override;

 private:
  const master::Authorizer& authorizer_;
  AttributesPtr attributes_;
  base::json::value object_, old_, namespace_object_, request_;
};

// False of one condition is no match, whatever the others say; then an error; else all are true.
enum class Match : uint8_t { kYes, kNo, kError };
Match matches(const std::vector<api::MatchCondition>& conditions, const std::vector<api::cel::Value>& values,
              std::string* error);

}  // namespace master
