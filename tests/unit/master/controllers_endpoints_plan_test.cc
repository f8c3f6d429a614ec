#include "master/controllers/endpoints_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

static Service service() {
  Service out;
  out.meta = {"default", "web", "svc", 1, 1, ago(100), false};
  out.families = {"IPv4"};
  out.ports = {{"http", "TCP", "", "http", 80, 80}};
  return out;
}
static std::shared_ptr<const Whole> whole(const std::string& name, json::object object) {
  auto out = std::make_shared<Whole>();
  base::object_at(object, "metadata")["name"] = name;
  out->meta.ns = "default";
  out->meta.name = name;
  out->object = std::move(object);
  return out;
}
static std::string zone(const std::string&) { return ""; }

TEST(EndpointsPlan, NamedPortsAreEachPodsOwn) {
  auto list = pods(R"(a ip=10.0.0.1 ready=5 port=http:8080 node=n1
                      b ip=10.0.0.2 ready=5 port=http:9090 node=n1
                      c ip=10.0.0.3 port=http:8080 node=n1
                      d ip=10.0.0.4 ready=5 port=other:1 node=n1
                      e ready=5 port=http:8080
                      f ip=10.0.0.6 ready=5 port=http:8080 deleting
                      g ip=10.0.0.7 phase=Failed port=http:8080)");
  EXPECT_EQ(plan_slices(service(), list, {}, zone).text(),
            "create IPv4 [ 10.0.0.1 10.0.0.3! 10.0.0.6!~ ] ports http:8080/TCP\n"
            "create IPv4 [ 10.0.0.2 ] ports http:9090/TCP\n");
  json::object endpoints = plan_endpoints(service(), list);
  std::string text;
  for (const json::value& subset : endpoints["subsets"].as_array())
    text += base::to_json(subset.at("ports")) + " " +
            std::to_string(subset.at("addresses").as_array().size()) + "/" +
            (base::find(subset, "notReadyAddresses")
                 ? std::to_string(subset.at("notReadyAddresses").as_array().size())
                 : "0") +
            "\n";
  EXPECT_EQ(text,
            "[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}] 1/1\n"
            "[{\"name\":\"http\",\"port\":9090,\"protocol\":\"TCP\"}] 1/0\n");
}

TEST(EndpointsPlan, HintsAreWhatTheServiceWishesForReadyEndpoints) {
  auto list = pods(R"(a ip=10.0.0.1 ready=5 port=http:80 node=n1
                      b ip=10.0.0.2 port=http:80 node=n1)");
  auto hints = [&](const char* distribution) {
    Service web = service();
    web.distribution = distribution;
    SlicePlan plan = plan_slices(web, list, {}, [](const std::string&) { return std::string("east"); });
    std::string out;
    for (const json::value& endpoint : plan.create.at(0)["endpoints"].as_array()) {
      const json::value* found = base::find(endpoint, "hints");
      out += (found ? base::to_json(*found) : "none") + " ";
    }
    return out;
  };
  const std::string zones = R"("forZones":[{"name":"east"}])";
  EXPECT_EQ(hints("PreferSameZone"), "{" + zones + "} none ");
  EXPECT_EQ(hints("PreferClose"), "{" + zones + "} none ");
  EXPECT_EQ(hints("PreferSameNode"), R"({"forNodes":[{"name":"n1"}],)" + zones + "} none ");
  EXPECT_EQ(hints(""), "none none ");
}

TEST(EndpointsPlan, OneChangeRewritesOneSlice) {
  std::string text;
  for (int i = 0; i < 250; ++i)
    text += fmt::format("p{} ip=10.0.{}.{} ready=5 port=http:8080\n", i, i / 200, i % 200 + 1);
  auto list = pods(text);
  SlicePlan first = plan_slices(service(), list, {}, zone);
  ASSERT_EQ(first.create.size(), 3u);
  std::vector<std::shared_ptr<const Whole>> stored;
  for (size_t i = 0; i < 3; ++i) stored.push_back(whole("s" + std::to_string(i), first.create[i]));
  EXPECT_EQ(plan_slices(service(), list, stored, zone).text(), "");
  list.erase(list.begin() + 17);
  SlicePlan second = plan_slices(service(), list, stored, zone);
  EXPECT_EQ(second.create.size() + second.remove.size(), 0u);
  EXPECT_EQ(second.update.size(), 1u);
}

TEST(EndpointsPlan, NoneIsAnEmptySlice) {
  SlicePlan plan = plan_slices(service(), {}, {}, zone);
  EXPECT_EQ(plan.text(), "create IPv4 [ ] ports\n");
  auto stored = std::vector{whole("s", plan.create[0])};
  EXPECT_EQ(plan_slices(service(), {}, stored, zone).text(), "");
  // The empty one is filled, not joined by another.
  EXPECT_EQ(plan_slices(service(), pods("a ip=10.0.0.1 ready=1 port=http:80"), stored, zone).text(),
            "update s IPv4 [ 10.0.0.1 ] ports http:80/TCP\n");
}

TEST(EndpointsPlan, HeadlessHostnamesAndUnreadyWhenAsked) {
  Service headless = service();
  headless.headless = headless.publish_not_ready = true;
  headless.ports.clear();
  auto list = pods(
      "db-0 ip=10.0.0.1 hostname=db-0 subdomain=web\ndb-1 ip=10.0.0.2 hostname=db-1 subdomain=elsewhere "
      "deleting");
  json::object slice = plan_slices(headless, list, {}, zone).create.at(0);
  EXPECT_EQ(base::string_at(slice["endpoints"].as_array()[0], "hostname"), "db-0");
  EXPECT_EQ(base::string_at(slice["endpoints"].as_array()[1], "hostname"), "");
  EXPECT_TRUE(base::as_bool(base::find_path(slice["endpoints"].as_array()[1], "conditions", "ready")));
  EXPECT_EQ(plan_endpoints(headless, list)["subsets"].as_array()[0].at("addresses").as_array().size(), 2u);
  EXPECT_EQ(base::string_at(json::value(slice), "metadata", "labels", "kubernetes.io/service-name"), "web");
}

TEST(EndpointsPlan, AUsersEndpointsAreMirrored) {
  auto endpoints =
      whole("db", base::parse_json(R"({"subsets":[{"addresses":[{"ip":"192.0.2.1"},{"ip":"2001:db8::1"}],
      "notReadyAddresses":[{"ip":"192.0.2.2"}],"ports":[{"name":"pg","port":5432,"protocol":"TCP"}]}]})")
                      .value()
                      .as_object());
  SlicePlan plan = plan_mirror(*endpoints, {});
  EXPECT_EQ(plan.text(),
            "create IPv4 [ 192.0.2.1 192.0.2.2! ] ports pg:5432/TCP\ncreate IPv6 [ 2001:db8::1 ] ports "
            "pg:5432/TCP\n");
  EXPECT_EQ(base::string_at(json::value(plan.create[0]), "metadata", "labels",
                            "endpointslice.kubernetes.io/managed-by"),
            kSliceMirror);
  auto stored = std::vector{whole("s4", plan.create[0]), whole("s6", plan.create[1])};
  EXPECT_EQ(plan_mirror(*endpoints, stored).text(), "");
  EXPECT_EQ(plan_mirror(*whole("db", {}), stored).text(), "delete s4\ndelete s6\n");
}

}  // namespace master::controllers
