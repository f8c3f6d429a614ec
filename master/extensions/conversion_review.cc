#include "master/extensions/conversion_review.h"

#include "api/validate/validate.h"
#include "base/json_limits.h"

namespace master {

namespace json = base::json;

namespace {

// As Go prints a GroupVersionKind.
std::string kind_text(const json::value& object) {
  std::string_view version = base::string_at(object, "apiVersion");
  return std::string(version.find('/') == version.npos ? "/" : "")
      .append(version)
      .append(", Kind=")
      .append(base::string_at(object, "kind"));
}
base::Error failed(std::string sentence) {
  return base::make_error(base::Kind::kUnavailable, "convert", {}, std::move(sentence));
}

// What must not differ; "" or what does.
std::string difference(const json::value& in, const json::value& out) {
  auto differs = [](const char* what, std::string_view e, std::string_view a) {
    return "must have the same " + std::string(what) + ": " + std::string(e) + " != " + std::string(a);
  };
  for (auto [what, name] :
       {std::pair("name", "name"), std::pair("namespace", "namespace"), std::pair("UID", "uid")})
    if (std::string_view e = base::string_at(in, "metadata", name),
        a = base::string_at(out, "metadata", name);
        e != a)
      return differs(what, e, a);
  return {};
}

// The original's metadata with the labels and annotations of the answer; "" or what is wrong with these.
std::string restore_metadata(const json::value& original, json::value& converted) {
  const json::value* answered = base::find(converted, "metadata");
  if (!answered) return "missing metadata in converted object";
  if (!answered->is_object()) return "invalid metadata in converted object";
  const json::value* had = base::find(original, "metadata");
  json::object metadata = had && had->is_object() ? had->get_object() : json::object();
  for (const char* name : {"labels", "annotations"}) {
    const json::value* fresh = base::find(*answered, name);
    if (!fresh || fresh->is_null()) {
      metadata.erase(name);
      continue;
    }
    if (!fresh->is_object()) return "invalid metadata." + std::string(name) + " in converted object";
    for (const auto& item : fresh->get_object())
      if (!item.value().is_string())
        return "metadata." + std::string(name) + "[" + std::string(item.key()) +
               "] must be a string in converted object";
    metadata[name] = *fresh;
  }
  converted.get_object()["metadata"] = std::move(metadata);
  return {};
}

}  // namespace

json::value conversion_review(std::string_view review_version, std::string_view uid,
                              std::string_view api_version, const std::vector<json::value>& objects) {
  return json::object{{"kind", "ConversionReview"},
                      {"apiVersion", "apiextensions.k8s.io/" + std::string(review_version)},
                      {"request", json::object{{"uid", uid},
                                               {"desiredAPIVersion", api_version},
                                               {"objects", json::array(objects.begin(), objects.end())}}}};
}

base::Error conversion_failed(const json::value& object, std::string_view why) {
  return failed("conversion webhook for " + kind_text(object) + " failed: " + std::string(why));
}

base::Result<std::vector<json::value>> read_conversion(std::string_view review_version, std::string_view uid,
                                                       std::string_view api_version,
                                                       const std::vector<json::value>& objects,
                                                       std::string_view body) {
  bool strict = review_version == "v1";
  const json::value& first = objects.at(0);
  auto parsed = base::parse_json_carrier(body);
  if (!parsed.ok()) return conversion_failed(first, parsed.error().message());
  json::value& review = *parsed;
  if (strict && (base::string_at(review, "apiVersion") != "apiextensions.k8s.io/v1" ||
                 base::string_at(review, "kind") != "ConversionReview"))
    return conversion_failed(
        first, "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got " +
                   kind_text(review));
  const json::value* response = base::find(review, "response");
  if (!response || !response->is_object()) return conversion_failed(first, "no response provided");
  if (std::string_view got = base::string_at(*response, "uid"); strict && got != uid)
    return conversion_failed(
        first, "expected response.uid=\"" + std::string(uid) + "\", got \"" + std::string(got) + "\"");
  if (std::string_view status = base::string_at(*response, "result", "status"); status != "Success") {
    std::string_view message = base::string_at(*response, "result", "message");
    return conversion_failed(
        first, message.empty() ? "response.result.status was '" + std::string(status) + "', not 'Success'"
                               : std::string(message));
  }
  json::value* list = review.at("response").get_object().if_contains("convertedObjects");
  size_t count = list && list->is_array() ? list->get_array().size() : 0;
  if (count != objects.size())
    return failed("conversion webhook for " + kind_text(first) + " returned " + std::to_string(count) +
                  " objects, expected " + std::to_string(objects.size()));
  std::vector<json::value> out;
  for (size_t i = 0; i < count; ++i) {
    json::value& converted = list->get_array()[i];
    auto bad = [&](const char* what, std::string why) {
      return failed("conversion webhook for " + kind_text(objects[i]) + " returned invalid " + what +
                    " at index " + std::to_string(i) + ": " + std::move(why));
    };
    if (!converted.is_object()) return bad("converted object", "it is no object");
    if (!base::nests_within(converted)) return bad("converted object", base::kTooDeep);
    if (std::string_view got = base::string_at(converted, "apiVersion"); got != api_version)
      return bad("converted object", "invalid groupVersion (expected " + std::string(api_version) +
                                         ", received " + std::string(got) + ")");
    if (std::string_view e = base::string_at(objects[i], "kind"), a = base::string_at(converted, "kind");
        e != a)
      return bad("converted object",
                 "invalid kind (expected " + std::string(e) + ", received " + std::string(a) + ")");
    if (std::string why = difference(objects[i], converted); !why.empty())
      return bad("converted object", std::move(why));
    if (std::string why = restore_metadata(objects[i], converted); !why.empty())
      return bad("metadata in object", std::move(why));
    out.push_back(std::move(converted));
  }
  return out;
}

}  // namespace master
