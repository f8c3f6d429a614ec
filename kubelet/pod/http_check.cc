// httpGet of probes and hooks over base/http/client.h: redirects and the judgement of answers are ours.
#include <strings.h>

#include "base/http/client.h"
#include "base/tls_unverified.h"
#include "kubelet/pod/net_check.h"
#include "kubelet/pod/probe_url.h"

namespace kubelet {

namespace {

namespace http = base::http;

constexpr size_t kMaxBodyBytes = 10 << 10;  // what is read of an answer; the rest does not matter
constexpr int kMaxRedirects = 10;

// A probe asks whether the server answers, not who it is (Kubernetes: certificates are not verified).
base::Result<std::shared_ptr<base::tls::Context>> tls_context() {
  static std::shared_ptr<base::tls::Context> held;
  if (!held) held = TRY(base::tls::unverified_client({}));
  return held;
}

class HttpAttempt final : public NetAttempt {
 public:
  HttpAttempt(base::Loop& loop, const NetTarget& target, std::string address, NetDone done)
      : loop_(loop), target_(target), address_(std::move(address)), done_(std::move(done)) {
    auto url = probe_url(target.kind == NetTarget::Kind::kHttps, target.host, target.port, target.path);
    if (!url.ok()) {
      soon_ = loop_.after({}, [this, why = url.error().reason] {
        finish({.success = false, .message = why, .errored = "unknown"});
      });
      return;
    }
    url_ = std::move(*url);
    soon_ = loop_.after({}, [this] { ask(); });
  }
  Outcome overdue() const override {
    if (!head_) return failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    return {
        .success = false,
        .message = "context deadline exceeded (Client.Timeout or context cancellation while reading body)",
        .errored = "failure"};
  }

 private:
  Outcome failed(const std::string& why) const {
    return {.success = false, .message = "Get \"" + url_.text() + "\": " + why};
  }
  void finish(Outcome outcome) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
  }
  // The client and the call that are under way may be who calls us.
  void drop_connection() {
    loop_.post([call = std::shared_ptr<http::Client::Call>(std::move(call_)),
                client = std::shared_ptr<http::Client>(std::move(client_))] {});
  }

  void ask() {
    auto headers = probe_headers(url_, target_.headers, target_.hook ? "lifecycle" : "probe");
    if (!headers.ok()) return finish(failed(headers.error().reason));
    std::shared_ptr<base::tls::Context> context;
    if (url_.tls) {
      auto made = tls_context();
      if (!made.ok()) return finish(failed(made.error().message()));
      context = std::move(*made);
    }
    http::Client::Options options;
    options.host = address_;
    options.port = url_.port;
    options.server_name = url_.host;
    options.connect_timeout = std::chrono::hours(1);  // ours is shorter and has its own words
    client_ = std::make_unique<http::Client>(loop_, std::move(context), std::move(options));
    http::Request request;
    request.target = url_.target;
    request.headers.list = std::move(*headers);
    if (!referer_.empty() && request.headers.get("Referer").empty()) request.headers.add("Referer", referer_);
    head_.reset();
    body_.clear();
    call_ = client_->stream(
        std::move(request),
        [this](const http::Response& head) {
          if (call_) head_ = head;
        },
        [this](std::string_view data) {
          if (!call_ || !done_) return;  // what was asked before a redirect
          body_.append(data.substr(0, kMaxBodyBytes - body_.size()));
          if (body_.size() >= kMaxBodyBytes) answered();
        },
        [this](base::Status end) { ended(std::move(end)); });
  }

  void ended(base::Status end) {
    if (!done_ || !call_) return;  // answered before its end
    if (end.ok() && head_) return answered();
    if (head_) return finish({.success = false, .message = "unexpected EOF", .errored = "failure"});
    const base::Error& error = end.error();
    // net/http: server gave HTTP response to HTTPS client; hooks then take what they get.
    if (url_.tls && target_.hook && error.errno_value == 0 &&
        error.reason.find("wrong version number") != std::string::npos) {
      url_.tls = false;
      drop_connection();
      std::erase_if(target_.headers, [](const auto& header) {
        return strcasecmp(header.first.c_str(), "authorization") == 0;
      });
      return ask();
    }
    if (error.errno_value != 0 && error.operation == "connect")
      return finish(failed(dial_error(url_.host_header(), error.errno_value)));
    finish(failed(error.reason.starts_with("the server closed the connection") ? "EOF"
                  : error.reason.empty()                                       ? error.message()
                                                                               : error.reason));
  }

  // Head and body (or enough of it) are here.
  void answered() {
    if (!done_ || !head_) return;
    const int status = head_->status;
    const std::string location(head_->headers.get("Location"));
    const bool redirect = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (redirect && !location.empty()) {
      auto next = redirect_url(url_, location);
      if (!next.ok()) return finish(failed(next.error().reason));
      if (next->host == target_.host) {
        if (++redirects_ >=
            kMaxRedirects)  // net/http names the Location as it came; it has no control characters
          return finish(
              {.success = false, .message = "Get \"" + location + "\": stopped after 10 redirects"});
        return follow(std::move(*next));
      }
    }
    if (target_.hook) return finish({.success = true, .message = ""});
    if (status < 200 || status >= 400)  // without the body, which may hold what a Pod's readers must not see
      return finish(
          {.success = false, .message = "HTTP probe failed with statuscode: " + std::to_string(status)});
    if (status >= 300)
      return finish({.success = true,
                     .message = "Probe terminated redirects, Response body: " + body_,
                     .warning = true});
    finish({.success = true, .message = ""});
  }
  void follow(ProbeUrl next) {
    drop_connection();
    referer_ = url_.tls && !next.tls ? "" : url_.text();
    if (next.absolute)
      std::erase_if(target_.headers,
                    [](const auto& header) { return strcasecmp(header.first.c_str(), "host") == 0; });
    url_ = std::move(next);
    soon_ = loop_.after({}, [this] { ask(); });
  }

  base::Loop& loop_;
  NetTarget target_;
  std::string address_;
  NetDone done_;
  ProbeUrl url_;
  std::string referer_, body_;
  int redirects_ = 0;
  std::optional<http::Response> head_;
  base::Loop::Handle soon_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<http::Client::Call> call_;
};

}  // namespace

std::unique_ptr<NetAttempt> ask_http(base::Loop& loop, const NetTarget& target, std::string address,
                                     NetDone done) {
  return std::make_unique<HttpAttempt>(loop, target, std::move(address), std::move(done));
}

}  // namespace kubelet
