#include "api/protobuf.h"

#include <gtest/gtest.h>

namespace api {
namespace {

const Type& kind(std::string_view package, std::string_view name) {
  const Type* type = find_type(package, name);
  EXPECT_NE(type, nullptr) << name;
  return *type;
}
const Type& core(std::string_view name) { return kind("io.k8s.api.core.v1", name); }

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string number(int field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(int field, std::string_view value) {
  return varint(field << 3 | 2) + varint(value.size()) + std::string(value);
}
std::string body(std::string_view version, std::string_view kind, std::string_view raw) {
  return std::string("k8s\0", 4) + bytes(1, bytes(1, version) + bytes(2, kind)) + bytes(2, raw) +
         bytes(3, "") + bytes(4, "");
}
std::string text(const Type& type, const std::string& body) {
  auto decoded = protobuf_to_json(type, body);
  return decoded.ok() ? base::to_json(*decoded) : decoded.error().message();
}

TEST(Protobuf, AConfigMapAsKubectlSendsIt) {
  // Recorded from `kubectl create configmap x`.
  static const unsigned char kSent[] = {
      0x6b, 0x38, 0x73, 0x00, 0x0a, 0x0f, 0x0a, 0x02, 0x76, 0x31, 0x12, 0x09, 0x43, 0x6f, 0x6e, 0x66,
      0x69, 0x67, 0x4d, 0x61, 0x70, 0x12, 0x13, 0x0a, 0x11, 0x0a, 0x01, 0x78, 0x12, 0x00, 0x1a, 0x00,
      0x22, 0x00, 0x2a, 0x00, 0x32, 0x00, 0x38, 0x00, 0x42, 0x00, 0x1a, 0x00, 0x22, 0x00};
  EXPECT_EQ(text(core("ConfigMap"), std::string(reinterpret_cast<const char*>(kSent), sizeof kSent)),
            R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}})");
}

TEST(Protobuf, MapsBytesAndTimes) {
  std::string meta = bytes(1, "s") + bytes(8, number(1, 1767323045)) +
                     bytes(11, bytes(1, "app") + bytes(2, "web")) +
                     bytes(11, bytes(1, "tier") + bytes(2, ""));
  EXPECT_EQ(
      text(core("Secret"),
           body("v1", "Secret", bytes(1, meta) + bytes(2, bytes(1, "k") + bytes(2, "\x01\xff")))),
      R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","creationTimestamp":"2026-01-02T03:04:05Z",)"
      R"("labels":{"app":"web","tier":""}},"data":{"k":"Af8="}})");
}

TEST(Protobuf, ZeroIsAbsentExceptWhereItMeansSomething) {
  const Type& deployment = kind("io.k8s.api.apps.v1", "Deployment");
  // replicas (1) is a pointer, minReadySeconds (5) and paused (7) are not.
  std::string spec = number(1, 0) + number(5, 0) + number(7, 0);
  EXPECT_EQ(text(deployment, body("apps/v1", "Deployment", bytes(2, spec))),
            R"({"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":0}})");
}

TEST(Protobuf, FieldsThatJsonSpreadsOverTheirOwner) {
  // Volume{name, volumeSource{emptyDir{medium}}}; Probe{handler{httpGet{path, port}}}.
  std::string volume = bytes(1, "v") + bytes(2, bytes(2, bytes(1, "Memory")));
  std::string probe =
      bytes(1, bytes(2, bytes(1, "/") + bytes(2, number(1, 1) + bytes(3, "http")))) + number(2, 5);
  std::string container =
      bytes(1, "c") + bytes(10, probe) + bytes(8, bytes(1, bytes(1, "cpu") + bytes(2, bytes(1, "100m"))));
  EXPECT_EQ(
      text(core("Pod"), body("v1", "Pod", bytes(2, bytes(1, volume) + bytes(2, container)))),
      R"({"apiVersion":"v1","kind":"Pod","spec":{"volumes":[{"name":"v","emptyDir":{"medium":"Memory"}}],)"
      R"("containers":[{"name":"c","livenessProbe":{"httpGet":{"path":"/","port":"http"},"initialDelaySeconds":5},)"
      R"("resources":{"limits":{"cpu":"100m"}}}]}})");
}

TEST(Protobuf, NegativeNumbersPortsAndAnotherKind) {
  std::string port = bytes(1, "p") + number(3, 80) + bytes(4, number(1, 0) + number(2, 8080));
  EXPECT_EQ(
      text(core("Service"), body("v1", "Service", bytes(2, bytes(1, port)))),
      R"({"apiVersion":"v1","kind":"Service","spec":{"ports":[{"name":"p","port":80,"targetPort":8080}]}})");
  std::string spec = number(4, static_cast<uint64_t>(-5));  // terminationGracePeriodSeconds
  EXPECT_EQ(text(core("Pod"), body("v1", "Pod", bytes(2, spec))),
            R"({"apiVersion":"v1","kind":"Pod","spec":{"terminationGracePeriodSeconds":-5}})");
  EXPECT_EQ(text(core("Pod"), body("v1", "Secret", bytes(1, "garbage"))),
            R"({"apiVersion":"v1","kind":"Secret"})");
}

TEST(Protobuf, NestsAsDeepAsJson) {
  const Type& revision = kind("io.k8s.api.apps.v1", "ControllerRevision");
  auto sent = [&](size_t depth) {  // of the object, whose data is raw JSON
    std::string raw = R"({"a":)" + std::string(depth - 2, '[') + std::string(depth - 2, ']') + "}";
    return text(revision, body("apps/v1", "ControllerRevision", bytes(2, bytes(1, raw))));
  };
  EXPECT_TRUE(sent(base::kMaxJsonDepth).starts_with("{")) << sent(base::kMaxJsonDepth);
  EXPECT_EQ(sent(base::kMaxJsonDepth + 1), "decode protobuf: exceeded max depth");
  EXPECT_NE(sent(base::kMaxJsonDepth + 2).find("exceeded max depth"), std::string::npos);
}

TEST(Protobuf, UnknownNumbersAreSkipped) {
  EXPECT_EQ(
      text(core("ConfigMap"), body("v1", "ConfigMap", number(200, 7) + bytes(100000, "x") + bytes(99, "y"))),
      R"({"apiVersion":"v1","kind":"ConfigMap"})");
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (unsigned char c : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", c);
    out += two;
  }
  return out;
}

TEST(ProtobufOut, BytesAsTheWireFormatSays) {
  auto object =
      base::parse_json(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"k":"v"}})")
          .value();
  EXPECT_EQ(hex(protobuf_of(core("ConfigMap"), object)),
            "6b387300"  // the magic
            "0a0f0a02763112"
            "09436f6e6669674d6170"  // v1, ConfigMap
            "120d"
            "0a030a0178"
            "12060a016b120176"  // metadata{name}, data{k: v}
            "1a002200");
  EXPECT_EQ(hex(protobuf_event_frame("ADDED", "abc")),
            "0000000e"
            "0a054144444544"
            "12050a03616263");
  std::string list;
  append_protobuf_item(list, 2, "x");
  EXPECT_EQ(hex(list), "120178");
}

TEST(ProtobufOut, WhatIsReadBackIsTheSame) {
  const std::pair<const Type*, const char*> kObjects[] = {
      {&core("Pod"),
       R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","creationTimestamp":"2026-01-02T03:04:05Z","labels":{"a":"b"},)"
       R"("managedFields":[{"manager":"m","operation":"Apply","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{}}}]},)"
       R"("spec":{"volumes":[{"name":"v","emptyDir":{}},{"name":"w","projected":{"sources":[{"configMap":{"name":"c"}}],"defaultMode":420}}],)"
       R"("containers":[{"name":"c","args":["","x"],"ports":[{"containerPort":80,"protocol":"TCP"}],)"
       R"("resources":{"limits":{"cpu":"100m"}},"livenessProbe":{"httpGet":{"path":"/","port":"http"},"initialDelaySeconds":5},)"
       R"("securityContext":{"runAsUser":0,"runAsNonRoot":false}}],"terminationGracePeriodSeconds":0,"hostNetwork":true}})"},
      {&core("Secret"),
       R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":"Af8=","empty":""}})"},
      {&core("Service"),
       R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":80,"targetPort":8080}]}})"},
      {&kind("io.k8s.api.coordination.v1", "Lease"),
       R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l"},"spec":{"renewTime":"2026-01-02T03:04:05.678901Z","leaseTransitions":0}})"},
      {&kind("io.k8s.api.admissionregistration.v1",
             "ValidatingAdmissionPolicy"),  // messages in messages that JSON spreads
       R"({"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"v"},"spec":{"matchConstraints":)"
       R"({"resourceRules":[{"resourceNames":["n"],"operations":["*"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"],"scope":"*"}]}}})"},
      {&kind("io.k8s.api.storage.v1", "StorageClass"),
       R"({"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"s"},"provisioner":"p","allowedTopologies":[{"matchLabelExpressions":[{"key":"k","values":["v"]}]}]})"}};
  for (const auto& [type, written] : kObjects) {
    auto object = base::parse_json(written).value();
    auto back = protobuf_to_json(*type, protobuf_of(*type, object));
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(*back, object) << base::to_json(*back);
  }
}

TEST(ProtobufOut, WhatIsOfTheWrongTypeStaysAway) {
  auto object =
      base::parse_json(
          R"({"apiVersion":"v1","kind":"Pod","metadata":7,"spec":{"containers":"x","hostNetwork":"yes","nodeName":5,"x":1}})")
          .value();
  auto back = protobuf_to_json(core("Pod"), protobuf_of(core("Pod"), object)).value();
  EXPECT_EQ(base::to_json(back), R"({"apiVersion":"v1","kind":"Pod","spec":{}})");
  EXPECT_FALSE(has_protobuf(
      kind("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "CustomResourceDefinition")));
}

TEST(Protobuf, EveryCutAndEveryFlippedByteIsAnAnswerOrAnError) {
  std::string volume = bytes(1, "v") + bytes(2, bytes(2, bytes(1, "Memory")));
  std::string good =
      body("v1", "Pod",
           bytes(1, bytes(1, "n") + bytes(8, number(1, 99))) + bytes(2, bytes(1, volume) + number(4, 30)));
  for (size_t i = 0; i < good.size(); ++i) {
    (void)protobuf_to_json(core("Pod"), good.substr(0, i));
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      (void)protobuf_to_json(core("Pod"), bad);
    }
  }
  EXPECT_NE(text(core("Pod"), "{}").find("magic"), std::string::npos);
  EXPECT_NE(text(core("ConfigMap"), body("v1", "ConfigMap", bytes(1, bytes(1, "\xc3(")))).find("UTF-8"),
            std::string::npos);
  EXPECT_NE(text(core("ConfigMap"), body("v1", "ConfigMap", number(1, 3))).find("wire type"),
            std::string::npos);
}

}  // namespace
}  // namespace api
