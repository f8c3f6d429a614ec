// The OpenAPI v2 document in the protocol buffer form that kubectl before 1.27 insists on
// (application/com.github.proto-openapi.spec.v2@v1.0+protobuf; message numbers from gnostic's
// OpenAPIv2.proto). Pure.
#pragma once

#include <string>

#include "base/json.h"

namespace api {

// `document` is what openapi_v2() makes. Parts that no client of this form reads (responses,
// security) are left out.
std::string openapi_v2_protobuf(const base::json::value& document);

}  // namespace api
