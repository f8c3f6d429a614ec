// YAML manifests and kubeconfig files as JSON, over libyaml. Scalars resolve as those of sigs.k8s.io/yaml,
// which kubectl and kube-apiserver read with: y/n/yes/no/on/off are booleans (as keys, too: "true"), 0644 is
// octal, 1e3 is 1000, everything quoted is text. Time and memory grow with the text; anchors and aliases
// copy 16 MiB at most; nothing is nested deeper than JSON may be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace api {

// One value per document, empty documents left out. JSON is YAML. Errors name the line. A key given twice
// in one mapping is an Error; with `duplicates` the last wins and paths ("spec.replicas", the first
// hundred) are appended to it.
base::Result<std::vector<base::json::value>> parse_yaml(std::string_view text,
                                                        std::vector<std::string>* duplicates = nullptr);

}  // namespace api
