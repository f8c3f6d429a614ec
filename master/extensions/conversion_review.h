// What a conversion webhook is asked, and what its answer means. Pure.
// Source: kubernetes.io, "Versions in CustomResourceDefinitions"; refusals as kube-apiserver's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace master {

// A ConversionReview (of "v1" or "v1beta1") of `objects`, all to one apiVersion.
base::json::value conversion_review(std::string_view review_version, std::string_view uid,
                                    std::string_view api_version,
                                    const std::vector<base::json::value>& objects);

// The converted objects in their order: each with its original's metadata, but for labels and
// annotations. The error's reason is the whole sentence a client gets.
// A v1beta1 answer need not repeat the uid.
base::Result<std::vector<base::json::value>> read_conversion(std::string_view review_version,
                                                             std::string_view uid,
                                                             std::string_view api_version,
                                                             const std::vector<base::json::value>& objects,
                                                             std::string_view body);
// The same for a call that failed.
base::Error conversion_failed(const base::json::value& object, std::string_view why);

}  // namespace master
