#include "api/schema.h"

#include <gtest/gtest.h>

#include "api/types.h"

namespace api {
namespace {

TEST(Schema, StructsRoundTrip) {
  const char* text = R"({"metadata":{"name":"a","labels":{"x":"y"}},"spec":{"containers":[{"name":"c",
    "image":"i","ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":"web"}},
    "resources":{"limits":{"cpu":"500m"}}}],"hostNetwork":false}})";
  auto pod = decode_text<Pod>(text);
  ASSERT_TRUE(pod.ok()) << pod.error().message();
  EXPECT_EQ(pod->spec->containers[0].ports[0].container_port, 80);
  EXPECT_EQ(pod->spec->host_network, false);
  EXPECT_FALSE(pod->spec->host_pid.has_value());
  EXPECT_EQ(encode(*pod), base::parse_json(text).value());
}
TEST(Schema, NamesTheFieldOfAWrongType) {
  auto pod = decode_text<Pod>(R"({"spec":{"hostNetwork":"yes"}})");
  ASSERT_FALSE(pod.ok());
  EXPECT_EQ(pod.error().message(), "decode field hostNetwork: expected a boolean, found string");
}
TEST(Schema, TypesAreFoundByPackageAndName) {
  const Type* type = find_type("io.k8s.api.events.v1", "Event");
  ASSERT_NE(type, nullptr);
  EXPECT_NE(type->field("note"), nullptr);
  EXPECT_EQ(type->field("involvedObject"), nullptr);
  EXPECT_GT(all_types().size(), 450u);
}
}  // namespace
}  // namespace api
