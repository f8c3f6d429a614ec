#include "api/openapi_proto.h"

#include <gtest/gtest.h>

namespace api {
namespace {

TEST(OpenApiProto, EncodesAsProtocolBuffers) {
  auto document = base::parse_json(R"({"swagger":"2.0","info":{"title":"T","version":"v"},"paths":{},
    "definitions":{"a.B":{"type":"object","required":["n"],"properties":{"n":{"type":"string"}},"x-y":[1]}}})")
                      .value();
  // Field numbers and wire types by hand from the message definitions.
  std::string expected = std::string(
                             "\x0a\x03"
                             "2.0"
                             "\x12\x06"
                             "\x0a\x01"
                             "T"
                             "\x12\x01"
                             "v"
                             "\x42") +
                         '\0';
  std::string property = std::string(
                             "\x0a\x01"
                             "n",
                             3) +
                         "\x12\x0b" + "\xb2\x01\x08\x0a\x06" + "string";
  std::string schema = std::string("\x9a\x01\x01n") + "\xb2\x01\x08\x0a\x06object";
  std::string properties = "\x0a" + std::string(1, static_cast<char>(property.size())) + property;
  schema += "\xca\x01" + std::string(1, static_cast<char>(properties.size())) + properties;
  std::string extension = std::string("\x0a\x03x-y\x12\x05\x12\x03[1]");
  schema += "\xfa\x01" + std::string(1, static_cast<char>(extension.size())) + extension;
  std::string named =
      "\x0a\x03"
      "a.B"
      "\x12" +
      std::string(1, static_cast<char>(schema.size())) + schema;
  std::string definitions = "\x0a" + std::string(1, static_cast<char>(named.size())) + named;
  expected += "\x4a" + std::string(1, static_cast<char>(definitions.size())) + definitions;
  EXPECT_EQ(openapi_v2_protobuf(document), expected);
}
}  // namespace
}  // namespace api
