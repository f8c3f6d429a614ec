#include "master/extensions/aggregator_plan.h"

#include <gtest/gtest.h>

namespace master {
namespace {

namespace json = base::json;

json::value parse(std::string_view text) { return base::parse_json(text).value(); }
RemoteService metrics() {
  return *read_remote(
      parse(R"({"spec":{"group":"m.io","version":"v1","groupPriorityMinimum":100,"versionPriority":7,
    "caBundle":"Y2E=","service":{"namespace":"n","name":"s"}}})"));
}

TEST(AggregatorPlan, ReadsWhatAnApiServiceAsksFor) {
  RemoteService remote = metrics();
  EXPECT_EQ(remote.group_version(), "m.io/v1");
  EXPECT_EQ(remote.server_name(), "s.n.svc");
  EXPECT_EQ(remote.port, 443);
  EXPECT_EQ(remote.ca_pem, "ca");
  EXPECT_FALSE(read_remote(parse(R"({"spec":{"group":"m.io","version":"v1"}})")));
}

TEST(AggregatorPlan, SaysWhyNobodyIsThere) {
  RemoteService remote = metrics();
  auto said = [&](std::string_view reason) {
    ServiceLookup found;
    found.reason = reason;
    found.port_name = "https";
    auto why = unreachable(remote, found);
    return why ? why->reason + ": " + why->message : "";
  };
  EXPECT_EQ(said("ServiceNotFound"), "ServiceNotFound: service/s in \"n\" is not present");
  EXPECT_EQ(said("ServicePortError"), "ServicePortError: service/s in \"n\" is not listening on port 443");
  EXPECT_EQ(said("EndpointsNotFound"),
            "EndpointsNotFound: cannot find endpointslices for service/s in \"n\"");
  EXPECT_EQ(
      said("MissingEndpoints"),
      "MissingEndpoints: endpointslices for service/s in \"n\" have no addresses with port name \"https\"");
  EXPECT_EQ(said(""), "");
}

TEST(AggregatorPlan, KeepsTheTimeOfTheLastTransition) {
  base::Time first{std::chrono::seconds(1000)}, second{std::chrono::seconds(2000)};
  json::value made =
      with_availability(parse(R"({"kind":"APIService"})"), {true, "Passed", "all checks passed"}, first);
  EXPECT_TRUE(is_available(made));
  EXPECT_TRUE(with_availability(made, {true, "Passed", "all checks passed"}, second).is_null());
  auto when = [](const json::value& object) {
    return object.at("status").at("conditions").at(0).at("lastTransitionTime");
  };
  json::value same = with_availability(made, {true, "Local", "x"}, second);
  EXPECT_EQ(when(same), when(made));
  json::value other = with_availability(made, {false, "MissingEndpoints", "x"}, second);
  EXPECT_NE(when(other), when(made));
  EXPECT_FALSE(is_available(other));
  EXPECT_EQ(other.at("status").at("conditions").get_array().size(), 1u);
}

TEST(AggregatorPlan, OnlyTheFrontSaysWhoAsks) {
  base::http::Headers headers;
  for (const char* name :
       {"X-Remote-User", "x-remote-group", "X-REMOTE-EXTRA-a", "Impersonate-User", "Authorization"})
    headers.add(name, "bad");
  headers.add("Accept", "x");
  headers.add("X-Forwarded-For", "1.2.3.4");
  User user{"jane", {"g1", "g2"}, "u", {{"a/b", {"1", "2"}}}};
  name_user(headers, user, "10.0.0.1:99");
  std::string text;
  for (const auto& [name, value] : headers.list) text += name + "=" + value + " ";
  EXPECT_EQ(text,
            "Accept=x X-Forwarded-For=1.2.3.4, 10.0.0.1 X-Remote-User=jane X-Remote-Uid=u X-Remote-Group=g1 "
            "X-Remote-Group=g2 "
            "X-Remote-Extra-a%2Fb=1 X-Remote-Extra-a%2Fb=2 ");
}

TEST(AggregatorPlan, DiscoveryInItsNewerForm) {
  json::array out = aggregated_resources(metrics(), parse(R"({"resources":[
    {"name":"pods","singularName":"pod","namespaced":true,"kind":"PodMetrics","verbs":["get"],"shortNames":["p"]},
    {"name":"pods/log","namespaced":true,"kind":"Log","group":"o.io","version":"v2","verbs":["create"]}]})"));
  EXPECT_EQ(
      json::value(out),
      parse(
          R"([{"resource":"pods","scope":"Namespaced","singularResource":"pod","verbs":["get"],"shortNames":["p"],
    "responseKind":{"group":"m.io","version":"v1","kind":"PodMetrics"},
    "subresources":[{"subresource":"log","responseKind":{"group":"o.io","version":"v2","kind":"Log"},"verbs":["create"]}]}])"));
  EXPECT_TRUE(aggregated_resources(metrics(), nullptr).empty());
}

TEST(AggregatorPlan, TakesOnlyItsOwnPathsFromADocument) {
  json::value into = parse(R"({"paths":{"/apis/m.io/v1/x":1},"definitions":{"A":"ours"}})");
  merge_openapi_v2(
      metrics(),
      parse(
          R"({"paths":{"/apis/m.io/":2,"/apis/m.io/v1/":2,"/apis/m.io/v1/x":2,"/apis/m.io/v2/":2,"/api/v1/pods":2},
    "definitions":{"A":"theirs","B":"theirs"}})"),
      into);
  EXPECT_EQ(
      into,
      parse(
          R"({"paths":{"/apis/m.io/v1/x":1,"/apis/m.io/":2,"/apis/m.io/v1/":2},"definitions":{"A":"ours","B":"theirs"}})"));
}

}  // namespace
}  // namespace master
