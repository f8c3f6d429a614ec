// Connections to the kubelets of the cluster's nodes, and the calls that are under way on them. Loop thread
// only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/http/client.h"
#include "master/registry/registry.h"

namespace master {

class NodeClients {
 public:
  // `context` is shown to kubelets; null: nobody is reached.
  NodeClients(Registry& registry, std::shared_ptr<base::tls::Context> context)
      : registry_(registry), context_(std::move(context)) {}

  // The client of a node, made anew where its address changed; null and *refusal set when there is none.
  base::http::Client* find(const std::string& node, base::json::value* refusal);
  const std::string& endpoint(const std::string& node) const;  // "10.0.0.1:10250", of one that was found

  // Calls under way, by a number; each forgets itself a turn after its end.
  using Call = std::unique_ptr<base::http::Client::Call>;
  uint64_t next_call() { return next_call_++; }
  void keep(uint64_t id, Call call) { calls_[id] = std::move(call); }
  void pause(uint64_t id, bool paused);
  std::function<void()> forget(uint64_t id, std::shared_ptr<void> with = {});

 private:
  struct Node {
    std::string endpoint;
    std::unique_ptr<base::http::Client> client;
  };
  Registry& registry_;
  const std::shared_ptr<base::tls::Context> context_;
  std::map<std::string, Node> nodes_;
  std::map<uint64_t, Call> calls_;
  uint64_t next_call_ = 1;
};

}  // namespace master
