// Whether a webhook or a policy concerns a write, and in which version it then sees the objects.
#pragma once

#include "master/admission/webhook_plan.h"

namespace master {

class Registry;

// Of one write; looks at it as long as it is asked. Loop thread only.
class WriteScope {
 public:
  WriteScope(Registry& registry, const AdmissionAttributes& attributes);
  // Null: it does not concern `hook`. By its rules, unless there are none and `any_rule`, and selectors.
  ResourcePtr shown(const Webhook& hook, bool any_rule = false) const;
  // Of the namespace that is written to, or that is itself written; null of what is in none.
  const base::json::value& namespace_object() const { return namespace_object_; }

 private:
  Registry& registry_;
  const AdmissionAttributes& attributes_;
  base::json::value namespace_object_;
  bool namespaced_;
};

}  // namespace master
