// Connection-tracking entries. Of UDP Services, those that lead to an endpoint that is gone are removed,
// because UDP has no end of connection and a busy client would keep its entry for ever. What a NetworkPolicy
// does not allow any more is marked, not removed: the kernel would take up a connection that it has forgotten
// with its next packet, which may be an answer, and judge that as if the server had begun.
#pragma once

#include <functional>
#include <set>

#include "base/result.h"
#include "proxy/policy_plan.h"
#include "proxy/table.h"

namespace proxy {

// Removes each UDP entry whose destination was one of `services` and for which `is_valid`(service,
// endpoint address, port) is false; an entry that was never rewritten has the service itself as its
// endpoint. Returns how many were removed.
base::Result<size_t> remove_stale_udp(const std::set<Key>& services,
                                      const std::function<bool(const Key&, Ip, uint16_t)>& is_valid);

// Gives each IPv4 connection the mark kDeniedConnection or takes it, as `allows` says of its packets (where
// they go behind a Service). Other bits of the mark stay.
struct Judged {
  size_t denied = 0;   // all with the mark now
  size_t changed = 0;  // of them and of others
};
base::Result<Judged> judge_connections(const std::function<bool(const Packet&)>& allows);

}  // namespace proxy
