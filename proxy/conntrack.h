// Connection-tracking entries of UDP Services: those that lead to an endpoint that is gone are
// removed, because UDP has no end of connection and a busy client would keep its entry for ever.
#pragma once

#include <functional>
#include <set>

#include "base/result.h"
#include "proxy/table.h"

namespace proxy {

// Removes each UDP entry whose destination was one of `services` and for which `is_valid`(service,
// endpoint address, port) is false; an entry that was never rewritten has the service itself as its
// endpoint. Returns how many were removed.
base::Result<size_t> remove_stale_udp(const std::set<Key>& services,
                                      const std::function<bool(const Key&, Ip, uint16_t)>& is_valid);

}  // namespace proxy
