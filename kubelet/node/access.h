// Who may ask the kubelet's server: a client certificate of the cluster's CA, or a bearer token that the API
// server knows (TokenReview), and then what the API server lets them do (SubjectAccessReview of
// nodes/<part>). Answers are kept as long as kube-apiserver's clients keep them. Everything on the loop's
// thread. Rules: https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/ (fine-grained
// since 1.36)
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/client/client.h"
#include "base/http/server.h"

namespace kubelet {

// "get" of GET…; "" for methods that are none of the API's.
std::string_view access_verb(std::string_view method);
// Subresources of the node any of which allows it, in the order in which they are asked for: "/pods" ->
// {"pods", "proxy"}.
std::vector<std::string_view> access_parts(std::string_view path);

class Access {
 public:
  Access(api::Client& client, std::string node_name)
      : client_(client), node_name_(std::move(node_name)), alive_(std::make_shared<char>()) {}
  // Calls `allowed`, at once or later, or answers the exchange itself: 401, 403, 429, 500.
  void check(const std::shared_ptr<base::http::Exchange>& exchange, std::function<void()> allowed);

 private:
  struct User {
    std::string name, uid;
    std::vector<std::string> groups;
    base::json::value extra;  // object or null
  };
  struct Login {  // of one token, by its SHA-256
    base::Loop::Steady until{};
    bool known = false;
    User user;
  };
  struct Verdict {
    base::Loop::Steady until{};
    bool allowed = false;
  };
  using LoginDone = std::function<void(base::Result<Login>)>;
  using VerdictDone = std::function<void(base::Result<bool>)>;
  void identify(std::string_view token, LoginDone done);
  void may(const User& user, std::string_view verb, std::string_view part, VerdictDone done);
  void decide(std::shared_ptr<base::http::Exchange> exchange, User user, size_t part,
              std::function<void()> allowed);

  api::Client& client_;
  std::string node_name_;
  std::map<std::string, Login> logins_;
  std::map<std::string, Verdict> verdicts_;
  std::map<std::string, std::vector<LoginDone>> asking_logins_;
  std::map<std::string, std::vector<VerdictDone>> asking_verdicts_;
  std::shared_ptr<char> alive_;
};

}  // namespace kubelet
