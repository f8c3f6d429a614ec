#include "master/admission/mutation_plan.h"

#include "api/patch/patch.h"

namespace master {

namespace json = base::json;
namespace cel = api::cel;

namespace {

constexpr size_t kMaxPatchBytes = 4 << 20;  // of all operations together, as JSON

base::Error unfit(std::string why) {
  return base::make_error(base::Kind::kInvalid, "apply mutation", "", std::move(why));
}

base::Result<json::value> operation_of(const cel::Value& item) {
  const auto* made = cel::opaque_as<cel::Constructed>(item);
  if (!made || made->name != "JSONPatch")
    return unfit("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch");
  json::object out{{"op", ""}, {"path", ""}};
  for (const auto& [field, value] : made->fields) {
    if (field != "value" && value.kind != cel::Kind::string)
      return unfit("unexpected type " + cel::type_name(value) + " for JSONPatchType '" + field + "' field");
    auto text = cel::json_of(value);
    if (!text.ok())
      return unfit(text.error().reason.starts_with("type mismatch: ")
                       ? text.error().reason
                       : "JSONPath valueExpression evaluated to a type that could not marshal to JSON: " +
                             text.error().reason);
    if (field == "from" && value.text.empty()) continue;
    out[field] = std::move(*text);
  }
  return json::value(std::move(out));
}

base::Result<json::value> patched(const json::value& object, const cel::Value& made) {
  if (made.kind != cel::Kind::list)
    return unfit("type mismatch: JSONPatchType.expression should evaluate to array");
  json::array patch;
  if (cel::size_of(made) > api::kMaxJsonPatchOperations) return unfit("JSONPath: too many operations");
  // Each value is bounded, and many of them may be one and the same.
  size_t left = kMaxPatchBytes;
  for (size_t i = 0; i < cel::size_of(made); ++i) {
    patch.push_back(TRY(operation_of(cel::item_at(made, i))));
    const size_t size = base::to_json(patch.back()).size();
    if (size > left) return unfit("JSONPath: the operations are too large");
    left -= size;
  }
  auto result = api::json_patch(object, json::value(std::move(patch)));
  if (result.ok()) return result;
  if (result.error().reason.starts_with("testing value ")) return object;
  return unfit("JSONPath: " + result.error().reason);
}

}  // namespace

base::Result<json::value> apply_mutation(const api::Type& type, const json::value& object, bool json_patch,
                                         const cel::Value& made) {
  if (json_patch) return patched(object, made);
  auto configuration = cel::json_of(made);
  if (!configuration.ok()) return unfit(configuration.error().reason);
  if (!configuration->is_object()) return unfit("invalid return type: " + cel::type_name(made));
  for (const char* name : {"apiVersion", "kind"})
    if (const json::value* own = base::find(object, name)) configuration->get_object()[name] = *own;
  auto merged = api::merge_configuration(type, object, *configuration);
  if (!merged.ok()) return unfit("error applying patch: " + merged.error().reason);
  return merged;
}

void Reinvocation::ran(const std::string& invocation, bool wants_it, bool changed_object) {
  if (changed_object) changed();
  if (wants_it) ran_.insert(invocation);
}
void Reinvocation::changed() {
  due_.merge(ran_);
  ran_.clear();
}

}  // namespace master
