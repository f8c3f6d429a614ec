// CONNECT: exec, attach, port-forward and proxy. What their query says is an options object, which
// is admitted (webhooks and policies may refuse or change it) before anything is connected. Source:
// kubernetes.io, "Dynamic Admission Control"; the query's forms as kube-apiserver converts them.
#include <charconv>

#include "api/status.h"
#include "master/auth/authorizer.h"
#include "master/server/handlers.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

// What stands behind the subresource's name, with the slashes that were sent.
std::string path_behind(const RequestInfo& request) {
  std::string out = request.rest;
  if (request.http().path().ends_with('/') && !out.ends_with('/')) out += '/';
  return out;
}

base::Status add_numbers(std::string_view text, json::array& out) {
  for (size_t at = 0; at <= text.size();) {
    std::string_view one = text.substr(at, text.find(',', at) - at);
    at += one.size() + 1;
    uint16_t number = 0;
    auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), number);
    if (error != std::errc() || end != one.data() + one.size()) {
      const char* why = error == std::errc::result_out_of_range ? "value out of range" : "invalid syntax";
      return base::make_error(base::Kind::kInvalid, "read query", std::string(one),
                              "cannot convert to []int32: strconv.ParseUint: parsing " +
                                  base::to_json(json::value(one)) + ": " + why);
    }
    out.emplace_back(number);
  }
  return {};
}

// The options object; what is false or empty stays away, as in its JSON form.
base::Result<json::value> read_connect_options(const RequestInfo& request, const Subresource& subresource) {
  json::object out{{"kind", subresource.kind}, {"apiVersion", subresource.version}};
  for (const api::Field& field : type_of(subresource)->fields) {
    std::string_view name = field.name;
    if (name == "kind" || name == "apiVersion") continue;
    if (name == "path") {
      if (std::string path = path_behind(request); !path.empty()) out["path"] = std::move(path);
      continue;
    }
    json::array list;
    for (const auto& [key, value] : request.query) {
      if (key != name) continue;
      if (field.holder != api::Holder::kList) {
        if (field.shape == api::Shape::kBool && is_true(value)) out[name] = true;
        if (field.shape == api::Shape::kString && !value.empty()) out[name] = value;
        break;
      }
      if (field.shape == api::Shape::kString) list.emplace_back(value);
      else TRY(add_numbers(value, list));
    }
    if (!list.empty()) out[name] = std::move(list);
  }
  return json::value(std::move(out));
}

}  // namespace

void admit_body(Registry& registry, RequestPtr request, Operation operation, json::value object,
                json::value old, Admitted then) {
  AttributesPtr attributes = Registry::attributes_of(request, operation, request->subresource, request->name);
  attributes->body = subresource_of(*request->resource, request->subresource);
  attributes->object = std::move(object);
  attributes->old = std::move(old);
  registry.admission().mutate(
      attributes, [&registry, attributes, then = std::move(then)](json::value refusal) {
        if (!refusal.is_null()) return attributes->request->reply_status(refusal);
        registry.admission().validate(attributes, [attributes, then](json::value refused) {
          if (!refused.is_null()) return attributes->request->reply_status(refused);
          then(attributes->object);
        });
      });
}

void admit_connect(ApiServer& server, RequestPtr request, Admitted then) {
  if (!request->param("dryRun").empty())
    return request->reply_status(api::bad_request("dryRun is not supported"));
  auto options = read_connect_options(*request, *subresource_of(*request->resource, request->subresource));
  if (!options.ok()) return request->reply_status(api::bad_request(options.error().reason));
  admit_body(server.registry(), request, Operation::kConnect, std::move(*options), nullptr,
             [&server, request, then = std::move(then)](const json::value& admitted) {
               // A WebSocket begins with GET: who may only read must not run commands by it
               // (since 1.35).
               if (request->subresource != "proxy" && request->verb != "create") {
                 Access access = access_of(*request);
                 access.verb = "create";
                 std::string reason;
                 if (!server.authorizer().allows(request->user, access, &reason))
                   return request->reply_status(forbidden(request->user, access, reason));
               }
               then(admitted);
             });
}

}  // namespace master
