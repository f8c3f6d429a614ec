#include "api/structural.h"
#include "api/custom/custom.h"
#include "api/validate/custom.h"

#include <gtest/gtest.h>

#include "api/openapi.h"
#include "api/patch/patch.h"
#include "api/table/table.h"
#include "api/walk.h"

namespace api {
namespace {

json::value parse(std::string_view text) {
  auto out = base::parse_json(text);
  EXPECT_TRUE(out.ok()) << text;
  return out.ok() ? *out : json::value();
}
json::value definition(std::string_view schema, std::string_view more = "") {
  return parse(
      R"({"metadata":{"name":"crontabs.stable.example.com"},"spec":{"group":"stable.example.com","scope":"Namespaced",
    "names":{"plural":"crontabs","singular":"crontab","kind":"CronTab","listKind":"CronTabList"},
    "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":)" +
      std::string(schema) + "}" + std::string(more) + "}]}}");
}
std::shared_ptr<const CustomKind> compiled(std::string_view spec_schema) {
  auto kind = compile_custom_kind(
      definition(R"({"type":"object","properties":{"spec":)" + std::string(spec_schema) + "}}"), "v1");
  EXPECT_TRUE(kind.ok()) << kind.error().message();
  return *kind;
}
// What is wrong with an object whose spec is `spec`, one message a line.
std::string wrong(std::string_view spec_schema, std::string_view spec, std::string_view before = "") {
  auto kind = compiled(spec_schema);
  json::value object = parse(R"({"spec":)" + std::string(spec) + "}"), old;
  if (!before.empty()) old = parse(R"({"spec":)" + std::string(before) + "}");
  std::string out;
  for (const FieldError& error : validate_custom_object(kind->type, object, before.empty() ? nullptr : &old))
    out += (out.empty() ? "" : "\n") + error.message();
  return out;
}
std::string definition_errors(const json::value& definition, const json::value* before = nullptr) {
  std::string out;
  for (const FieldError& error : validate_custom_resource_definition(definition, before))
    out += (out.empty() ? "" : "\n") + error.message();
  return out;
}

TEST(Structural, ChecksValuesInKubernetesWords) {
  EXPECT_EQ(
      wrong(R"({"type":"object","properties":{"replicas":{"type":"integer"}}})", R"({"replicas":"x"})"),
      "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"");
  EXPECT_EQ(
      wrong(R"({"type":"object","properties":{"replicas":{"type":"integer","maximum":10,"minimum":1}}})",
            R"({"replicas":15})"),
      "spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10");
  EXPECT_EQ(
      wrong(
          R"({"type":"object","properties":{"replicas":{"type":"integer","minimum":1,"exclusiveMinimum":true}}})",
          R"({"replicas":1})"),
      "spec.replicas: Invalid value: 1: spec.replicas in body should be greater than 1");
  EXPECT_EQ(
      wrong(R"({"type":"object","properties":{"s":{"type":"string","pattern":"^a+$"}}})", R"({"s":"b"})"),
      "spec.s: Invalid value: \"b\": spec.s in body should match '^a+$'");
  EXPECT_EQ(wrong(R"({"type":"object","required":["a"],"properties":{"a":{"type":"string"}}})", "{}"),
            "spec.a: Required value");
  EXPECT_EQ(wrong(R"({"type":"object","properties":{"c":{"type":"string","enum":["red","blue"]}}})",
                  R"({"c":"green"})"),
            "spec.c: Unsupported value: \"green\": supported values: \"red\", \"blue\"");
  EXPECT_EQ(
      wrong(
          R"({"type":"object","properties":{"l":{"type":"array","minItems":2,"items":{"type":"integer"}}}})",
          R"({"l":["x"]})"),
      "spec.l: Invalid value: 1: spec.l in body should have at least 2 items\n"
      "spec.l[0]: Invalid value: \"string\": spec.l[0] in body must be of type integer: \"string\"");
  EXPECT_EQ(wrong(R"({"type":"object","properties":{"t":{"type":"string","format":"date-time"}}})",
                  R"({"t":"now"})"),
            "spec.t: Invalid value: \"now\": spec.t in body must be of type date-time: \"now\"");
  EXPECT_EQ(wrong(R"({"type":"object","properties":{"t":{"type":"string"}}})", R"({"t":null})"),
            "spec.t: Invalid value: \"null\": spec.t in body must be of type string: \"null\"");
  EXPECT_EQ(
      wrong(R"({"type":"object","properties":{"t":{"type":"string","nullable":true}}})", R"({"t":null})"),
      "");
  EXPECT_EQ(wrong(R"({"type":"object","properties":{"s":{"type":"string","minLength":2}}})", R"({"s":"ä"})"),
            "spec.s: Invalid value: \"ä\": spec.s in body should be at least 2 chars long");
  EXPECT_EQ(
      wrong(R"({"type":"object","properties":{"p":{"x-kubernetes-int-or-string":true}}})", R"({"p":true})"),
      "spec.p: Invalid value: \"boolean\": spec.p in body must be of type integer,string: \"boolean\"");
  EXPECT_EQ(
      wrong(R"({"type":"object","properties":{"n":{"type":"number","multipleOf":0.5}}})", R"({"n":1.25})"),
      "spec.n: Invalid value: 1.25E0: spec.n in body should be a multiple of 0.5");
}

TEST(Structural, ChecksCombinations) {
  std::string_view one =
      R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"oneOf":[{"required":["a"]},{"required":["b"]}]})";
  EXPECT_EQ(wrong(one, R"({"a":"x"})"), "");
  EXPECT_EQ(wrong(one, R"({"a":"x","b":"y"})"),
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 "
            "valid alternatives");
  EXPECT_EQ(wrong(one, "{}"),
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none "
            "valid\nspec.a: Required value");
  EXPECT_EQ(
      wrong(
          R"({"type":"object","properties":{"a":{"type":"integer"}},"not":{"properties":{"a":{"minimum":5}}}})",
          R"({"a":7})"),
      "<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)");
}

TEST(Structural, ListsOfMapsAndSetsHaveNoDuplicates) {
  EXPECT_EQ(
      wrong(
          R"({"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}}})",
          R"({"l":["a","b","a"]})"),
      "spec.l[2]: Duplicate value: \"a\"");
  EXPECT_EQ(
      wrong(
          R"({"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
      "items":{"type":"object","properties":{"name":{"type":"string"}}}}}})",
          R"({"l":[{"name":"a"},{"name":"a"}]})"),
      "spec.l[1]: Duplicate value: {\"name\":\"a\"}");
}

TEST(Structural, WhatDidNotChangeMayStayInvalid) {
  std::string_view schema =
      R"({"type":"object","properties":{"a":{"type":"integer","maximum":1},"b":{"type":"integer","maximum":1}}})";
  EXPECT_EQ(wrong(schema, R"({"a":5,"b":1})", R"({"a":5,"b":0})"), "");
  EXPECT_EQ(wrong(schema, R"({"a":6,"b":0})", R"({"a":5,"b":0})"),
            "spec.a: Invalid value: 6: spec.a in body should be less than or equal to 1");
}

TEST(Structural, PrunesAndKeeps) {
  auto pruned = [](std::string_view schema, std::string_view spec) {
    auto kind = compiled(schema);
    json::value object = parse(R"({"apiVersion":"v","kind":"K","metadata":{"name":"n","bad":1},"spec":)" +
                               std::string(spec) + "}");
    std::vector<std::string> unknown;
    prune(kind->type, object, &unknown);
    std::string out = base::to_json(object.at("spec"));
    for (const auto& path : unknown) out += " " + path;
    return out;
  };
  EXPECT_EQ(pruned(R"({"type":"object","properties":{"a":{"type":"string"}}})", R"({"a":"x","b":1})"),
            R"({"a":"x"} metadata.bad spec.b)");
  EXPECT_EQ(
      pruned(
          R"({"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"a":{"type":"object"}}})",
          R"({"a":{"x":1},"b":{"c":1}})"),
      R"({"a":{},"b":{"c":1}} metadata.bad spec.a.x)");
  EXPECT_EQ(
      pruned(
          R"({"type":"object","additionalProperties":{"type":"object","properties":{"y":{"type":"string"}}}})",
          R"({"k":{"y":"1","z":2}})"),
      R"({"k":{"y":"1"}} metadata.bad spec.k.z)");
  EXPECT_EQ(
      pruned(
          R"({"type":"object","properties":{"l":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string"}}}}}})",
          R"({"l":[{"a":"1","b":2}]})"),
      R"({"l":[{"a":"1"}]} metadata.bad spec.l[0].b)");
  EXPECT_EQ(
      pruned(
          R"({"type":"object","properties":{"t":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{"spec":{"type":"object"}}}}})",
          R"({"t":{"apiVersion":"v1","kind":"X","metadata":{"name":"x","no":1},"spec":{},"other":1}})"),
      R"({"t":{"apiVersion":"v1","kind":"X","metadata":{"name":"x"},"spec":{}}} metadata.bad spec.t.metadata.no spec.t.other)");
}

TEST(Structural, FillsDefaults) {
  auto kind = compiled(R"({"type":"object","default":{},"properties":{"a":{"type":"integer","default":1},
    "m":{"type":"object","additionalProperties":{"type":"object","properties":{"x":{"type":"string","default":"d"}}}},
    "n":{"type":"string","nullable":true,"default":"z"},"q":{"type":"string","default":"z"}}})");
  json::value object = parse("{}");
  apply_defaults(kind->type, object);
  EXPECT_EQ(base::to_json(object), R"({"spec":{"a":1,"n":"z","q":"z"}})");
  object = parse(R"({"spec":{"a":2,"n":null,"q":null,"m":{"k":{}}}})");
  apply_defaults(kind->type, object);
  EXPECT_EQ(object, parse(R"({"spec":{"a":2,"n":null,"q":"z","m":{"k":{"x":"d"}}}})"));
}

TEST(Structural, RefusesDefinitionsThatAreNotStructural) {
  EXPECT_EQ(definition_errors(definition(R"({"type":"object","properties":{"spec":{"type":"object"}}})")),
            "");
  auto schema = [](std::string_view spec) {
    return definition_errors(
        definition(R"({"type":"object","properties":{"spec":)" + std::string(spec) + "}}"));
  };
  EXPECT_EQ(schema("{}"),
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for "
            "specified object fields");
  EXPECT_EQ(schema(R"({"type":"array"})"),
            "spec.validation.openAPIV3Schema.properties[spec].items: Required value: must be specified");
  EXPECT_EQ(schema(R"({"type":"object","anyOf":[{"properties":{"a":{"minimum":1}}}]})"),
            "spec.validation.openAPIV3Schema.properties[spec].properties[a]: Required value: because it is "
            "defined in "
            "spec.validation.openAPIV3Schema.properties[spec].anyOf[0].properties[a]");
  EXPECT_EQ(
      schema(
          R"({"type":"object","properties":{"a":{"type":"string"}},"allOf":[{"properties":{"a":{"type":"string"}}}]})"),
      "spec.validation.openAPIV3Schema.properties[spec].allOf[0].properties[a].type: Forbidden: must be "
      "empty to be structural");
  EXPECT_EQ(schema(R"({"type":"string","pattern":"("})").substr(0, 117),
            "spec.validation.openAPIV3Schema.properties[spec].pattern: Invalid value: \"(\": must be a valid "
            "regular expression, but");
  EXPECT_EQ(
      schema(R"({"type":"integer","default":"x"})"),
      "spec.validation.openAPIV3Schema.properties[spec].default: Invalid value: \"string\": "
      "spec.validation.openAPIV3Schema.properties[spec].default in body must be of type integer: \"string\"");
  EXPECT_NE(schema(R"({"type":"object","x-kubernetes-validations":[{"rule":"self.a > 1"}]})")
                .find("undefined field 'a'"),
            std::string::npos);
  EXPECT_EQ(schema(R"({"type":"string","uniqueItems":true})"),
            "spec.validation.openAPIV3Schema.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be "
            "set to true since the runtime complexity becomes quadratic");
  EXPECT_EQ(schema(R"({"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]})"),
            "");
  json::value twice = definition(R"({"type":"object"})");
  json::array& versions = twice.at("spec").at("versions").get_array();
  versions.push_back(json::value(versions[0]));
  EXPECT_NE(definition_errors(twice).find("must contain unique version names"), std::string::npos);
  EXPECT_NE(definition_errors(twice).find("must have exactly one version marked as storage version"),
            std::string::npos);
  json::value webhook = definition(R"({"type":"object"})");
  webhook.at("spec").get_object()["conversion"] = parse(R"({"strategy":"Webhook"})");
  EXPECT_NE(definition_errors(webhook).find("required when strategy is set to Webhook"), std::string::npos);
  webhook.at("spec").get_object()["conversion"] = parse(
      R"({"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://h/"}}})");
  EXPECT_EQ(definition_errors(webhook), "");
  json::value named = definition(R"({"type":"object"})");
  named.at("metadata").get_object()["name"] = "other";
  EXPECT_EQ(definition_errors(named),
            "metadata.name: Invalid value: \"other\": must be spec.names.plural+\".\"+spec.group");
}

TEST(Structural, ServesTheOtherWalks) {
  auto kind = compile_custom_kind(
      definition(
          R"({"type":"object","description":"A table.","properties":{"spec":{"type":"object","description":"Wanted.","properties":{
        "ports":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
          "items":{"type":"object","properties":{"name":{"type":"string"},"port":{"type":"integer"}}}}}}}})",
          R"(,"additionalPrinterColumns":[{"name":"First","type":"integer","jsonPath":".spec.ports[0].port"},
                    {"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}])"),
      "v1");
  ASSERT_TRUE(kind.ok());
  const CustomKind& custom = **kind;
  EXPECT_EQ(gvk_of(custom.type).group, "stable.example.com");
  const Field* spec = custom.type.field("spec");
  ASSERT_TRUE(spec && spec->type);
  EXPECT_STREQ(spec->type->field("ports")->list_keys, "name");
  json::value object = parse(
      R"({"metadata":{"name":"a","creationTimestamp":"2024-01-01T00:00:00Z"},"spec":{"ports":[{"name":"x","port":80}]}})");
  base::Time now = *base::parse_time("2024-01-01T00:01:00Z");
  EXPECT_EQ(base::to_json(table_cells(custom, object, now)), R"(["a",80,"60s"])");
  EXPECT_EQ(base::to_json(table_columns(custom)[1].at("name")), "\"First\"");
  ServedGroupVersion served{"stable.example.com",
                            "v1",
                            {{"crontabs",
                              "",
                              "CronTab",
                              "stable.example.com/v1/CronTab",
                              true,
                              {"get", "list", "create"},
                              &custom.type}}};
  json::value document = openapi_v3(served);
  const json::value* schema =
      base::find_path(document, "components", "schemas", "com.example.stable.v1.CronTab");
  ASSERT_TRUE(schema);
  EXPECT_EQ(base::string_at(*schema, "properties", "spec", "description"), "Wanted.");
  EXPECT_TRUE(base::find_path(*schema, "properties", "metadata"));
  EXPECT_EQ(base::string_at(schema->at("x-kubernetes-group-version-kind").at(0), "kind"), "CronTab");
}

// kubectl up to 1.24 holds manifests against version 2, which can't say null: a value that may be null or
// anything has no type there.
TEST(Structural, OpenApiTwoLeavesOpenWhatMayBeNull) {
  auto kind = compile_custom_kind(definition(R"({"type":"object","properties":{
      "any":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"x":{"type":"string"}}},
      "maybe":{"type":"object","nullable":true,"properties":{"x":{"type":"string"}}},
      "list":{"type":"array","x-kubernetes-preserve-unknown-fields":true,"items":{"type":"string"}},
      "plain":{"type":"object","properties":{"y":{"type":"string"}}}},"required":["maybe","plain"]})"),
                                  "v1");
  ASSERT_TRUE(kind.ok()) << kind.error().message();
  const CustomKind& custom = **kind;
  ServedGroupVersion served{custom.group,
                            "v1",
                            {{"crontabs",
                              "",
                              custom.kind,
                              custom.group + "/v1/" + custom.kind,
                              true,
                              {"get", "list", "create"},
                              &custom.type}}};
  std::string name = std::string(custom.type.package) + "." + custom.type.name;
  json::value document = openapi_v2({served}, "v1");
  const json::value& schema = document.at("definitions").at(name);
  const json::value& properties = schema.at("properties");
  EXPECT_EQ(base::to_json(properties.at("any")), R"({"x-kubernetes-preserve-unknown-fields":true})");
  EXPECT_EQ(base::to_json(properties.at("maybe")), "{}");
  EXPECT_EQ(base::to_json(properties.at("list")), R"({"x-kubernetes-preserve-unknown-fields":true})");
  EXPECT_EQ(base::to_json(properties.at("plain")),
            R"({"type":"object","properties":{"y":{"type":"string"}}})");
  EXPECT_EQ(base::to_json(schema.at("required")), R"(["plain"])");
  EXPECT_EQ(base::string_at(schema, "type"), "object");
  // Members that every kind has are told of in Kubernetes' words, in both versions.
  EXPECT_TRUE(
      base::string_at(properties, "apiVersion", "description")
          .starts_with("APIVersion defines the versioned schema of this representation of an object."));
  EXPECT_TRUE(
      base::string_at(properties, "kind", "description")
          .starts_with("Kind is a string value representing the REST resource this object represents."));
  EXPECT_EQ(base::string_at(openapi_v3(served).at("components").at("schemas").at(name), "properties",
                            "metadata", "description"),
            "Standard object's metadata. More info: "
            "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata");
}

}  // namespace
}  // namespace api
