// HTTP GET for registries, over libcurl: TLS as configured, redirects, ranges, and errors that say
// what failed. One object per thread. Internal to runtime/.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/image/registry.h"

namespace runtime {

struct HttpRequest {
  std::string url;
  std::vector<std::string> headers;       // "Name: value"
  const RegistrySettings* tls = nullptr;  // plain_http, insecure, ca_file
  uint64_t from_byte = 0;                 // > 0: Range
  size_t max_body_bytes = 4u << 20;       // of a body without `sink`
  // Called with each piece of a 200 or 206 body; an error ends the transfer and is returned.
  std::function<base::Status(int status, std::string_view piece)> sink;
  const std::atomic<bool>* stop = nullptr;  // true: give up with kCanceled
};
struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // lower case; values of equal names joined by ", "
  std::string body;                            // also of refusals, cut at 64 KiB
};

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  // Any status is a response. kUnavailable: not reached or broken off, worth a retry; kTimeout;
  // kDenied: the certificate is not trusted.
  base::Result<HttpResponse> get(const HttpRequest& request);

 private:
  void* handle_;  // CURL*
};

}  // namespace runtime
