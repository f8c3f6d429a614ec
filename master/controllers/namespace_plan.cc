#include "master/controllers/namespace_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace master::controllers {
using namespace std::chrono_literals;

namespace {
// A namespace of a few Pods is gone by then, without a word written about it.
constexpr base::Duration kUnspoken = 2s;
constexpr size_t kMaxMessage = 8 * 1024;  // errors of hundreds of objects are many words

struct Verdict {
  const char *type, *reason, *message;  // where there is nothing to say
};
constexpr Verdict kFine[] = {
    {"NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"},
    {"NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
     "All legacy kube types successfully parsed"},
    {"NamespaceDeletionContentFailure", "ContentDeleted",
     "All content successfully deleted, may be waiting on finalization"},
    {"NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"},
    {"NamespaceFinalizersRemaining", "ContentRemoved", "All content successfully removed"},
};

std::string joined(std::vector<std::string> parts) {
  std::sort(parts.begin(), parts.end());
  std::string out;
  for (const std::string& part : parts) {
    if (out.size() > kMaxMessage) return out + ", …";
    if (!out.empty()) out += ", ";
    out += part;
  }
  return out;
}

std::string remaining(const NamespaceContent& content) {
  std::vector<std::string> parts;
  for (const auto& kind : content.kinds)
    if (!kind.items.empty())
      parts.push_back(fmt::format("{}.{} has {} resource instances", kind.plural, kind.group,
                                  kind.items.size() + kind.more));
  return parts.empty() ? "" : "Some resources are remaining: " + joined(std::move(parts));
}
std::string held(const NamespaceContent& content) {
  std::map<std::string, size_t> counts;
  for (const auto& kind : content.kinds)
    for (const auto& item : kind.items)
      for (const std::string& finalizer : item.finalizers) ++counts[finalizer];
  std::vector<std::string> parts;
  for (const auto& [finalizer, count] : counts)
    parts.push_back(fmt::format("{} in {} resource instances", finalizer, count));
  return parts.empty()
             ? ""
             : "Some content in the namespace has finalizers remaining: " + joined(std::move(parts));
}
}  // namespace

NamespacePlan plan_namespace(const NamespaceContent& content) {
  using What = NamespacePlan::Act::What;
  NamespacePlan plan;
  bool empty = true;
  for (size_t kind = 0; kind < content.kinds.size(); ++kind) {
    empty = empty && content.kinds[kind].items.empty();
    for (size_t item = 0; item < content.kinds[kind].items.size(); ++item)
      if (!content.kinds[kind].items[item].deleting) plan.acts.push_back({What::kRemove, kind, item});
  }
  // A list that failed may have hidden anything.
  if (!empty || !content.failures.empty() || content.discovery) return plan;
  plan.acts.push_back({content.everything ? What::kFinalize : What::kListEverything, 0, 0});
  return plan;
}

std::optional<json::array> namespace_conditions(const Namespace& ns, const NamespaceContent& content,
                                                base::Time now) {
  if (!ns.deletion_at || now < *ns.deletion_at + kUnspoken) return std::nullopt;
  json::array conditions = ns.conditions;
  bool changed = false;
  for (const Verdict& fine : kFine) {
    const std::string_view type = fine.type;
    std::string reason, message;
    if (type == "NamespaceDeletionDiscoveryFailure" && content.discovery) {
      reason = "DiscoveryFailed";
      message = *content.discovery;
    } else if (type == "NamespaceDeletionContentFailure" && !content.failures.empty()) {
      reason = "ContentDeletionFailed";
      message = fmt::format("Failed to delete all resource types, {} remaining: {}", content.failures.size(),
                            joined(content.failures));
    } else if (type == "NamespaceContentRemaining") {
      message = remaining(content);
      if (!message.empty()) reason = "SomeResourcesRemain";
    } else if (type == "NamespaceFinalizersRemaining") {
      message = held(content);
      if (!message.empty()) reason = "SomeFinalizersRemain";
    }
    const bool troubled = !reason.empty();
    changed |= set_condition(conditions, type, troubled ? "True" : "False", troubled ? reason : fine.reason,
                             troubled ? message : fine.message, now);
  }
  if (!changed) return std::nullopt;
  return conditions;
}

std::string NamespacePlan::text(const NamespaceContent& content) const {
  std::string out;
  for (const Act& act : acts) switch (act.what) {
      case Act::What::kListEverything: out += "list everything\n"; break;
      case Act::What::kRemove:
        out += fmt::format("remove {} {}\n", content.kinds[act.kind].plural,
                           content.kinds[act.kind].items[act.item].name);
        break;
      case Act::What::kFinalize: out += "finalize\n"; break;
    }
  return out;
}

}  // namespace master::controllers
