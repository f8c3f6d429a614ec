#include "master/admission/webhook_client.h"

#include <algorithm>
#include <charconv>

#include "base/base64.h"
#include "master/admission/service_endpoint.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

namespace {

constexpr auto kMaxTimeout = std::chrono::seconds(31);         // beyond timeoutSeconds of any webhook
constexpr size_t kMaxPools = 64, kMaxAnswerBytes = 64u << 20;  // a whole list, converted

base::Error unreachable(std::string what, std::string why) {
  return base::make_error(base::Kind::kUnavailable, "reach", std::move(what), std::move(why));
}
base::Result<Destination> of_url(std::string_view url) {
  constexpr std::string_view kScheme = "https://";
  auto bad = [&](std::string why) {
    return base::make_error(base::Kind::kInvalid, "read url", std::string(url), std::move(why));
  };
  if (!url.starts_with(kScheme)) return bad("it must begin with https://");
  std::string_view rest = url.substr(kScheme.size());
  size_t slash = rest.find('/');
  Destination out;
  out.path = slash == rest.npos ? "/" : std::string(rest.substr(slash));
  std::string_view authority = rest.substr(0, slash), port;
  if (authority.starts_with('[')) {
    size_t end = authority.find(']');
    if (end == authority.npos) return bad("unterminated address");
    out.host = authority.substr(1, end - 1);
    port = authority.substr(end + 1);
  } else {
    size_t colon = authority.find(':');
    out.host = authority.substr(0, colon);
    port = colon == authority.npos ? std::string_view() : authority.substr(colon);
  }
  if (!port.empty()) {
    auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), out.port);
    if (error != std::errc() || end != port.data() + port.size() || out.port < 1 || out.port > 65535)
      return bad("the port is no number");
  }
  out.server_name = out.host;
  if (out.host.empty()) return bad("it has no host");
  if (out.host == "localhost") out.host = "127.0.0.1";
  return out;
}

// What is asked, as Go's client names it in errors.
std::string asked_url(const json::value& config, base::Duration timeout) {
  std::string out(base::string_at(config, "url"));
  if (out.empty())
    out = "https://" + std::string(base::string_at(config, "service", "name")) + "." +
          std::string(base::string_at(config, "service", "namespace")) +
          ".svc:" + std::to_string(base::as_int(base::find_path(config, "service", "port"), 443)) +
          std::string(base::string_at(config, "service", "path"));
  out += out.find('?') == out.npos ? "?timeout=" : "&timeout=";
  return out + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(timeout).count()) + "s";
}
// Why a call failed in the words of Go's HTTP client: installers and test suites look for them.
std::string go_words(const base::Error& error, const std::string& host, const std::string& server_name,
                     int port) {
  std::string at = "dial tcp " + host + ":" + std::to_string(port) + ": connect: ";
  std::string text = error.message();
  auto says = [&](const char* words) { return text.find(words) != text.npos; };
  for (const base::Error* one = &error; one; one = one->cause.get()) {
    if (one->kind == base::Kind::kTimeout) return "context deadline exceeded";
    switch (one->errno_value) {
      case ECONNREFUSED: return at + "connection refused";
      case EHOSTUNREACH: return at + "no route to host";
      case ENETUNREACH: return at + "network is unreachable";
      case ECONNRESET:
        return "read tcp " + host + ":" + std::to_string(port) + ": read: connection reset by peer";
      default: break;
    }
  }
  constexpr const char* kVerify = "tls: failed to verify certificate: x509: ";
  if (says("certificate has expired") || says("certificate is not yet valid"))
    return std::string(kVerify) + "certificate has expired or is not yet valid";
  if (says("mismatch"))
    return std::string(kVerify) + "certificate is not valid for any names, but wanted to match " +
           server_name;
  if (says("certificate verify failed"))
    return std::string(kVerify) + "certificate signed by unknown authority";
  if (says("closed the connection")) return "EOF";
  return error.reason.empty() ? text : error.reason;
}
// As client-go says what a status means.
std::string status_words(const base::http::Response& response) {
  switch (response.status) {
    case 401: return "the server has asked for the client to provide credentials";
    case 404: return "the server could not find the requested resource";
    case 405: return "the server does not allow this method on the requested resource";
    case 503: return "the server is currently unable to handle the request";
    default: break;
  }
  if (response.status >= 500)
    return "an error on the server (" + base::to_json(json::value(response.body.substr(0, 2048))) +
           ") has prevented the request from succeeding";
  return "the server responded with the status code " + std::to_string(response.status) +
         " but did not return more information";
}

}  // namespace

WebhookClient::WebhookClient(Registry& registry) : registry_(registry), resolver_(registry.loop()) {}
WebhookClient::~WebhookClient() = default;

base::Result<Destination> WebhookClient::endpoint_of(const std::string& ns, const std::string& service,
                                                     int port) {
  std::string number = std::to_string(port);
  ServiceLookup found = look_up_service(registry_, ns, service, number);
  if (found.endpoints.empty())
    return unreachable("service " + ns + "/" + service, found.text(service, number));
  const ServiceEndpoint& chosen = any_of(found.endpoints);
  return Destination{chosen.address, service + "." + ns + ".svc", "/", "", chosen.port};
}

base::Result<Destination> WebhookClient::destination(const json::value& config) {
  Destination out;
  if (std::string_view url = base::string_at(config, "url"); !url.empty()) {
    out = TRY(of_url(url));
  } else {
    int port = static_cast<int>(base::as_int(base::find_path(config, "service", "port"), 443));
    out = TRY(endpoint_of(std::string(base::string_at(config, "service", "namespace")),
                          std::string(base::string_at(config, "service", "name")), port));
    if (std::string_view path = base::string_at(config, "service", "path"); !path.empty()) out.path = path;
  }
  auto ca = base::base64_decode(base::string_at(config, "caBundle"));
  if (ca) out.ca_pem = std::move(*ca);
  return out;
}

base::Result<std::shared_ptr<WebhookClient::Pool>> WebhookClient::pool_for(const Destination& to) {
  std::string key = to.host + "|" + std::to_string(to.port) + "|" + to.server_name + "|" + to.ca_pem;
  auto it = pools_.find(key);
  if (it == pools_.end()) {
    auto context = TRY(base::tls::Context::client(to.ca_pem, {}));
    base::http::Client::Options options;
    options.host = to.host;
    options.port = to.port;
    options.server_name = to.server_name;
    options.max_response_bytes = kMaxAnswerBytes;
    options.connect_timeout = kMaxTimeout;  // the call's own is what ends it
    if (pools_.size() >= kMaxPools) {
      auto oldest = pools_.end();
      for (auto each = pools_.begin(); each != pools_.end(); ++each)
        if (each->second->open == 0 && (oldest == pools_.end() || each->second->used < oldest->second->used))
          oldest = each;
      if (oldest != pools_.end()) pools_.erase(oldest);
    }
    auto pool = std::make_shared<Pool>();
    pool->client = std::make_unique<base::http::Client>(registry_.loop(), std::move(context), options);
    it = pools_.emplace(key, std::move(pool)).first;
  }
  it->second->used = next_++;
  return it->second;
}

void WebhookClient::post(const json::value& client_config, std::string body, base::Duration timeout,
                         Done asked) {
  auto to = destination(client_config);
  Destination where = to.ok() ? *to : Destination();
  Done done = [asked = std::move(asked), url = asked_url(client_config, timeout), host = where.host,
               name = where.server_name, port = where.port](base::Result<base::http::Response> result) {
    if (result.ok() && result->status == 200) return asked(std::move(result));
    std::string why = result.ok() ? status_words(*result)
                                  : "Post " + base::to_json(json::value(url)) + ": " +
                                        go_words(result.error(), host, name, port);
    asked(base::make_error(result.ok() ? base::Kind::kUnavailable : result.error().kind, "", "",
                           std::move(why)));
  };
  if (!to.ok()) return done(to.error());
  // The name is looked up within the time that the call has.
  auto began = std::chrono::steady_clock::now();
  uint64_t id = next_++;
  auto waiting = std::make_shared<Done>(std::move(done));
  auto late = registry_.loop().after(timeout, [waiting, host = to->host] {
    if (Done told = std::exchange(*waiting, nullptr))
      told(base::make_error(base::Kind::kTimeout, "resolve", host, "no answer in time"));
  });
  timeouts_[id] = std::move(late);
  resolver_.resolve(to->host, [this, id, to = *to, began, timeout, waiting,
                               body = std::move(body)](base::Result<std::string> address) mutable {
    timeouts_.erase(id);
    Done told = std::exchange(*waiting, nullptr);
    if (!told) return;
    if (!address.ok()) return told(address.error());
    to.host = std::move(*address);
    send(to, std::move(body), timeout, timeout - (std::chrono::steady_clock::now() - began), std::move(told));
  });
}

void WebhookClient::send(const Destination& to, std::string body, base::Duration timeout, base::Duration left,
                         Done done) {
  auto pool = pool_for(to);
  if (!pool.ok()) return done(pool.error());
  base::http::Request request;
  request.method = "POST";
  request.target = to.path + (to.path.find('?') == std::string::npos ? "?timeout=" : "&timeout=") +
                   std::to_string(std::chrono::duration_cast<std::chrono::seconds>(timeout).count()) + "s";
  request.headers.add("Host", to.server_name);
  request.headers.add("Content-Type", "application/json");
  request.headers.add("Accept", "application/json");
  request.headers.add("User-Agent", "sampan-master");
  request.body = std::move(body);
  uint64_t id = next_++;
  ++(*pool)->open;
  calls_[id] = (*pool)->client->call(
      std::move(request), std::max(left, base::Duration(std::chrono::milliseconds(1))),
      [this, id, pool = *pool, done = std::move(done)](base::Result<base::http::Response> result) {
        auto keep = std::move(calls_[id]);  // the call ends after its callback
        calls_.erase(id);
        --pool->open;
        done(std::move(result));
      });
}

}  // namespace master
