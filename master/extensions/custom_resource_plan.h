// What follows from a CustomResourceDefinition: which names it gets, what its status says, whether
// its resources are served, and what its deletion waits for. Pure.
// Source: kube-apiserver's naming, establishing and finalizing controllers.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"

namespace master {

// Names that others of the same group have: definitions that were accepted, and built-in resources.
struct TakenNames {
  std::set<std::string, std::less<>> resources, kinds;  // plurals, singulars, short names; kinds, list kinds
  void add(const base::json::value& names);             // a CustomResourceDefinitionNames
};

struct DefinitionPlan {
  base::json::value status;      // to be written; null: it is right as it is
  bool serve = false;            // its resources are reachable
  bool empties = false;          // it goes: its instances are to be deleted
  bool drops_finalizer = false;  // it goes, and no instance is left
  std::string text() const;      // one line, for tests and logs
};
// `has_instances`: of an established definition.
DefinitionPlan plan_definition(const base::json::value& definition, const TakenNames& others,
                               bool has_instances, base::Time now);

bool is_established(const base::json::value& definition);

}  // namespace master
