// Properties of run-time schemas over drawn schemas and drawn objects. The seed of a failure is
// printed; SAMPAN_SEED runs it alone.
#include "api/structural.h"
#include "api/custom/custom.h"
#include "api/validate/custom.h"

#include <gtest/gtest.h>

#include "api/openapi.h"
#include "api/patch/field_set.h"
#include "api/walk.h"
#include "tests/prop/draw.h"

namespace api {
namespace {

using prop::Draw;
using prop::each_seed;
std::string name(Draw& draw) { return std::string(1, static_cast<char>('a' + draw.upto(5))); }

json::value any_value(Draw& draw, int depth) {
  switch (draw.upto(depth > 0 ? 6 : 4)) {
    case 0: return nullptr;
    case 1: return draw.chance(50);
    case 2: return draw.upto(20) - 5;
    case 3: return draw.upto(100) / 7.0;
    case 4:
      return json::value(
          std::string(static_cast<size_t>(draw.upto(6)), static_cast<char>('a' + draw.upto(3))));
    case 5: {
      json::array list;
      for (int i = draw.upto(3); i > 0; --i) list.push_back(any_value(draw, depth - 1));
      return list;
    }
    default: {
      json::object map;
      for (int i = draw.upto(4); i > 0; --i) map[name(draw)] = any_value(draw, depth - 1);
      return map;
    }
  }
}
// A structural schema, as a client would write it; now and then with what is not allowed.
json::value schema(Draw& draw, int depth) {
  json::object out;
  static const char* const kTypes[] = {"string", "integer", "number", "boolean", "array", "object"};
  std::string type = kTypes[draw.upto(depth > 0 ? 5 : 3)];
  out["type"] = type;
  if (draw.chance(15)) out["nullable"] = true;
  if (type == "string" && draw.chance(40)) out["maxLength"] = draw.upto(4);
  if (type == "string" && draw.chance(20)) out["pattern"] = "^[ab]*$";
  if (type == "string" && draw.chance(10)) out["format"] = "date-time";
  if ((type == "integer" || type == "number") && draw.chance(40)) out["minimum"] = draw.upto(3);
  if (type == "array") {
    out["items"] = schema(draw, depth - 1);
    if (draw.chance(20)) out["x-kubernetes-list-type"] = draw.chance(50) ? "set" : "atomic";
  }
  if (type == "object") {
    if (draw.chance(25)) {
      out["additionalProperties"] = schema(draw, depth - 1);
    } else {
      json::object properties;
      for (int i = draw.upto(4); i > 0; --i) properties[name(draw)] = schema(draw, depth - 1);
      if (!properties.empty() && draw.chance(30))
        out["required"] = json::array{json::value(properties.begin()->key())};
      out["properties"] = std::move(properties);
      if (draw.chance(15)) out["x-kubernetes-preserve-unknown-fields"] = true;
    }
  }
  if (draw.chance(25)) out["default"] = any_value(draw, 2);
  if (draw.chance(5)) out["x-kubernetes-int-or-string"] = true;
  if (draw.chance(10))
    out["anyOf"] = json::array{json::object{{"minimum", 1}}, json::object{{"required", json::array{"a"}}}};
  return out;
}
json::value definition(json::value spec) {
  json::object root{{"type", "object"}, {"properties", json::object{{"spec", std::move(spec)}}}};
  return json::object{
      {"metadata", json::object{{"name", "as.example.com"}}},
      {"spec",
       json::object{{"group", "example.com"},
                    {"scope", "Namespaced"},
                    {"names", json::object{{"plural", "as"}, {"kind", "A"}, {"listKind", "AList"}}},
                    {"versions", json::array{json::object{
                                     {"name", "v1"},
                                     {"served", true},
                                     {"storage", true},
                                     {"schema", json::object{{"openAPIV3Schema", std::move(root)}}}}}}}}};
}

TEST(PropStructural, WhatIsAcceptedWorksInEveryWalk) {
  int accepted = 0;
  each_seed(3000, [&](Draw& draw) {
    json::value made = definition(schema(draw, 3));
    if (!validate_custom_resource_definition(made, nullptr).empty()) return;
    ++accepted;
    auto kind = compile_custom_kind(made, "v1");
    ASSERT_TRUE(kind.ok()) << kind.error().message() << base::to_json(made);
    const Type& type = (*kind)->type;
    for (int i = 0; i < 5; ++i) {
      json::value object = json::object{{"apiVersion", "example.com/v1"},
                                        {"kind", "A"},
                                        {"metadata", json::object{{"name", "a"}}},
                                        {"spec", any_value(draw, 4)}};
      json::value before = object;
      std::vector<std::string> unknown;
      prune(type, object, &unknown);
      json::value once = object;
      std::vector<std::string> more;
      prune(type, object, &more);
      EXPECT_EQ(object, once) << "pruning twice differs";
      EXPECT_TRUE(more.empty());
      EXPECT_EQ(unknown.empty(), object == before) << "what went was not told";
      apply_defaults(type, object);
      json::value filled = object;
      apply_defaults(type, object);
      EXPECT_EQ(object, filled) << "defaults twice differ";
      prune(type, object, &more);
      EXPECT_EQ(object, filled) << "a default was pruned";
      // Nothing that did not change is complained about; the errors of a create all lie in the object.
      EXPECT_TRUE(validate_custom_object(type, object, &object).empty());
      for (const FieldError& error : validate_custom_object(type, object, nullptr))
        EXPECT_TRUE(error.field == "<nil>" || error.field.starts_with("spec")) << error.message();
      fields_of(type, object);
    }
    ServedGroupVersion served{
        "example.com", "v1", {{"as", "", "A", "example.com/v1/A", true, {"get", "list"}, &type}}};
    EXPECT_TRUE(openapi_v3(served).is_object());
    EXPECT_TRUE(openapi_v2({served}, "v1").is_object());
  });
  EXPECT_TRUE(std::getenv("SAMPAN_SEED") || accepted > 300) << "too few schemas were tried: " << accepted;
}

TEST(PropStructural, NoBytesBringDefinitionsDown) {
  each_seed(3000, [](Draw& draw) {
    json::value made = definition(schema(draw, 3));
    std::string text = base::to_json(made);
    for (int i = draw.upto(5); i >= 0; --i) {
      size_t at = static_cast<size_t>(draw.random() % text.size());
      static constexpr char kBytes[] = "{}[]\",:0truenull\\-xtype";
      if (draw.chance(50)) text[at] = kBytes[draw.upto(sizeof kBytes - 2)];
      else text.erase(at, static_cast<size_t>(draw.upto(8)) + 1);
      if (text.empty()) return;
    }
    auto parsed = base::parse_json(text);
    if (!parsed.ok()) return;
    json::value broken = std::move(*parsed);
    if (!validate_custom_resource_definition(broken, nullptr).empty()) return;
    auto kind = compile_custom_kind(broken, "v1");
    if (!kind.ok()) return;
    json::value object = any_value(draw, 4);
    prune((*kind)->type, object);
    apply_defaults((*kind)->type, object);
    validate_custom_object((*kind)->type, object, nullptr);
  });
}

}  // namespace
}  // namespace api
