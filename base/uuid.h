// Identifiers nobody else has made.
#pragma once

#include <string>

namespace base {

std::string new_uuid();  // RFC 9562, version 4: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6"

}  // namespace base
