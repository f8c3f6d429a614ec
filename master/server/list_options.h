// What a list, watch or deletecollection selects, and of which revision: the query parameters,
// checked once per request. Pure.
// Source: kubernetes.io, "Kubernetes API Concepts: Resource versions, Retrieving large results sets in
// chunks, Streaming lists"; the refusals are those of kube-apiserver's ListOptions validation.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/selector.h"
#include "master/registry/object_cache.h"
#include "master/registry/request.h"

namespace master {

// The objects selected by namespace, name, label and field selectors.
struct Filter {
  std::string ns, name;
  api::Selector labels;
  struct Term {
    int index;  // of StoredObject::fields; -1 name, -2 namespace
    std::string value;
    bool equal;
  };
  std::vector<Term> fields;

  bool selects_all() const { return name.empty() && labels.everything() && fields.empty(); }
  bool matches(const StoredObject& object) const;
};

enum class VersionMatch : uint8_t { kUnset, kExact, kNotOlderThan };

struct ListOptions {
  Filter filter;
  std::optional<int64_t> version;  // ?resourceVersion=; unset and 0 differ
  VersionMatch match = VersionMatch::kUnset;
  size_t limit = 0;                     // 0: none
  bool continues = false;               // a continue token was given:
  int64_t continue_revision = 0;        // -1: the newest, whatever the earlier pages showed
  std::string continue_from;            // first key of the page
  std::optional<size_t> continue_left;  // how many there are from it on, where the page before knew
  std::optional<bool> send_initial_events;
  bool bookmarks = false;
  int timeout_s = 0;  // 0: the server's own; -1: over already
};

// Null and *out set, or the Status that refuses. `watch`: for the verb watch.
base::json::value read_list_options(const RequestInfo& request, bool watch, ListOptions* out);

std::string continue_token(int64_t revision, std::string_view first_key,
                           std::optional<size_t> left = std::nullopt);
base::json::value version_too_large(int64_t asked, int64_t current);  // 504 Timeout

}  // namespace master
