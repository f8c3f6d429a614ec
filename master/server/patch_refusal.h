// The Status for a patch that can't be applied, or leaves what is no object of its kind: kube-apiserver's.
#pragma once

#include <string>

#include "api/status.h"

namespace master {

inline base::json::value patch_refusal(const base::Error& error) {
  if (error.kind == base::Kind::kConflict)  // with what is there
    return api::make_status(
        422, "Invalid", "the server rejected our request due to an error in our request: " + error.message());
  if (error.kind == base::Kind::kExhausted)
    return api::make_status(413, "RequestEntityTooLarge", "Request entity too large: " + error.reason);
  return api::bad_request(error.message());
}
inline base::json::value undecodable_patch(const base::json::value& result, std::string why) {
  return api::invalid("", "", "",
                      {{api::FieldError::Type::invalid, "patch",
                        base::to_json(base::json::value(base::to_json(result))), std::move(why)}});
}

}  // namespace master
