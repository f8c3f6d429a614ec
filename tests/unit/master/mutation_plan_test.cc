// What mutations make of objects, and who has a second turn: expressions and objects in, text out.
#include "master/admission/mutation_plan.h"

#include <gtest/gtest.h>

#include "api/cel/cel.h"
#include "api/walk.h"

namespace master {
namespace {

namespace json = base::json;
namespace cel = api::cel;

constexpr const char* kPod =
    R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i"}],"dnsPolicy":"Default"}})";

// What the expression makes of `object`, or why not.
std::string changed(const std::string& expression, bool json_patch, const char* object = kPod,
                    const char* gvk = "v1/Pod") {
  auto program =
      cel::compile(expression, {{"object", cel::simple(cel::Kind::dyn)}}, cel::Constructors::kPatches);
  if (!program.ok()) return "compile: " + program.error().reason;
  const json::value parsed = base::parse_json(object).value();
  uint64_t cost = 0;
  auto made = (*program)->evaluate({cel::Value::of_json(parsed)}, cel::kExpressionBudget, &cost);
  if (!made.ok()) return "evaluate: " + made.error().reason;
  auto result = apply_mutation(*api::find_kind(gvk), parsed, json_patch, *made);
  return result.ok() ? base::to_json(*result) : "error: " + result.error().reason;
}
std::string applied(const std::string& expression) { return changed(expression, false); }
std::string patched(const std::string& expression) { return changed(expression, true); }
// kPod with one piece of its text replaced.
std::string pod_with(const std::string& piece, const std::string& by) {
  std::string out = kPod;
  return out.replace(out.find(piece), piece.size(), by);
}

TEST(MutationPlan, AnObjectIsMergedAsAnApplyMerges) {
  EXPECT_EQ(applied(R"(Object{metadata: Object.metadata{labels: {"team": "a"}}})"),
            pod_with(R"("app":"web")", R"("app":"web","team":"a")"));
  EXPECT_EQ(applied(R"(Object{spec: Object.spec{dnsPolicy: "None"}})"), pod_with("Default", "None"));
  EXPECT_EQ(
      applied(
          R"(Object{spec: Object.spec{containers: [Object.spec.containers{name: "side", image: object.spec.containers[0].image}]}})"),
      pod_with(R"("image":"i"})", R"("image":"i"},{"image":"i","name":"side"})"));
  EXPECT_EQ(
      applied(
          R"(Object{spec: Object.spec{containers: object.spec.containers.map(c, Object.spec.containers{name: c.name, imagePullPolicy: "Always"})}})"),
      pod_with(R"("image":"i")", R"("image":"i","imagePullPolicy":"Always")"));
  EXPECT_EQ(applied("Object{}"), kPod);
  EXPECT_EQ(applied(R"(Object{spec: Object.spec{?dnsPolicy: object.spec.?nope}})"), kPod);
}
TEST(MutationPlan, WhatCannotBeMergedIsSaid) {
  EXPECT_EQ(
      applied(
          R"(Object{spec: Object.spec{containers: [Object.spec.containers{name: "c", args: ["-v"], command: ["x"]}]}})"),
      "error: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or "
      "structs: .spec.containers[0].args, .spec.containers[0].command");
  EXPECT_EQ(applied(R"(Object{spec: Object.spec{nope: 1}})"),
            "error: error applying patch: failed to convert patch object to typed object: .spec.nope: field "
            "not declared in schema");
  EXPECT_EQ(applied(R"(Object{spec: Object.spec{securityContext: Object.spec.wrong{}}})"),
            "error: type mismatch: unexpected type name \"Object.spec.wrong\", expected "
            "\"Object.spec.securityContext\", which matches field name path from root Object type");
  EXPECT_EQ(applied(R"(Object{spec: Object.spec{dnsPolicy: duration("x")}})").substr(0, 10), "evaluate: ");
  EXPECT_NE(applied(R"(Object{spec: Object.spec{dnsPolicy: {1: "x"}}})").find("map key 1 is of type int"),
            std::string::npos);
  EXPECT_NE(applied(R"(Object{spec: Object.spec{containers: [Object.spec.containers{image: "x"}]}})")
                .find("associative list with keys has an element that omits key field \"name\""),
            std::string::npos);
  EXPECT_NE(applied(R"(Object{spec: Object.spec{hostNetwork: "yes"}})").find("hostNetwork"),
            std::string::npos);
}
TEST(MutationPlan, PatchesAreAppliedInOrder) {
  EXPECT_EQ(patched(R"([JSONPatch{op: "replace", path: "/spec/dnsPolicy", value: "None"}])"),
            pod_with("Default", "None"));
  EXPECT_EQ(
      patched(
          R"([JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b"), value: "1"}, JSONPatch{op: "move", from: "/metadata/labels/app", path: "/metadata/labels/was"}])"),
      pod_with(R"("app":"web")", R"("a/b":"1","was":"web")"));
  EXPECT_EQ(
      patched(
          R"([JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{name: "s", ports: [Object.spec.containers.ports{containerPort: 80}]}}])"),
      pod_with(R"("image":"i"})", R"("image":"i"},{"name":"s","ports":[{"containerPort":80}]})"));
  EXPECT_EQ(patched("[]"), kPod);
  EXPECT_EQ(
      patched(
          R"([JSONPatch{op: "remove", path: "/spec/dnsPolicy"}, JSONPatch{op: "test", path: "/metadata/name", value: "q"}])"),
      kPod)
      << "a test that fails leaves all as it was";
}
TEST(MutationPlan, PatchesThatDoNotFit) {
  EXPECT_EQ(patched(R"([JSONPatch{op: "remove", path: "/spec/nope"}])"),
            "error: JSONPath: path \"/spec/nope\" does not exist");
  EXPECT_NE(patched(R"([JSONPatch{op: "add", path: "/spec/x", value: Object.spec{a: Object.other{}}}])")
                .find("unexpected type name \"Object.other\", expected \"Object.spec.a\""),
            std::string::npos);
  EXPECT_NE(patched(R"([dyn({"op": "remove"})])").find("should evaluate to array of JSONPatch"),
            std::string::npos);
  EXPECT_NE(patched(R"([JSONPatch{op: "add", path: "/spec/x", value: [0.0/0.0]}])").find("could not marshal"),
            std::string::npos);
}
// One value inside itself thirty times over is a thousand million values.
TEST(MutationPlan, NothingGrowsWithoutBound) {
  std::string inner = "Object{spec: Object.spec{dnsPolicy: v30}}";
  for (int i = 30; i > 0; --i) inner = fmt::format("cel.bind(v{}, [v{}, v{}], {})", i, i - 1, i - 1, inner);
  EXPECT_EQ(applied("cel.bind(v0, ['x'], " + inner + ")"), "error: the value is too large");
}
TEST(MutationPlan, ManyOperationsOfOneValueAreBoundedTogether) {
  const std::string large = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"k":")" +
                            std::string(900'000, 'x') + R"("}})";
  const std::string test = R"(JSONPatch{op: "test", path: "/data", value: object.data})";
  EXPECT_EQ(changed("[" + test + "]", true, large.c_str(), "v1/ConfigMap"), large);
  EXPECT_EQ(changed("[1, 2, 3, 4, 5, 6].map(i, " + test + ")", true, large.c_str(), "v1/ConfigMap"),
            "error: JSONPath: the operations are too large");
}

TEST(MutationPlan, CompileErrorsAreCelGos) {
  EXPECT_NE(applied("Thing{a: 1}").find("undeclared reference to 'Thing' (in container '')"),
            std::string::npos);
  EXPECT_NE(patched("[JSONPatch{opp: 'add'}]").find("undefined field 'opp'"), std::string::npos);
  EXPECT_NE(patched("[JSONPatch{op: 1}]").find("expected type 'string' but found 'int'"), std::string::npos);
  EXPECT_NE(applied("Object{a 1}").find("Syntax error"), std::string::npos);
  EXPECT_NE(applied("Object{1: 1}").find("Syntax error"), std::string::npos);
  auto plain = cel::compile("Object{}", {});
  ASSERT_FALSE(plain.ok()) << "only where an object is changed";
  EXPECT_NE(plain.error().reason.find("undeclared reference to 'Object'"), std::string::npos);
}

TEST(MutationPlan, TheSecondTurn) {
  Reinvocation turns;
  turns.ran("a", true, false);
  turns.ran("b", false, false);
  EXPECT_FALSE(turns.is_due("a")) << "nothing changed";
  turns.ran("c", true, true);
  EXPECT_TRUE(turns.is_due("a")) << "it ran before the change";
  EXPECT_FALSE(turns.is_due("b")) << "it does not wish it";
  EXPECT_FALSE(turns.is_due("c")) << "its own change";
  turns.changed();
  EXPECT_TRUE(turns.is_due("c"));
}

}  // namespace
}  // namespace master
