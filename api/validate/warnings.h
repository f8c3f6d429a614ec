// What kube-apiserver 1.36 tells a client about an object that it accepts: the texts of its Warning headers.
// Pure. Source: pkg/api/*/warnings.go and the strategies' WarningsOnCreate and WarningsOnUpdate, word for
// word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/schema.h"

namespace api {

// gvk as in validate.h; `before` is null for a create. After validation, with defaults.
std::vector<std::string> warnings(std::string_view gvk, const json::value& after, const json::value* before);
// Of an object of a kind that a definition describes.
std::vector<std::string> custom_warnings(const json::value& after, const json::value* before);

// A node's label by a name that was given up: what to say of it; "" for any other.
std::string_view deprecated_node_label(std::string_view key);

namespace warn {

using Out = std::vector<std::string>;
// A Pod, or the template of one. Paths begin with `root`: "" or "spec.template.".
struct PodLike {
  const json::value* metadata;
  const json::value* spec;
  std::string root;
  bool is_template() const { return !root.empty(); }
};
void pod(Out& out, const PodLike& pod);
// spec of a claim; `path` is the spec's.
void claim_spec(Out& out, const json::value* spec, const std::string& path);
void node_selector_term(Out& out, const json::value& term, const std::string& path);
std::string quoted(std::string_view text);  // as Go's %q
std::vector<const json::value*> items(const json::value* list);
inline std::string at(const std::string& path, size_t i) { return path + "[" + std::to_string(i) + "]"; }
// A volume's source that nothing serves any more; null for any other member.
struct RemovedVolume {
  std::string_view member, shown, message;  // shown: as Kubernetes spells it in a path
  bool of_pods, of_persistent;
};
const RemovedVolume* removed_volume(std::string_view member, bool persistent);

}  // namespace warn
}  // namespace api
