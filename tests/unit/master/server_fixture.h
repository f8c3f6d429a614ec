// A real API server on a real store in a directory of its own, driven through LocalTransport.
#pragma once

#include <gtest/gtest.h>

#include "base/sys.h"
#include "master/server/server.h"

namespace master {

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = ::testing::TempDir() + "sampan-master-" + std::to_string(::getpid());
    ASSERT_TRUE(base::sys::remove_all(dir_).ok());
    ASSERT_TRUE(base::sys::mkdir_all(dir_).ok());
    open();
  }
  void TearDown() override {
    transport_.reset();
    server_.reset();
    ASSERT_TRUE(base::sys::remove_all(dir_).ok());
  }
  void open() {
    auto store = open_sqlite_store(loop_, dir_ + "/store.db");
    ASSERT_TRUE(store.ok()) << store.error().message();
    ServerOptions options;
    options.advertise_address = "192.0.2.1";
    configure(options);
    server_ = std::make_unique<ApiServer>(loop_, std::move(*store), options);
    auto started = server_->start();
    ASSERT_TRUE(started.ok()) << started.error().message();
    transport_ = server_->local_transport({"admin", {"system:masters"}});
    // Bootstrap writes in the background: the default roles, and the Service "kubernetes".
    bool ready = false;
    server_->when_bootstrapped([&] { ready = true; });
    wait_for([&] { return ready; });
    wait_for([&] {
      return call("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").status ==
             200;
    });
  }
  virtual void configure(ServerOptions&) {}
  void reopen() {
    transport_.reset();
    server_.reset();
    open();
  }
  void wait_for(const std::function<bool()>& done) {
    for (int i = 0; i < 1000; ++i) {
      if (done()) return;
      loop_.run_once(std::chrono::milliseconds(5));
    }
    FAIL() << "waited in vain";
  }
  base::http::Response call(std::string method, std::string target, std::string body = {},
                            std::string type = "application/json", std::string accept = {}) {
    base::http::Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    request.headers.add("Content-Type", type);
    if (!accept.empty()) request.headers.add("Accept", accept);
    base::http::Response out;
    out.status = 0;
    auto handle = transport_->call(std::move(request), [&](base::Result<base::http::Response> response) {
      out = response.ok() ? std::move(*response) : base::http::Response{-1, {}, response.error().message()};
    });
    for (int i = 0; i < 1000 && out.status == 0; ++i) loop_.run_once(std::chrono::milliseconds(10));
    return out;
  }
  base::json::value ok(base::http::Response response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    return base::parse_json(response.body).value_or(nullptr);
  }
  std::string refused(base::http::Response response, int status) {
    EXPECT_EQ(response.status, status) << response.body;
    auto parsed = base::parse_json(response.body).value_or(nullptr);
    EXPECT_EQ(base::string_at(parsed, "kind"), "Status");
    return std::string(base::string_at(parsed, "reason")) + ": " +
           std::string(base::string_at(parsed, "message"));
  }
  struct Watch {
    std::vector<std::string> lines;
    bool ended = false;
    std::unique_ptr<api::Transport::Call> handle;
    // "ADDED a", "MODIFIED a"…
    std::vector<std::string> names() const {
      std::vector<std::string> out;
      for (const auto& line : lines) {
        auto event = base::parse_json(line).value_or(nullptr);
        out.push_back(std::string(base::string_at(event, "type")) + " " +
                      std::string(base::string_at(event, "object", "metadata", "name")));
      }
      return out;
    }
  };
  std::shared_ptr<Watch> watch(std::string target) {
    auto w = std::make_shared<Watch>();
    base::http::Request request;
    request.target = std::move(target);
    w->handle = transport_->watch(
        std::move(request), [w = w.get()](std::string_view line) { w->lines.emplace_back(line); },
        [w = w.get()](base::Status) { w->ended = true; });
    return w;
  }
  static std::string config_map(const std::string& name, const std::string& value,
                                const std::string& labels = "{}") {
    return R"({"metadata":{"name":")" + name + R"(","labels":)" + labels + R"(},"data":{"k":")" + value +
           "\"}}";
  }
  static constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";

  base::Loop loop_;
  std::string dir_;
  std::unique_ptr<ApiServer> server_;
  std::shared_ptr<api::Transport> transport_;
};

}  // namespace master
