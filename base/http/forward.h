// A request passed on to another server, and its answer passed back: bodies as they come, upgrades
// (WebSocket and others) spliced. Hop-by-hop headers stay behind (RFC 9110 section 7.6.1), as do the
// caller's credentials. Loop thread only.
#pragma once

#include "base/http/client.h"
#include "base/http/server.h"

namespace base::http {

struct ForwardOptions {
  std::function<void(Headers&)> change_headers;  // sees what goes on
  std::shared_ptr<bool> started;                 // set when `exchange` has been answered or begun to be
  // Sees the answer's head before it goes back, and may change it. The body passes through what it
  // returns, if anything: pieces in, what goes on out; `last` once, with an empty piece.
  using Filter = std::function<std::string(std::string_view piece, bool last)>;
  std::function<Filter(Response& head)> change_answer;
};
// `target` is what the other server is asked for. `ended` is called once: ok when the answer is
// through, an error with `answered` false when `exchange` still has to be answered. The call is
// cancelled by destroying the handle; `client` must outlive it.
[[nodiscard]] std::unique_ptr<Client::Call> forward(Client& client, std::shared_ptr<Exchange> exchange,
                                                    std::string target,
                                                    std::function<void(Status, bool answered)> ended,
                                                    const ForwardOptions& options = {});

}  // namespace base::http
