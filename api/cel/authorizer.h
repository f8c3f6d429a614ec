// `authorizer`, by which expressions of admission ask what somebody may do. Who answers is the caller's.
// Source of the functions: k8s.io/apiserver/pkg/cel/library/authz.go.
#pragma once

#include <memory>
#include <string>

#include "api/cel/value.h"

namespace api::cel {

struct Question {
  std::string service_account;  // "namespace/name"; empty: who sent the request
  bool is_resource = true;
  std::string path, group, resource, subresource, ns, name, verb;
};
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  virtual bool allows(const Question& question, std::string* reason) const = 0;
};
TypeRef authorizer_type();
TypeRef resource_check_type();
// `by` must outlive the evaluation.
Value authorizer_value(const Authorizer& by);
Value resource_check(const Authorizer& by, Question question);  // authorizer.requestResource

}  // namespace api::cel
