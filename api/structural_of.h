// The schema of a built-in type as the nodes that expressions are typed by. Values only.
#pragma once

#include "api/structural.h"

namespace api {

// All fields; what may be anything, a quantity, and a type inside itself are of any type.
Structural structural_of(const Type& type);

}  // namespace api
