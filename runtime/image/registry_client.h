// One repository on one registry, over the distribution protocol (distribution-spec v1.1):
// manifests and blobs by GET, authentication as the registry asks for. Used by several threads,
// each with an HttpClient of its own. Internal to runtime/.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>

#include "runtime/image/http.h"

namespace runtime {

class RegistryClient {
 public:
  // `registries` outlives this.
  RegistryClient(const Registries& registries, Registries::Endpoint endpoint, std::string repository_path);

  struct Fetched {
    std::string text, digest;  // the digest is of the bytes, and is the one that was asked for
  };
  // `reference` is a tag or a digest. kNotFound, kDenied, kCorrupt, kUnavailable as everywhere.
  base::Result<Fetched> manifest(HttpClient& http, const std::string& reference);
  // The caller verifies what its sink gets. Statuses other than 200 and 206 are errors; 416 is
  // kInvalid.
  base::Status blob(HttpClient& http, const std::string& digest, uint64_t from_byte,
                    const std::function<base::Status(int, std::string_view)>& sink,
                    const std::atomic<bool>* stop);
  const Registries::Endpoint& endpoint() const { return endpoint_; }
  // The last answer was 429 or 503: it would rather be asked later.
  bool busy() const { return busy_; }
  // For as long as it said with Retry-After (a minute at most), else for `pause`.
  void wait_until_asked_again(std::chrono::milliseconds pause);

 private:
  base::Result<HttpResponse> get(HttpClient& http, HttpRequest request, const std::string& what);
  base::Result<std::string> authorize(HttpClient& http, const HttpResponse& refusal, const std::string& what);
  base::Result<std::string> fetch_token(HttpClient& http, const Challenge& challenge);
  base::Error refusal(const HttpResponse& response, const std::string& what) const;

  const Registries& registries_;
  Registries::Endpoint endpoint_;
  std::string path_;
  std::atomic<bool> busy_{false};
  std::atomic<int> retry_after_s_{0};
  std::mutex mutex_;           // guards authorization_
  std::string authorization_;  // the header's value; empty until asked for
};

}  // namespace runtime
