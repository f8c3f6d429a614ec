// What a mutation of a MutatingAdmissionPolicy makes of an object, and which of a policy's invocations run
// once more. Pure. Source: kubernetes.io, "Mutating Admission Policy"; sentences as kube-apiserver's.
#pragma once

#include <set>
#include <string>

#include "api/cel/constructed.h"
#include "api/schema.h"

namespace master {

// `made` is what the expression made: an Object to be merged as an apply merges, or a list of JSONPatch,
// which changes nothing where one of its tests fails. The result has neither defaults nor been held against
// `type`.
base::Result<base::json::value> apply_mutation(const api::Type& type, const base::json::value& object,
                                               bool json_patch, const api::cel::Value& made);

// Which invocations (a policy, its binding, a parameter) of those that want it run in the second turn.
class Reinvocation {
 public:
  // One ran; `changed`: it changed the object, so those that ran before it do not know what became of it.
  void ran(const std::string& invocation, bool wants_it, bool changed);
  // Something else changed the object: all that ran are due, this turn's last included.
  void changed();
  bool is_due(const std::string& invocation) const { return due_.contains(invocation); }

 private:
  std::set<std::string> ran_, due_;
};

}  // namespace master
