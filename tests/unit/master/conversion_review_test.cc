#include "master/extensions/conversion_review.h"

#include <gtest/gtest.h>

namespace master {
namespace {

namespace json = base::json;

json::value parse(std::string_view text) { return base::parse_json(text).value(); }
const std::vector<json::value> kBoxes = {
    parse(
        R"({"apiVersion":"g/v1","kind":"Box","metadata":{"name":"a","uid":"1","resourceVersion":"7","labels":{"l":"old"},"annotations":{"x":"y"}},"spec":{"size":1}})"),
    parse(R"({"apiVersion":"g/v1","kind":"Box","metadata":{"name":"b","uid":"2"},"spec":{"size":2}})")};

std::string answer(std::string_view objects, std::string_view uid = "u",
                   std::string_view result = R"({"status":"Success"})") {
  return R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","response":{"uid":")" +
         std::string(uid) + R"(","result":)" + std::string(result) + R"(,"convertedObjects":)" +
         std::string(objects) + "}}";
}
std::string refusal(const std::string& body) {
  auto read = read_conversion("v1", "u", "g/v2", kBoxes, body);
  return read.ok() ? "" : read.error().reason;
}

TEST(ConversionReview, AsksForAllAtOnce) {
  json::value review = conversion_review("v1", "u", "g/v2", kBoxes);
  EXPECT_EQ(base::string_at(review, "request", "desiredAPIVersion"), "g/v2");
  EXPECT_EQ(base::string_at(review, "request", "uid"), "u");
  EXPECT_EQ(review.at("request").at("objects").get_array().size(), 2u);
}

TEST(ConversionReview, OnlyLabelsAndAnnotationsOfMetadataAreTheWebhooks) {
  auto read = read_conversion("v1", "u", "g/v2", kBoxes, answer(R"([
    {"apiVersion":"g/v2","kind":"Box","metadata":{"name":"a","uid":"1","resourceVersion":"99","finalizers":["f"],"labels":{"l":"new"}},"spec":{"d":1}},
    {"apiVersion":"g/v2","kind":"Box","metadata":{"name":"b","uid":"2","annotations":{"k":"v"}},"spec":{"d":2}}])"));
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(
      (*read)[0],
      parse(
          R"({"apiVersion":"g/v2","kind":"Box","metadata":{"name":"a","uid":"1","resourceVersion":"7","labels":{"l":"new"}},"spec":{"d":1}})"));
  EXPECT_EQ((*read)[1].at("metadata"), parse(R"({"name":"b","uid":"2","annotations":{"k":"v"}})"));
}

TEST(ConversionReview, ObjectsOfAnyDepthThatMayBeStored) {
  auto box = [](const char* name, const char* uid, size_t depth) {
    return R"({"apiVersion":"g/v2","kind":"Box","metadata":{"name":")" + std::string(name) + R"(","uid":")" +
           uid + R"("},"spec":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  auto answered = [&](size_t depth) {
    return answer("[" + box("a", "1", base::kMaxJsonDepth) + "," + box("b", "2", depth) + "]");
  };
  EXPECT_EQ(refusal(answered(base::kMaxJsonDepth)), "");
  EXPECT_EQ(refusal(answered(base::kMaxJsonDepth + 1)),
            "conversion webhook for g/v1, Kind=Box returned invalid converted object at index 1: exceeded "
            "max depth");
  EXPECT_NE(refusal(answered(1'000'000)).find("exceeded max depth"), std::string::npos);
}

TEST(ConversionReview, RefusesInKubernetesWords) {
  const std::string head = "conversion webhook for g/v1, Kind=Box ";
  const std::string a = R"({"apiVersion":"g/v2","kind":"Box","metadata":{"name":"a","uid":"1"}})";
  auto pair = [&](const std::string& second) { return answer("[" + a + "," + second + "]"); };
  EXPECT_EQ(refusal(answer("[]", "other")), head + "failed: expected response.uid=\"u\", got \"other\"");
  EXPECT_EQ(refusal(answer("[]", "u", R"({"status":"Failure","message":"no"})")), head + "failed: no");
  EXPECT_EQ(refusal(answer("[]", "u", R"({"status":"Odd"})")),
            head + "failed: response.result.status was 'Odd', not 'Success'");
  EXPECT_EQ(refusal(answer("[" + a + "]")), head + "returned 1 objects, expected 2");
  EXPECT_EQ(refusal(pair(R"({"apiVersion":"g/v1","kind":"Box","metadata":{"name":"b","uid":"2"}})")),
            head +
                "returned invalid converted object at index 1: invalid groupVersion (expected g/v2, received "
                "g/v1)");
  EXPECT_EQ(refusal(pair(R"({"apiVersion":"g/v2","kind":"Bag","metadata":{"name":"b","uid":"2"}})")),
            head + "returned invalid converted object at index 1: invalid kind (expected Box, received Bag)");
  EXPECT_EQ(refusal(pair(R"({"apiVersion":"g/v2","kind":"Box","metadata":{"name":"b","uid":"3"}})")),
            head + "returned invalid converted object at index 1: must have the same UID: 2 != 3");
  EXPECT_EQ(refusal(pair(
                R"({"apiVersion":"g/v2","kind":"Box","metadata":{"name":"b","uid":"2","labels":{"n":1}}})")),
            head +
                "returned invalid metadata in object at index 1: metadata.labels[n] must be a string in "
                "converted object");
  EXPECT_EQ(refusal(pair("7")), head + "returned invalid converted object at index 1: it is no object");
  EXPECT_NE(refusal("{").find(head + "failed: "), std::string::npos);
  EXPECT_EQ(refusal(R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview"})"),
            head + "failed: no response provided");
}

TEST(ConversionReview, TheOlderVersionAsksForLess) {
  EXPECT_EQ(base::string_at(conversion_review("v1beta1", "u", "g/v2", kBoxes), "apiVersion"),
            "apiextensions.k8s.io/v1beta1");
  const std::string objects =
      R"([{"apiVersion":"g/v2","kind":"Box","metadata":{"name":"a","uid":"1"}},{"apiVersion":"g/v2","kind":"Box","metadata":{"name":"b","uid":"2"}}])";
  std::string body =
      R"({"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"ConversionReview","response":{"result":{"status":"Success"},"convertedObjects":)" +
      objects + "}}";
  EXPECT_TRUE(read_conversion("v1beta1", "u", "g/v2", kBoxes, body).ok());
  EXPECT_FALSE(read_conversion("v1", "u", "g/v2", kBoxes, body).ok());
}

}  // namespace
}  // namespace master
