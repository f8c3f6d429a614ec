// YAML manifests and kubeconfig files as JSON, over libfyaml. Scalars resolve as kubectl's do:
// y/n/yes/no/on/off are booleans, 0644 is octal, everything quoted is text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace api {

// One value per document, empty documents left out. JSON is YAML. Errors name line and column.
base::Result<std::vector<base::json::value>> parse_yaml(std::string_view text);

}  // namespace api
