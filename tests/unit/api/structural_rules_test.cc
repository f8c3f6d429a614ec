// x-kubernetes-validations: a schema with rules, objects as text, and what is refused in which words.
#include <gtest/gtest.h>

#include "api/custom/custom.h"
#include "api/defaults.h"
#include "api/structural.h"
#include "api/validate/custom.h"
#include "api/yaml.h"
#include "tests/unit/api/error_lines.h"

namespace api {
namespace {

json::value yaml(std::string_view text) {
  auto documents = parse_yaml(text);
  EXPECT_TRUE(documents.ok()) << text;
  return documents.ok() ? documents->at(0) : json::value();
}
json::value definition(std::string_view spec_schema) {
  json::value out = yaml(R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, listKind: BoatList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: SPEC}}}}]
)");
  out.at("spec")
      .at("versions")
      .at(0)
      .at("schema")
      .at("openAPIV3Schema")
      .at("properties")
      .get_object()["spec"] = yaml(spec_schema);
  api::defaults("apiextensions.k8s.io/v1/CustomResourceDefinition", out);
  return out;
}
std::string refused(std::string_view spec_schema) {
  return lines(validate_custom_resource_definition(definition(spec_schema), nullptr));
}

struct Boats {
  explicit Boats(std::string_view spec_schema) {
    json::value made = definition(spec_schema);
    EXPECT_EQ(lines(validate_custom_resource_definition(made, nullptr)), "");
    auto compiled = compile_custom_kind(made, "v1");
    EXPECT_TRUE(compiled.ok());
    kind = *compiled;
  }
  static json::value boat(std::string_view spec) {
    return yaml("{apiVersion: example.com/v1, kind: Boat, metadata: {name: b}, spec: " + std::string(spec) +
                "}");
  }
  std::string created(std::string_view spec) const {
    return lines(validate_custom_object(kind->type, boat(spec), nullptr));
  }
  std::string updated(std::string_view before, std::string_view after) const {
    json::value old = boat(before);
    return lines(validate_custom_object(kind->type, boat(after), &old));
  }
  std::shared_ptr<const CustomKind> kind;
};

TEST(StructuralRules, RefuseWithTheRulesMessage) {
  Boats boats(R"y(
type: object
x-kubernetes-validations:
- {rule: self.min <= self.max, message: min must not exceed max}
- {rule: 'has(self.a) != has(self.b)', message: exactly one of a and b, reason: FieldValueRequired, fieldPath: .a}
- {rule: self.max < 100, messageExpression: "'max is ' + string(self.max)"}
- {rule: self.min != 13}
properties:
  min: {type: integer}
  max: {type: integer}
  a: {type: string, x-kubernetes-validations: [{rule: "self.startsWith('x')", message: must start with x}]}
  b: {type: string}
)y");
  EXPECT_EQ(boats.created("{min: 1, max: 2, b: q}"), "");
  EXPECT_EQ(boats.created("{min: 3, max: 2, b: q}"), "spec: Invalid value: min must not exceed max");
  EXPECT_EQ(boats.created("{min: 1, max: 2}"), "spec.a: Required value: exactly one of a and b");
  EXPECT_EQ(boats.created("{min: 1, max: 200, b: q}"), "spec: Invalid value: max is 200");
  EXPECT_EQ(boats.created("{min: 13, max: 20, b: q}"), "spec: Invalid value: failed rule: self.min != 13");
  EXPECT_EQ(boats.created("{min: 1, max: 2, a: q}"), "spec.a: Invalid value: \"q\": must start with x");
  EXPECT_EQ(boats.created("{max: 2, b: q}"),
            "spec: Invalid value: \"object\": no such key: min evaluating rule: min must not exceed max\n"
            "spec: Invalid value: \"object\": no such key: min evaluating rule: self.min != 13");
}

TEST(StructuralRules, ReservedWordsAreNamesAfterADot) {
  Boats boats(R"y(
type: object
x-kubernetes-validations:
- {rule: "!has(self.namespace) || size(self.namespace) < 3", message: too long}
- {rule: "!has(self.__package__) || self.__package__ == self.package", message: one field by two names}
- {rule: "self.crew.all(c, !has(c.let) || c.let.while > 1)", message: too few}
properties:
  namespace: {type: string}
  package: {type: string}
  crew: {type: array, maxItems: 8, items: {type: object, properties: {let: {type: object, required: [while], properties: {while: {type: integer}}}}}}
)y");
  EXPECT_EQ(boats.created("{namespace: ab, package: p, crew: [{}, {let: {while: 2}}]}"), "");
  EXPECT_EQ(boats.created("{namespace: abc, crew: []}"), "spec: Invalid value: too long");
  EXPECT_EQ(boats.created("{crew: [{let: {while: 1}}]}"), "spec: Invalid value: too few");
  EXPECT_NE(refused("{type: object, x-kubernetes-validations: [{rule: 'self.namespace == 1'}]}")
                .find("undefined field 'namespace'"),
            std::string::npos);
}

TEST(StructuralRules, TransitionsWhereOldAndNewBelongTogether) {
  Boats boats(R"(
type: object
properties:
  name: {type: string, x-kubernetes-validations: [{rule: self == oldSelf, message: name is immutable}]}
  size: {type: integer, x-kubernetes-validations: [{rule: 'oldSelf.hasValue() ? self >= oldSelf.value() : self > 0', optionalOldSelf: true, message: may only grow}]}
  crew:
    type: array
    maxItems: 10
    x-kubernetes-list-type: map
    x-kubernetes-list-map-keys: [id]
    items: {type: object, required: [id], properties: {id: {type: string}, rank: {type: integer, x-kubernetes-validations: [{rule: self >= oldSelf, message: no demotion}]}}}
  ports: {type: object, additionalProperties: {type: integer, x-kubernetes-validations: [{rule: self >= oldSelf, message: no lower port}]}}
)");
  EXPECT_EQ(boats.created("{name: a, size: 0}"), "spec.size: Invalid value: 0: may only grow");
  EXPECT_EQ(boats.updated("{name: a}", "{name: b}"), "spec.name: Invalid value: \"b\": name is immutable");
  EXPECT_EQ(boats.updated("{}", "{name: b}"), "");
  EXPECT_EQ(boats.updated("{size: 2}", "{size: 1}"), "spec.size: Invalid value: 1: may only grow");
  EXPECT_EQ(boats.updated("{crew: [{id: a, rank: 3}, {id: b, rank: 1}]}",
                          "{crew: [{id: b, rank: 1}, {id: a, rank: 2}, {id: c, rank: 0}]}"),
            "spec.crew[1].rank: Invalid value: 2: no demotion");
  EXPECT_EQ(boats.updated("{ports: {http: 80}}", "{ports: {http: 79, new: 1}}"),
            "spec.ports[http]: Invalid value: 79: no lower port");
}

TEST(StructuralRules, WhatDidNotChangeMayStay) {
  Boats boats(R"(
type: object
properties:
  old: {type: string, x-kubernetes-validations: [{rule: self != 'bad'}]}
  list: {type: array, items: {type: string, x-kubernetes-validations: [{rule: self != 'bad'}]}}
  other: {type: string}
)");
  EXPECT_EQ(boats.updated("{old: bad, list: [bad], other: a}", "{old: bad, list: [bad], other: b}"), "");
  EXPECT_EQ(boats.updated("{old: bad, list: [bad]}", "{old: bad, list: [bad, new]}"),
            "spec.list[0]: Invalid value: \"bad\": failed rule: self != 'bad'");
}

TEST(StructuralRules, AreNotAskedOfWhatTheSchemaRefuses) {
  Boats boats(
      "{type: object, required: [a], x-kubernetes-validations: [{rule: self.a == 'x'}], properties: {a: "
      "{type: string}}}");
  EXPECT_EQ(boats.created("{}"),
            "spec.a: Required value\n<nil>: Invalid value: null: some validation rules were not checked "
            "because the object was invalid; correct the existing errors "
            "to complete validation");
}

TEST(StructuralRules, HaveABudget) {
  Boats boats(R"(
type: object
properties:
  list: {type: array, items: {type: integer}, x-kubernetes-validations: [{rule: 'self.all(a, self.all(b, self.all(c, a + b + c >= 0)))', message: sum}]}
)");
  std::string list = "{list: [0";
  for (int i = 1; i < 200; ++i) list += ", " + std::to_string(i);
  EXPECT_EQ(boats.created(list + "]}"),
            "spec.list: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no "
            "further validation rules will be run due to call cost exceeds "
            "limit for rule: sum");
}

TEST(StructuralRules, WrongRulesAreTheDefinitions) {
  const std::string at = "spec.validation.openAPIV3Schema.properties[spec]";
  auto rule = [&](const std::string& text) {
    return refused(
        "{type: object, properties: {a: {type: string}, l: {type: array, items: {type: integer}}}, "
        "x-kubernetes-validations: [" +
        text + "]}");
  };
  EXPECT_EQ(rule("{rule: self.b == 'x'}"),
            at + ".x-kubernetes-validations[0].rule: Invalid value: \"self.b == 'x'\": compilation failed: "
                 "ERROR: <input>:1:5: undefined field 'b'\n | self.b == 'x'\n | ....^");
  EXPECT_EQ(rule("{rule: self.a}"), at + ".x-kubernetes-validations[0].rule: Invalid value: \"self.a\": cel "
                                         "expression must evaluate to a bool");
  EXPECT_EQ(rule("{rule: ' '}"),
            at + ".x-kubernetes-validations[0].rule: Required value: rule is not specified");
  EXPECT_EQ(rule("{rule: 'true', messageExpression: '1'}"),
            at + ".x-kubernetes-validations[0].messageExpression: Invalid value: \"1\": messageExpression "
                 "must evaluate to a string");
  EXPECT_EQ(rule("{rule: 'true', fieldPath: .nope}"),
            at + ".x-kubernetes-validations[0].fieldPath: Invalid value: \".nope\": must be a valid path");
  EXPECT_EQ(
      rule("{rule: 'true', reason: Odd}"),
      at + ".x-kubernetes-validations[0].reason: Unsupported value: \"Odd\": supported values: "
           "\"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"");
  EXPECT_EQ(
      refused("{type: array, items: {type: string, x-kubernetes-validations: [{rule: self == oldSelf}]}}"),
      at +
          ".items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be "
          "used on the uncorrelatable portion of the schema within " +
          at);
}

}  // namespace
}  // namespace api
