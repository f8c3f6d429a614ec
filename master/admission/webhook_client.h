// Calls to webhooks over TLS, as a WebhookClientConfig says: by url, or to a ready endpoint of a
// Service (the master must reach Pod addresses). Connections are kept. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/http/client.h"
#include "base/json.h"
#include "base/resolver.h"

namespace master {

class Registry;

// Where a call goes; what the certificate must be for.
struct Destination {
  std::string host, server_name, path, ca_pem;
  int port = 443;
};

class WebhookClient {
 public:
  explicit WebhookClient(Registry& registry);
  ~WebhookClient();
  // Posts a JSON document. `done` is called once, unless the client is destroyed first.
  using Done = std::function<void(base::Result<base::http::Response>)>;
  void post(const base::json::value& client_config, std::string body, base::Duration timeout, Done done);

 private:
  // An address behind port `port` of a Service, by its EndpointSlices; any of several.
  base::Result<Destination> endpoint_of(const std::string& ns, const std::string& service, int port);
  base::Result<Destination> destination(const base::json::value& client_config);
  void send(const Destination& to, std::string body, base::Duration timeout, base::Duration left, Done done);
  Registry& registry_;
  base::Resolver resolver_;  // of a url's host
  struct Pool {
    std::unique_ptr<base::http::Client> client;
    uint64_t used = 0;
    size_t open = 0;  // calls under way: they would never be answered if it went
  };
  // The connections to a destination; an empty CA bundle trusts the host's.
  base::Result<std::shared_ptr<Pool>> pool_for(const Destination& to);
  std::map<std::string, std::shared_ptr<Pool>> pools_;
  std::map<uint64_t, std::unique_ptr<base::http::Client::Call>> calls_;
  std::map<uint64_t, base::Loop::Handle> timeouts_;  // of names that are being looked up
  uint64_t next_ = 1;
};

}  // namespace master
