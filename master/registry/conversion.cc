#include "master/registry/conversion.h"

#include "api/status.h"

namespace master {

namespace json = base::json;

// Which version it is in: to_stored_text() puts that first.
static std::string_view api_version_of(const StoredObject& object) {
  constexpr std::string_view kHead = "{\"apiVersion\":\"";
  std::string_view text = *object.text;
  if (!text.starts_with(kHead)) return {};
  text.remove_prefix(kHead.size());
  return text.substr(0, text.find('"'));
}

json::value Conversion::refusal(const base::Error& error) { return api::make_status(500, "", error.reason); }

Bytes Conversion::text(const ResourceInfo& in, const StoredObject& object) {
  if (api_version_of(object) == in.group_version()) return object.text;
  for (const auto& [version, text] : object.converted)
    if (version == in.group_version()) return text;
  return nullptr;
}

}  // namespace master
