// What webhooks of admission and of conversion are checked for alike. Private to api/validate*.cc.
#pragma once

#include <string>

#include "api/validate/rules.h"

namespace api::rules {

// Versions of the reviews that a webhook reads: at least one that the server speaks, each once and a name.
// `shown_as` is the path of errors.
void review_versions(Errors& e, const View& versions, const std::string& shown_as);

}  // namespace api::rules
