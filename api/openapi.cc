#include "api/openapi.h"

#include <algorithm>
#include <set>

#include "api/structural.h"
#include "api/walk.h"

namespace api {
namespace {

constexpr char kMeta[] = "io.k8s.apimachinery.pkg.apis.meta.v1.";
constexpr char kQuantity[] = "io.k8s.apimachinery.pkg.api.resource.Quantity";
constexpr char kIntOrString[] = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
constexpr char kRaw[] = "io.k8s.apimachinery.pkg.runtime.RawExtension";

// What Kubernetes says of the members that every custom kind has, in its words: people know them from every
// manifest.
#define SAMPAN_CONVENTIONS \
  "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
constexpr char kApiVersionDoc[] =
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert "
    "recognized schemas to the "
    "latest internal value, and may reject unrecognized values. More info: " SAMPAN_CONVENTIONS "#resources";
constexpr char kKindDoc[] =
    "Kind is a string value representing the REST resource this object represents. Servers may infer this "
    "from the endpoint the client "
    "submits requests to. Cannot be updated. In CamelCase. More info: " SAMPAN_CONVENTIONS "#types-kinds";
constexpr char kMetadataDoc[] = "Standard object's metadata. More info: " SAMPAN_CONVENTIONS "#metadata";
constexpr char kListMetadataDoc[] = "Standard list metadata. More info: " SAMPAN_CONVENTIONS "#types-kinds";

std::string full_name(const Type& type) { return std::string(type.package) + "." + type.name; }
json::object gvk_object(const Gvk& gvk) {
  return {{"group", gvk.group}, {"kind", gvk.kind}, {"version", gvk.version}};
}

// Collects the schemas that the operations name, and what those name in turn.
class Document {
 public:
  explicit Document(bool v3) : v3_(v3) {}

  json::object ref(const std::string& name) const {
    return {{"$ref", (v3_ ? "#/components/schemas/" : "#/definitions/") + name}};
  }
  json::object of(const Type& type) {
    add(type);
    return ref(full_name(type));
  }
  json::object meta(const char* name) {
    if (const Type* type = find_type("io.k8s.apimachinery.pkg.apis.meta.v1", name)) return of(*type);
    return ref(kMeta + std::string(name));
  }
  json::object patch() {
    schemas_.emplace(std::string(kMeta) + "Patch",
                     json::object{{"description", "A patch, in the form that the Content-Type names."},
                                  {"type", "object"}});
    return ref(std::string(kMeta) + "Patch");
  }
  json::object list_of(const Type& type) {
    std::string name = full_name(type) + "List";
    if (!schemas_.contains(name)) {
      Gvk gvk = gvk_of(type);
      gvk.kind = type.custom ? type.custom->list_kind : gvk.kind + "List";
      schemas_[name] = nullptr;
      bool custom = type.custom != nullptr;
      json::object properties{
          {"apiVersion", text(custom ? kApiVersionDoc : "Group and version of this representation.")},
          {"items",
           json::object{
               {"type", "array"}, {"items", wrapped(of(type), "")}, {"description", "The objects."}}},
          {"kind", text(custom ? kKindDoc : "Kind of this representation.")},
          {"metadata",
           wrapped(meta("ListMeta"),
                   custom ? kListMetadataDoc : "Version of the list, and where its next page starts.")}};
      schemas_[name] = json::object{{"description", "A list of " + std::string(type.name) + " objects."},
                                    {"type", "object"},
                                    {"required", json::array{"items"}},
                                    {"properties", std::move(properties)},
                                    {"x-kubernetes-group-version-kind", json::array{gvk_object(gvk)}}};
    }
    return ref(name);
  }
  json::object take() {
    json::object out;
    for (auto& [name, schema] : schemas_) out.emplace(name, std::move(schema));
    return out;
  }

 private:
  static json::object text(const char* description) {
    return {{"description", description}, {"type", "string"}};
  }
  // A reference beside which other members count: version 3 wants it inside allOf.
  json::object wrapped(json::object reference, std::string_view description) const {
    json::object out;
    if (v3_) {
      out["allOf"] = json::array();
      out["allOf"].get_array().push_back(std::move(reference));
      out["default"] = json::object();
    } else {
      out = std::move(reference);
    }
    if (!description.empty()) out["description"] = description;
    return out;
  }
  json::object plain_ref(const char* name) {
    if (!schemas_.contains(name)) {
      std::string_view n(name);
      json::object schema;
      if (n == kQuantity) {
        schema["description"] =
            "An amount as a decimal number with an optional suffix: 500m, 1.5, 64Mi, 2G, 1e3.";
        if (v3_)
          schema["oneOf"] = json::array{json::object{{"type", "string"}}, json::object{{"type", "number"}}};
        else schema["type"] = "string";
      } else if (n == kIntOrString) {
        schema["description"] = "A number, or text such as a port's name or a percentage.";
        schema["format"] = "int-or-string";
        if (v3_)
          schema["oneOf"] = json::array{json::object{{"type", "integer"}}, json::object{{"type", "string"}}};
        else schema["type"] = "string";
      } else if (n == kRaw) {
        schema = {{"description", "Any object."}, {"type", "object"}};
      } else {
        schema = {
            {"description", n.ends_with("MicroTime") ? "RFC 3339, with microseconds." : "RFC 3339, in UTC."},
            {"type", "string"},
            {"format", "date-time"}};
      }
      schemas_[name] = std::move(schema);
    }
    return ref(name);
  }

  json::object one(const Field& field, std::string_view description) {
    auto simple = [&](const char* type, const char* format) {
      json::object out{{"type", type}};
      if (format) out["format"] = format;
      if (!description.empty()) out["description"] = description;
      return out;
    };
    switch (field.shape) {
      case Shape::kString: {
        json::object out = simple("string", nullptr);
        if (field.enum_values) {
          json::array values;
          std::string_view rest = field.enum_values;
          while (true) {
            size_t comma = rest.find(',');
            if (comma != 0 && !rest.empty()) values.push_back(json::value(rest.substr(0, comma)));
            if (comma == std::string_view::npos) break;
            rest.remove_prefix(comma + 1);
          }
          out["enum"] = std::move(values);
        }
        return out;
      }
      case Shape::kInt32: return simple("integer", "int32");
      case Shape::kInt64: return simple("integer", "int64");
      case Shape::kBool: return simple("boolean", nullptr);
      case Shape::kDouble: return simple("number", "double");
      case Shape::kBytes: return simple("string", "byte");
      case Shape::kTime: return wrapped(plain_ref("io.k8s.apimachinery.pkg.apis.meta.v1.Time"), description);
      case Shape::kMicroTime:
        return wrapped(plain_ref("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"), description);
      case Shape::kQuantity: return wrapped(plain_ref(kQuantity), description);
      case Shape::kIntOrString: return wrapped(plain_ref(kIntOrString), description);
      case Shape::kAny: return wrapped(plain_ref(kRaw), description);
      case Shape::kStruct: return wrapped(of(*field.type), description);
    }
    return {};
  }
  json::object property(const Field& field) {
    std::string_view doc = field.doc;
    json::object out;
    auto list = [&](json::object items) {
      return json::object{{"type", "array"}, {"items", std::move(items)}};
    };
    switch (field.holder) {
      case Holder::kOne: out = one(field, doc); break;
      case Holder::kList: out = list(one(field, "")); break;
      case Holder::kMap: out = {{"type", "object"}, {"additionalProperties", one(field, "")}}; break;
      case Holder::kMapOfLists:
        out = {{"type", "object"}, {"additionalProperties", list(one(field, ""))}};
        break;
    }
    if (field.holder != Holder::kOne && !doc.empty()) out["description"] = doc;
    if (field.default_json) out["default"] = base::parse_json(field.default_json).value();
    if (field.holder == Holder::kList) {
      bool keyed = field.list_keys || (!field.list_type && field.merges && field.merge_key);
      out["x-kubernetes-list-type"] = keyed ? "map" : field.list_type ? field.list_type : "atomic";
      if (keyed) {
        json::array keys;
        std::string_view rest = field.list_keys ? field.list_keys : field.merge_key;
        for (size_t comma; !rest.empty();
             rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1)) {
          comma = rest.find(',');
          keys.push_back(json::value(rest.substr(0, comma)));
        }
        out["x-kubernetes-list-map-keys"] = std::move(keys);
      }
    }
    if (field.merge_key) out["x-kubernetes-patch-merge-key"] = field.merge_key;
    if (field.strategy) out["x-kubernetes-patch-strategy"] = field.strategy;
    return out;
  }
  // `required` without the members that may be null, which version 2 can't say.
  static void drop_nullable_requirements(json::object& schema) {
    json::value* required = schema.if_contains("required");
    if (!required || !required->is_array()) return;
    auto nullable = [](const json::value* member) {
      return member && base::as_bool(base::find(*member, "nullable"));
    };
    if (nullable(schema.if_contains("additionalProperties"))) required->get_array().clear();
    const json::value* properties = schema.if_contains("properties");
    json::array left;
    for (const json::value& name : required->get_array())
      if (!properties || !nullable(base::find(*properties, base::as_string(&name)))) left.push_back(name);
    if (left.empty()) schema.erase("required");
    else *required = std::move(left);
  }
  // Version 2 has no words for some of what a structural schema says; what it would get wrong is left out. A
  // value that may be null or anything has no type in it: kubectl up to 1.24 holds manifests against this
  // document.
  static void to_v2(json::value& in, bool root) {
    json::object* schema = in.if_object();
    if (!schema) return;
    drop_nullable_requirements(*schema);
    bool open = base::as_bool(schema->if_contains("x-kubernetes-preserve-unknown-fields"));
    bool nullable = base::as_bool(schema->if_contains("nullable"));
    for (const char* name : {"allOf", "anyOf", "oneOf", "not", "default", "nullable"}) schema->erase(name);
    if (open || nullable) {
      for (const char* name : {"items", "properties"}) schema->erase(name);
      if (!root) schema->erase("type");
    }
    if (base::as_string(schema->if_contains("type")) == "array" && !schema->contains("items"))
      schema->erase("type");
    if (json::value* items = schema->if_contains("items")) to_v2(*items, false);
    if (json::value* additional = schema->if_contains("additionalProperties")) to_v2(*additional, false);
    if (json::value* properties = schema->if_contains("properties"); properties && properties->is_object())
      for (auto& item : properties->get_object()) to_v2(item.value(), false);
  }
  json::value custom(const Type& type) {
    json::value out = type.custom->schema;
    if (!out.is_object()) out = json::object{{"type", "object"}};
    if (!v3_) to_v2(out, true);
    json::object& schema = out.get_object();
    if (!base::as_bool(schema.if_contains("x-kubernetes-preserve-unknown-fields")) || v3_) {
      json::object& properties = base::object_at(schema, "properties");
      properties["apiVersion"] = text(kApiVersionDoc);
      properties["kind"] = text(kKindDoc);
      properties["metadata"] = wrapped(meta("ObjectMeta"), kMetadataDoc);
    }
    schema["x-kubernetes-group-version-kind"] = json::array{gvk_object(gvk_of(type))};
    return out;
  }
  void add(const Type& type) {
    std::string name = full_name(type);
    if (schemas_.contains(name)) return;
    schemas_[name] = nullptr;  // types may contain themselves
    if (type.custom) {
      schemas_[name] = custom(type);
      return;
    }
    json::object properties;
    json::array required;
    for (const Field& field : type.fields) {
      properties.emplace(field.name, property(field));
      if (field.required) required.push_back(json::value(field.name));
    }
    json::object schema{{"type", "object"}};
    if (*type.doc) schema["description"] = type.doc;
    schema["properties"] = std::move(properties);
    if (!required.empty()) schema["required"] = std::move(required);
    if (type.is_kind) schema["x-kubernetes-group-version-kind"] = json::array{gvk_object(gvk_of(type))};
    schemas_[name] = std::move(schema);
  }
  bool v3_;
  std::map<std::string, json::value> schemas_;
};

struct Parameter {
  const char* name;
  const char* type;
  const char* doc;
};
constexpr Parameter kPretty{"pretty", "string", "Any value but false indents the answer."};
constexpr Parameter kDryRun{"dryRun", "string", "All: do everything but store the result."};
constexpr Parameter kManager{"fieldManager", "string", "Who makes this change, for managedFields."};
constexpr Parameter kValidation{"fieldValidation", "string",
                                "What to do about unknown and duplicate fields: Ignore, Warn or Strict."};
constexpr Parameter kForce{"force", "boolean", "Server-side apply takes fields over from other managers."};
constexpr Parameter kListParameters[] = {
    {"allowWatchBookmarks", "boolean", "Send BOOKMARK events that tell how far the watch is."},
    {"continue", "string", "Where the next page starts, as the last answer said."},
    {"fieldSelector", "string", "Only objects whose fields match."},
    {"labelSelector", "string", "Only objects whose labels match."},
    {"limit", "integer", "Most objects in one page."},
    {"resourceVersion", "string", "The version to list or to watch from."},
    {"resourceVersionMatch", "string", "Exact or NotOlderThan."},
    {"sendInitialEvents", "boolean", "Begin a watch with the objects that exist."},
    {"timeoutSeconds", "integer", "How long a watch lasts."},
    {"watch", "boolean", "Stream changes instead of a list."}};
constexpr Parameter kDeleteParameters[] = {
    {"gracePeriodSeconds", "integer", "How long a Pod may take to end; 0: at once."},
    {"orphanDependents", "boolean", "Leave dependents alone (older form of propagationPolicy)."},
    {"propagationPolicy", "string", "Orphan, Background or Foreground."}};

class Writer {
 public:
  explicit Writer(bool v3) : v3_(v3), document_(v3) {}

  void group(const ServedGroupVersion& served) {
    std::string root = "/" + served.path() + "/";
    json::object list =
        operation("List the resources of " + root, "get" + spelled(served) + "APIResources", served);
    list["responses"] = answers(document_.meta("APIResourceList"));
    paths_[root] = json::object{{"get", std::move(list)}};
    for (const ServedResource& resource : served.resources) add(served, resource, "/" + served.path());
  }
  void page(const ServedPage& served) {
    const Type* type = served.type.empty() ? nullptr : find_type(served.package, served.type);
    json::object op{{"description", served.description}, {"operationId", served.id}};
    if (!v3_) op["produces"] = json::array{"application/json"}, op["schemes"] = json::array{"https"};
    op["responses"] =
        answers(type ? json::value(document_.of(*type))
                     : json::value(json::object{{"type", served.type.empty() ? "string" : served.type}}));
    paths_[served.path]["get"] = std::move(op);
  }
  json::object paths() {
    json::object out;
    for (auto& [path, item] : paths_) out.emplace(path, std::move(item));
    return out;
  }
  json::object schemas() { return document_.take(); }

 private:
  // "CoreV1", "AppsV1", "RbacAuthorizationV1"
  static std::string spelled(const ServedGroupVersion& served) {
    std::string group = served.group.empty() ? "core" : served.group;
    if (size_t at = group.find(".k8s.io"); at != std::string::npos) group.resize(at);
    std::string out;
    bool upper = true;
    for (char c : group + "." + served.version) {
      if (c == '.') upper = true;
      else
        out.push_back(upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c),
            upper = false;
    }
    return out;
  }
  static std::string tag(const ServedGroupVersion& served) {
    std::string out = spelled(served);
    size_t version = out.size() - served.version.size();
    out.insert(version, "_");
    for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return out;
  }
  json::object parameter(const Parameter& p, const char* in, bool required) const {
    json::object out{{"name", p.name}, {"in", in}, {"description", p.doc}};
    if (required) out["required"] = true;
    json::object type{{"type", p.type}, {"uniqueItems", true}};
    if (v3_) out["schema"] = std::move(type);
    else
      for (auto& item : type) out[item.key()] = item.value();
    return out;
  }
  json::object operation(std::string description, std::string id, const ServedGroupVersion& served) const {
    json::object out{{"description", std::move(description)},
                     {"operationId", std::move(id)},
                     {"tags", json::array{tag(served)}}};
    if (!v3_) {
      out["produces"] = json::array{"application/json"};
      out["schemes"] = json::array{"https"};
      out["consumes"] = json::array{"*/*"};
    }
    return out;
  }
  json::object answers(json::value schema) const {
    json::object ok{{"description", "OK"}};
    if (v3_) ok["content"] = json::object{{"application/json", json::object{{"schema", std::move(schema)}}}};
    else ok["schema"] = std::move(schema);
    return {{"200", std::move(ok)}, {"401", json::object{{"description", "Unauthorized"}}}};
  }
  void body(json::object& op, json::array& parameters, json::object schema, std::vector<std::string> types,
            bool required) const {
    if (v3_) {
      json::object content;
      for (const auto& type : types) content.emplace(type, json::object{{"schema", schema}});
      op["requestBody"] = json::object{{"content", std::move(content)}};
      if (required) op["requestBody"].get_object()["required"] = true;
      return;
    }
    json::object p{{"name", "body"}, {"in", "body"}, {"schema", std::move(schema)}};
    if (required) p["required"] = true;
    parameters.push_back(std::move(p));
  }

  void add(const ServedGroupVersion& served, const ServedResource& r, const std::string& root) {
    const Type* type = r.type ? r.type : find_kind(r.kind_gvk);
    auto can = [&](const char* verb) {
      return std::find(r.verbs.begin(), r.verbs.end(), verb) != r.verbs.end();
    };
    bool collection = r.subresource.empty();
    std::string base = root + (r.namespaced ? "/namespaces/{namespace}/" : "/") + r.plural;
    std::string one = base + "/{name}" + (collection ? "" : "/" + r.subresource);
    if (r.subresource == "proxy") return proxy(served, r, one);
    if (type && (r.subresource == "exec" || r.subresource == "attach" || r.subresource == "portforward"))
      return streams(served, r, *type, one);
    if (collection) {
      if (can("list")) put(served, r, type, base, "get", "list");
      if (can("create")) put(served, r, type, base, "post", "post");
      if (can("deletecollection")) put(served, r, type, base, "delete", "deletecollection");
      if (can("list") && r.namespaced) put(served, r, type, root + "/" + r.plural, "get", "list");
    } else if (can("create")) {
      put(served, r, type, one, "post", "post");
    }
    if (can("get")) put(served, r, type, one, "get", "get");
    if (can("update")) put(served, r, type, one, "put", "put");
    if (can("patch")) put(served, r, type, one, "patch", "patch");
    if (can("delete")) put(served, r, type, one, "delete", "delete");
  }
  json::array place(const ServedResource& r) const {
    json::array shared{parameter({"name", "string", "Name of the object."}, "path", true)};
    if (r.namespaced)
      shared.push_back(parameter({"namespace", "string", "Namespace of the object."}, "path", true));
    return shared;
  }
  // Any method, with or without a path behind it, on its way to a Pod, a Service or a node.
  void proxy(const ServedGroupVersion& served, const ServedResource& r, const std::string& one) {
    for (bool with_path : {false, true}) {
      json::array shared = place(r);
      if (with_path)
        shared.push_back(
            parameter({"path", "string", "Path of the request behind the proxy."}, "path", true));
      shared.push_back(
          parameter({"path", "string", "Path of the request behind the proxy."}, "query", false));
      connect(served, r, with_path ? one + "/{path}" : one,
              {"delete", "get", "head", "options", "patch", "post", "put"}, std::move(shared),
              with_path ? "ProxyWithPath" : "Proxy");
    }
  }
  // exec, attach and port-forward: their options are the query.
  void streams(const ServedGroupVersion& served, const ServedResource& r, const Type& options,
               const std::string& one) {
    json::array shared = place(r);
    for (const Field& field : options.fields) {
      std::string name(field.name), doc(field.doc);
      if (name == "kind" || name == "apiVersion") continue;
      const char* type = field.shape == Shape::kBool     ? "boolean"
                         : field.shape == Shape::kString ? "string"
                                                         : "integer";
      shared.push_back(parameter({name.c_str(), type, doc.c_str()}, "query", false));
    }
    std::string part = r.subresource;
    part[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(part[0])));
    connect(served, r, one, {"get", "post"}, std::move(shared), part);
  }
  void connect(const ServedGroupVersion& served, const ServedResource& r, const std::string& path,
               std::initializer_list<const char*> methods, json::array shared, const std::string& suffix) {
    json::object& item = paths_[path];
    item["parameters"] = std::move(shared);
    for (const char* method : methods) {
      std::string word = method;
      word[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[0])));
      json::object op = operation("connect " + word + " requests to " + r.subresource + " of " + r.plural,
                                  "connect" + spelled(served) + word + (r.namespaced ? "Namespaced" : "") +
                                      gvk_kind(served, r) + suffix,
                                  served);
      op["responses"] = answers(json::object{{"type", "string"}});
      op["x-kubernetes-action"] = "connect";
      op["x-kubernetes-group-version-kind"] = gvk_object(parse_gvk(r.kind_gvk));
      item[method] = std::move(op);
    }
  }
  void put(const ServedGroupVersion& served, const ServedResource& r, const Type* type,
           const std::string& path, const char* method, std::string_view action) {
    json::object& item = paths_[path];
    bool in_namespace = path.find("{namespace}") != std::string::npos,
         named = path.find("{name}") != std::string::npos;
    if (!item.contains("parameters")) {
      json::array shared;
      if (named) shared.push_back(parameter({"name", "string", "Name of the object."}, "path", true));
      if (in_namespace)
        shared.push_back(parameter({"namespace", "string", "Namespace of the object."}, "path", true));
      shared.push_back(parameter(kPretty, "query", false));
      item["parameters"] = std::move(shared);
    }
    std::string part = r.subresource, kind = gvk_kind(served, r);
    if (!part.empty()) part[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(part[0])));
    std::string verb = word(action);
    std::string id = verb + spelled(served) + (action == "deletecollection" ? "Collection" : "") +
                     (in_namespace ? "Namespaced" : "") + kind + part +
                     (action == "list" && r.namespaced && !in_namespace ? "ForAllNamespaces" : "");
    json::object op =
        operation(verb + " " + r.plural + (part.empty() ? "" : "/" + r.subresource), id, served);
    json::array parameters;
    auto query = [&](const Parameter& p) { parameters.push_back(parameter(p, "query", false)); };
    json::object self = type ? document_.of(*type) : json::object{{"type", "string"}};
    json::value answer = self;
    if (action == "list" || action == "deletecollection")
      for (const Parameter& p : kListParameters) query(p);
    if (action == "list" && type) {
      answer = document_.list_of(*type);
      document_.meta("WatchEvent");  // what the same operation streams with ?watch=true
    }
    if (action == "delete" || action == "deletecollection") {
      query(kDryRun);
      for (const Parameter& p : kDeleteParameters) query(p);
      body(op, parameters, document_.meta("DeleteOptions"), {"*/*"}, false);
      answer = document_.meta("Status");
    }
    if (action == "post" || action == "put" || action == "patch") {
      query(kDryRun), query(kManager), query(kValidation);
      if (action == "patch") {
        query(kForce);
        body(op, parameters, document_.patch(), patch_types(type), true);
      } else if (type) {
        body(op, parameters, self, {"*/*"}, true);
      }
    }
    if (!v3_ && action == "patch") {
      json::array types;
      for (const std::string& one : patch_types(type)) types.push_back(json::value(one));
      op["consumes"] = std::move(types);
    }
    op["parameters"] = std::move(parameters);
    op["responses"] = answers(std::move(answer));
    op["x-kubernetes-action"] = action;
    op["x-kubernetes-group-version-kind"] = gvk_object(parse_gvk(r.kind_gvk));
    item[method] = std::move(op);
  }
  // Custom resources know no strategic merge: kubectl looks here before it sends one.
  static std::vector<std::string> patch_types(const Type* type) {
    if (type && type->custom)
      return {"application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"};
    return {"application/json-patch+json", "application/merge-patch+json",
            "application/strategic-merge-patch+json", "application/apply-patch+yaml"};
  }
  static std::string word(std::string_view action) {
    if (action == "get") return "read";
    if (action == "post") return "create";
    if (action == "put") return "replace";
    if (action == "deletecollection") return "delete";
    return std::string(action);
  }
  // Operation ids name the resource's kind, also for "pods/binding".
  static std::string gvk_kind(const ServedGroupVersion& served, const ServedResource& r) {
    for (const ServedResource& other : served.resources)
      if (other.plural == r.plural && other.subresource.empty()) return other.kind;
    return r.kind;
  }
  bool v3_;
  Document document_;
  std::map<std::string, json::object> paths_;
};

json::object info(std::string_view version) { return {{"title", "Kubernetes"}, {"version", version}}; }
json::object bearer() {
  return {{"BearerToken", json::object{{"description", "A bearer token."},
                                       {"type", "apiKey"},
                                       {"name", "authorization"},
                                       {"in", "header"}}}};
}

}  // namespace

std::string ServedGroupVersion::path() const {
  return group.empty() ? "api/" + version : "apis/" + group + "/" + version;
}

json::value openapi_v3_index(const std::vector<std::pair<std::string, std::string>>& path_and_hash) {
  json::object paths;
  for (const auto& [path, hash] : path_and_hash)
    paths.emplace(path, json::object{{"serverRelativeURL", "/openapi/v3/" + path + "?hash=" + hash}});
  return json::object{{"paths", std::move(paths)}};
}

json::value openapi_v3(const ServedGroupVersion& served) {
  Writer writer(true);
  writer.group(served);
  json::object paths = writer.paths();
  return json::object{
      {"openapi", "3.0.0"},
      {"info", info("v1.36.0")},
      {"paths", std::move(paths)},
      {"components", json::object{{"schemas", writer.schemas()}, {"securitySchemes", bearer()}}}};
}

json::value openapi_v3(const ServedPage& page) {
  Writer writer(true);
  writer.page(page);
  json::object paths = writer.paths();
  return json::object{
      {"openapi", "3.0.0"},
      {"info", info("v1.36.0")},
      {"paths", std::move(paths)},
      {"components", json::object{{"schemas", writer.schemas()}, {"securitySchemes", bearer()}}}};
}

json::value openapi_v2(const std::vector<ServedGroupVersion>& served, std::string_view version,
                       const std::vector<ServedPage>& pages) {
  Writer writer(false);
  for (const ServedPage& page : pages) writer.page(page);
  for (const ServedGroupVersion& group : served) writer.group(group);
  json::object paths = writer.paths();
  return json::object{{"swagger", "2.0"},
                      {"info", info(version)},
                      {"paths", std::move(paths)},
                      {"definitions", writer.schemas()},
                      {"securityDefinitions", bearer()}};
}

}  // namespace api
