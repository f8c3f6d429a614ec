// DNS packets to plain values and back, over ldns: pure. Bad bytes are an Error, never more, and cost no
// more than their length says.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "proxy/dns_zone.h"

namespace proxy::dns {

constexpr size_t kPlainUdpBytes = 512, kOurUdpBytes = 1232;  // RFC 1035; DNS flag day 2020

struct Query {
  uint16_t id = 0;
  uint8_t opcode = 0;
  bool recursion_desired = false, has_question = false;
  std::string name;  // as sent, without the final dot
  std::string lower_name;
  uint16_t type = 0, dns_class = 1;
  bool edns = false, dnssec_ok = false;
  uint8_t edns_version = 0;
  size_t udp_bytes = kPlainUdpBytes;  // what the client takes
};
base::Result<Query> parse_query(std::string_view wire);

// The answer's bytes; over `limit_bytes` the records are left out and TC is set. NXDOMAIN and empty
// answers carry the SOA, so that resolvers remember them for kTtlSeconds. `rotation` turns the order
// of the addresses, so that clients that take the first spread.
std::string encode_answer(const Query& query, const Answer& answer, const Config& config, size_t limit_bytes,
                          uint32_t rotation = 0);
std::string encode_error(const Query& query, uint8_t code);
// For bytes that do not even parse; empty when there is no id to answer to.
std::string encode_format_error(std::string_view wire);

// What an upstream server is asked for a client: our id, EDNS with our size.
std::string encode_upstream_query(const Query& query, const std::string& name, uint16_t id);
// Checks that `wire` answers (id, name, type, class), and how long it may be kept: the least TTL, or the
// SOA's negative TTL (RFC 2308); 0 = not at all.
struct UpstreamAnswer {
  bool truncated = false;
  uint32_t keep_seconds = 0;
};
std::optional<UpstreamAnswer> check_upstream(std::string_view wire, uint16_t id, const std::string& name,
                                             uint16_t type, uint16_t dns_class);
// An upstream's answer for this client: its id, its spelling of the name, TTLs less `age_seconds`,
// `before` (the CNAME of an ExternalName) in front; only what the question leads to.
std::string adapt_upstream(std::string_view wire, const Query& query, uint32_t age_seconds,
                           size_t limit_bytes, const std::vector<Record>& before);

}  // namespace proxy::dns
