// The forms in which answers go out, over real connections: protocol buffers, tables, WebSocket.
#include "api/protobuf.h"
#include "base/base64.h"
#include "base/http/client.h"
#include "base/http/websocket.h"
#include "master/auth/authenticator.h"
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using base::string_at;

constexpr char kProtobuf[] = "application/vnd.kubernetes.protobuf";

class WireTest : public ServerTest {
 protected:
  void configure(ServerOptions& options) override {
    options.static_tokens = read_token_file("secret,admin,u,\"system:masters\"\n").value();
  }
  void SetUp() override {
    ServerTest::SetUp();
    http_ = std::make_unique<base::http::Server>(
        loop_, nullptr, base::http::Server::Options{},
        [this](std::shared_ptr<base::http::Exchange> exchange) { server_->handle(std::move(exchange)); });
    ASSERT_TRUE(http_->listen("127.0.0.1:0").ok());
    base::http::Client::Options options;
    options.host = "127.0.0.1";
    options.port = http_->ports()[0];
    client_ = std::make_unique<base::http::Client>(loop_, nullptr, options);
  }
  void TearDown() override {
    client_.reset();
    http_.reset();
    ServerTest::TearDown();
  }
  base::http::Request request(std::string target, std::string accept = {}) {
    base::http::Request out;
    out.target = std::move(target);
    out.headers.add("Authorization", "Bearer secret");
    if (!accept.empty()) out.headers.add("Accept", accept);
    return out;
  }
  base::http::Response ask(base::http::Request what) {
    base::http::Response out{0, {}, {}};
    auto handle = client_->call(
        std::move(what), std::chrono::seconds(10), [&](base::Result<base::http::Response> response) {
          out =
              response.ok() ? std::move(*response) : base::http::Response{-1, {}, response.error().message()};
        });
    wait_for([&] { return out.status != 0; });
    return out;
  }
  base::http::Response get(const std::string& target, const std::string& accept) {
    return ask(request(target, accept));
  }
  static json::value read(const char* package, const char* kind, std::string_view body) {
    auto out = api::protobuf_to_json(*api::find_type(package, kind), body);
    EXPECT_TRUE(out.ok()) << out.error().message();
    return std::move(out).value_or(nullptr);
  }
  static json::value status_of(const base::http::Response& response) {
    return read("io.k8s.apimachinery.pkg.apis.meta.v1", "Status", response.body);
  }
  static json::value config_map_of(std::string_view body) {
    return read("io.k8s.api.core.v1", "ConfigMap", body);
  }
  std::unique_ptr<base::http::Server> http_;
  std::unique_ptr<base::http::Client> client_;
};

TEST_F(WireTest, ObjectsListsAndRefusalsInProtocolBuffers) {
  auto made = ok(call("POST", kMaps, R"({"metadata":{"name":"a"},"data":{"k":"1"}})"), 201);
  ok(call("POST", kMaps, config_map("b", "2")), 201);
  for (const char* accept :
       {"application/vnd.kubernetes.protobuf", "application/json;q=0.5, application/vnd.kubernetes.protobuf",
        "application/vnd.kubernetes.protobuf,application/json"}) {
    auto one = get(std::string(kMaps) + "/a", accept);
    EXPECT_EQ(one.headers.get("Content-Type"), kProtobuf);
    json::value object = config_map_of(one.body);
    EXPECT_EQ(object, made) << base::to_json(object);
  }
  EXPECT_EQ(get(std::string(kMaps) + "/a", "application/json,application/vnd.kubernetes.protobuf")
                .headers.get("Content-Type"),
            "application/json");
  // {2: an object} is a list of one as a decoder that knows the first field sees it.
  auto list = get(kMaps, kProtobuf);
  EXPECT_EQ(list.headers.get("Content-Type"), kProtobuf);
  EXPECT_TRUE(list.body.starts_with(std::string("k8s\0", 4) + "\n\x13\n\x02v1\x12\rConfigMapList"))
      << list.body.substr(0, 30);
  std::string item;
  api::append_protobuf_item(item, 2,
                            api::protobuf_message(*api::find_type("io.k8s.api.core.v1", "ConfigMap"), made));
  EXPECT_NE(list.body.find(item), std::string::npos);
  auto refusal = get(std::string(kMaps) + "/none", kProtobuf);
  EXPECT_EQ(refusal.status, 404);
  EXPECT_EQ(string_at(status_of(refusal), "message"), "configmaps \"none\" not found");
  auto write = request(kMaps, kProtobuf);
  write.method = "POST";
  write.headers.add("Content-Type", kProtobuf);
  write.body = api::protobuf_of(
      *api::find_type("io.k8s.api.core.v1", "ConfigMap"),
      base::parse_json(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"3"}})")
          .value());
  auto written = ask(std::move(write));
  EXPECT_EQ(written.status, 201);
  EXPECT_EQ(string_at(config_map_of(written.body), "data", "k"), "3");
  // Metadata alone, which custom resources have in this form as well.
  auto partial = get(std::string(kMaps) + "/a",
                     "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
  std::string metadata;
  api::append_protobuf_item(
      metadata, 1,
      api::protobuf_message(*api::find_type("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta"),
                            made.at("metadata")));
  EXPECT_EQ(partial.body, api::protobuf_envelope("meta.k8s.io/v1", "PartialObjectMetadata", metadata));
  EXPECT_EQ(get(kMaps, "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1").status, 406);
  EXPECT_EQ(get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kProtobuf).status, 406);
}

TEST_F(WireTest, WatchesInProtocolBuffers) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  std::string body, type;
  auto handle = client_->stream(
      request(std::string(kMaps) + "?watch=1&allowWatchBookmarks=1&sendInitialEvents=1&"
                                   "resourceVersionMatch=NotOlderThan",
              "application/vnd.kubernetes.protobuf;stream=watch"),
      [&](const base::http::Response& head) { type = head.headers.get("Content-Type"); },
      [&](std::string_view data) { body += data; }, [](base::Status) {});
  auto next = [&]() -> std::pair<std::string, std::string> {  // its type and its object
    wait_for([&] { return body.size() > 4; });
    size_t size = 0;
    for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(body[static_cast<size_t>(i)]);
    wait_for([&] { return body.size() >= 4 + size; });
    std::string event = body.substr(4, size);
    body.erase(0, 4 + size);
    size_t object = event.find(std::string("k8s\0", 4));
    return {event.substr(2, static_cast<size_t>(event[1])), event.substr(object)};
  };
  auto added = next();
  EXPECT_EQ(type, "application/vnd.kubernetes.protobuf;stream=watch");
  EXPECT_EQ(added.first, "ADDED");
  EXPECT_EQ(string_at(config_map_of(added.second), "metadata", "name"), "a");
  auto bookmark = next();
  EXPECT_EQ(bookmark.first, "BOOKMARK");
  EXPECT_EQ(string_at(config_map_of(bookmark.second), "metadata", "annotations", "k8s.io/initial-events-end"),
            "true");
  ok(call("DELETE", std::string(kMaps) + "/a"));
  auto deleted = next();
  EXPECT_EQ(deleted.first, "DELETED");
  EXPECT_EQ(string_at(config_map_of(deleted.second), "data", "k"), "1");
}

TEST_F(WireTest, TablesOfBothVersionsAndWhatHasNone) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  for (const char* version : {"v1", "v1beta1"}) {
    auto table =
        base::parse_json(get(kMaps, std::string("application/json;as=Table;g=meta.k8s.io;v=") + version).body)
            .value();
    EXPECT_EQ(string_at(table, "apiVersion"), std::string("meta.k8s.io/") + version);
    EXPECT_EQ(string_at(table.at("rows").at(0).at("object"), "apiVersion"),
              std::string("meta.k8s.io/") + version);
  }
  auto review = request("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                        "application/json;as=Table;g=meta.k8s.io;v=v1");
  review.method = "POST";
  review.body = R"({"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}})";
  review.headers.add("Content-Type", "application/json");
  EXPECT_EQ(ask(review).status, 406);
  review.headers.set("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1,application/json");
  EXPECT_EQ(ask(review).status, 201);
  review.headers.set("Accept", kProtobuf);
  auto answer = ask(review);
  EXPECT_TRUE(base::as_bool(base::find_path(
      read("io.k8s.api.authorization.v1", "SelfSubjectAccessReview", answer.body), "status", "allowed")));
}

TEST_F(WireTest, WatchesOverWebSocket) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  base::http::Request ask = request(std::string(kMaps) + "?watch");
  for (auto& header : base::websocket::client_headers({}).list) ask.headers.list.push_back(header);
  std::optional<base::http::Client::Upgraded> upgraded;
  auto handle = client_->upgrade(ask, [&](auto result) { upgraded = std::move(*result); });
  wait_for([&] { return upgraded.has_value(); });
  ASSERT_EQ(upgraded->response.status, 101);
  base::websocket::Connection connection(std::move(upgraded->stream), base::websocket::Role::kClient);
  std::vector<std::string> messages;
  bool text = true;
  connection.on_message(
      [&](bool binary, std::string_view data) {
        text &= !binary;
        messages.emplace_back(data);
      },
      [](uint16_t, std::string_view) {});
  wait_for([&] { return messages.size() == 1; });
  ok(call("POST", kMaps, config_map("b", "2")), 201);
  wait_for([&] { return messages.size() == 2; });
  EXPECT_TRUE(text);
  EXPECT_EQ(string_at(base::parse_json(messages[0]).value(), "object", "metadata", "name"), "a");
  EXPECT_EQ(string_at(base::parse_json(messages[1]).value(), "type"), "ADDED");
  // What is refused is refused as ever.
  ask.target = std::string(kMaps) + "?watch=1&resourceVersion=x";
  std::optional<base::http::Client::Upgraded> refused;
  auto second = client_->upgrade(ask, [&](auto result) { refused = std::move(*result); });
  wait_for([&] { return refused.has_value(); });
  EXPECT_EQ(refused->response.status, 400);
}

TEST_F(WireTest, DiscoveryAndVersionSayWhatToolsAskFor) {
  auto list = base::parse_json(get("/apis/apps/v1", "").body).value();
  for (const auto& row : list.at("resources").as_array()) {
    bool whole = string_at(row, "name").find('/') == std::string::npos;
    auto hash = base::base64_decode(string_at(row, "storageVersionHash"));
    EXPECT_EQ(hash ? hash->size() : 0, whole ? 8u : 0u) << base::to_json(row);
    EXPECT_TRUE(string_at(row, "name") != "deployments" ||
                string_at(row, "storageVersionHash") == "8aSe+NMegvE=");  // kube-apiserver's
  }
  auto version = base::parse_json(get("/version", "").body).value();
  EXPECT_TRUE(string_at(version, "gitCommit") == "unknown" || string_at(version, "gitCommit").size() == 40)
      << base::to_json(version);
  EXPECT_TRUE(string_at(version, "goVersion").starts_with("go1."));
  EXPECT_EQ(string_at(version, "emulationMinor"), "36");
}

}  // namespace
}  // namespace master
