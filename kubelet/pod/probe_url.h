// Where an httpGet of a probe or a hook goes, and where a redirect leads. Pure: text of the API and of
// servers in, text that may stand in a request line and a header out; nothing else of theirs gets there.
// Rules: Go's net/url and net/http as Kubernetes' kubelet uses them (a path that is no URL is a plain
// path and is escaped whole).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kubelet {

struct ProbeUrl {
  bool tls = false;
  std::string host;  // name or address, without brackets
  int port = 0;
  std::string target = "/";         // path and query, escaped
  bool absolute = false;            // of a redirect: it named its host, so a given Host header ends here
  std::string host_header() const;  // "10.0.0.1:80", "[fd00::1]:80"
  std::string text() const;         // "http://10.0.0.1:80/healthz"
};

// kInvalid where `host` cannot stand in a URL. Any path has a form that can.
base::Result<ProbeUrl> probe_url(bool tls, const std::string& host, int port, std::string_view path);
// The place a Location header of `from` names. kInvalid: it names none.
base::Result<ProbeUrl> redirect_url(const ProbeUrl& from, std::string_view location);

using HeaderList = std::vector<std::pair<std::string, std::string>>;
// The headers of the request for `url`: those the Pod's author gave, then what is missing.
// `purpose` ends the user agent: "probe", "lifecycle". kInvalid names the header that is none.
base::Result<HeaderList> probe_headers(const ProbeUrl& url, const HeaderList& given,
                                       std::string_view purpose);

}  // namespace kubelet
