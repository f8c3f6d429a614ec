// What the proxy changes in an answer, so that a page which knows nothing of the proxy works behind
// it: links in HTML and redirects get the path under which the proxy serves it. Pure; keeps no more
// than one unfinished tag. Source: k8s.io/apimachinery, the rules of its proxy transport.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/http/http.h"

namespace master {

struct ProxiedAt {
  std::string prefix;        // "/api/v1/namespaces/ns/pods/p/proxy"
  std::string backend_host;  // "10.0.0.1:8080": links to it are links to itself
  std::string client_host;   // the Host that the client asked for
};

// A link as it must be behind the proxy; those to other hosts and relative ones stay as they are.
std::string proxied_link(const ProxiedAt& at, std::string_view link);

// HTML in pieces; the links of the attributes that hold one (HTML 4 and 5) are changed.
class LinkRewriter {
 public:
  explicit LinkRewriter(ProxiedAt at) : at_(std::move(at)) {}
  std::string take(std::string_view piece, bool last);

 private:
  // Bytes at the front of `in` that are done with; 0: more is needed.
  size_t step(std::string_view in, std::string& out, bool last);
  size_t start_tag(std::string_view in, std::string& out);
  ProxiedAt at_;
  std::string pending_;
  std::string raw_until_;  // "</script", "-->": what ends the text that is no markup
};

// Changes the head (Location, CORS headers, encoding); a filter for its body where that is HTML,
// else null.
std::function<std::string(std::string_view piece, bool last)> change_proxied(const ProxiedAt& at,
                                                                             base::http::Response& head);

}  // namespace master
