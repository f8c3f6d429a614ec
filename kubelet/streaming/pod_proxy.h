// pods/NAME/proxy ends here: a request for one of this node's Pods, sent to the Pod's address and
// answered with what it says. Owns the connections; who may ask was decided before.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/http/client.h"
#include "base/http/server.h"

namespace kubelet {

class PodProxy {
 public:
  explicit PodProxy(base::Loop& loop) : loop_(loop) {}
  // `target`: path and query as the Pod shall see them. Over TLS no certificate is verified.
  void handle(std::shared_ptr<base::http::Exchange> exchange, const std::string& ip, int port, bool tls,
              std::string target);

 private:
  struct Passage {
    std::unique_ptr<base::http::Client> client;
    std::unique_ptr<base::http::Client::Call> call;
  };
  base::Loop& loop_;
  std::map<uint64_t, Passage> passages_;
  uint64_t next_ = 1;
};

}  // namespace kubelet
