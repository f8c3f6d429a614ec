// See dns_wire.h.
#include "proxy/dns_wire.h"

#include <ldns/ldns.h>

#include <memory>

namespace proxy::dns {
namespace {

struct PacketFree {
  void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
};
using Packet = std::unique_ptr<ldns_pkt, PacketFree>;

Packet parse(std::string_view wire) {
  ldns_pkt* packet = nullptr;
  if (ldns_wire2pkt(&packet, reinterpret_cast<const uint8_t*>(wire.data()), wire.size()) !=
      LDNS_STATUS_OK)
    return nullptr;
  return Packet(packet);
}
std::string bytes_of(ldns_pkt* packet) {
  uint8_t* data = nullptr;
  size_t size = 0;
  if (ldns_pkt2wire(&data, packet, &size) != LDNS_STATUS_OK) return {};
  std::string wire(reinterpret_cast<char*>(data), size);
  std::free(data);
  return wire;
}
std::string text_of(const ldns_rdf* name) {
  char* text = ldns_rdf2str(name);
  std::string out = text ? text : "";
  std::free(text);
  if (!out.empty() && out.back() == '.') out.pop_back();
  return out;
}
std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}
ldns_rdf* dname(const std::string& name) {
  ldns_rdf* made = ldns_dname_new_frm_str((name + ".").c_str());
  return made ? made : ldns_dname_new_frm_str("invalid.");
}
ldns_rr* new_rr(const std::string& owner, uint16_t type, uint32_t ttl) {
  ldns_rr* rr = ldns_rr_new();
  ldns_rr_set_owner(rr, dname(owner));
  ldns_rr_set_type(rr, static_cast<ldns_rr_type>(type));
  ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
  ldns_rr_set_ttl(rr, ttl);
  return rr;
}
void push_u16(ldns_rr* rr, uint16_t value) {
  ldns_rr_push_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, value));
}
void push_u32(ldns_rr* rr, ldns_rdf_type type, uint32_t value) {
  ldns_rr_push_rdf(rr, ldns_native2rdf_int32(type, value));
}

ldns_rr* to_rr(const Record& record, const std::string& asked) {
  ldns_rr* rr = new_rr(record.name.empty() ? asked : record.name, record.type, kTtlSeconds);
  switch (record.type) {
    case kA:
      ldns_rr_push_rdf(rr, ldns_rdf_new_frm_str(LDNS_RDF_TYPE_A, record.data.c_str()));
      break;
    case kSrv:
      push_u16(rr, 0);    // priority
      push_u16(rr, 100);  // weight
      push_u16(rr, record.srv_port);
      ldns_rr_push_rdf(rr, dname(record.data));
      break;
    case kTxt:
      ldns_rr_push_rdf(rr, ldns_rdf_new_frm_str(LDNS_RDF_TYPE_STR, record.data.c_str()));
      break;
    default: ldns_rr_push_rdf(rr, dname(record.data)); break;
  }
  return rr;
}
ldns_rr* soa(const Config& config) {
  ldns_rr* rr = new_rr(config.domain, kSoa, kTtlSeconds);
  ldns_rr_push_rdf(rr, dname("ns.dns." + config.domain));
  ldns_rr_push_rdf(rr, dname("hostmaster." + config.domain));
  push_u32(rr, LDNS_RDF_TYPE_INT32, 1);  // serial: nobody transfers this zone
  for (uint32_t period : {7200u, 1800u, 86400u}) push_u32(rr, LDNS_RDF_TYPE_PERIOD, period);
  push_u32(rr, LDNS_RDF_TYPE_PERIOD, kTtlSeconds);  // negative TTL
  return rr;
}

Packet reply_to(const Query& query, uint8_t code) {
  Packet packet(ldns_pkt_new());
  ldns_pkt_set_id(packet.get(), query.id);
  ldns_pkt_set_qr(packet.get(), true);
  ldns_pkt_set_opcode(packet.get(), static_cast<ldns_pkt_opcode>(query.opcode));
  ldns_pkt_set_rd(packet.get(), query.recursion_desired);
  ldns_pkt_set_ra(packet.get(), true);
  ldns_pkt_set_rcode(packet.get(), code);
  if (query.has_question) {
    ldns_rr* question = new_rr(query.name, query.type, 0);
    ldns_rr_set_class(question, static_cast<ldns_rr_class>(query.dns_class));
    ldns_rr_set_question(question, true);
    ldns_pkt_push_rr(packet.get(), LDNS_SECTION_QUESTION, question);
  }
  if (query.edns) {
    ldns_pkt_set_edns_udp_size(packet.get(), kOurUdpBytes);
    if (query.edns_version != 0) ldns_pkt_set_edns_extended_rcode(packet.get(), 1);  // BADVERS
  }
  return packet;
}
// Without its records and with TC when it does not fit.
std::string fit(Packet packet, const Query& query, size_t limit_bytes) {
  std::string wire = bytes_of(packet.get());
  if (wire.size() <= limit_bytes) return wire;
  Packet empty = reply_to(query, ldns_pkt_get_rcode(packet.get()));
  ldns_pkt_set_aa(empty.get(), ldns_pkt_aa(packet.get()));
  ldns_pkt_set_tc(empty.get(), true);
  return bytes_of(empty.get());
}

}  // namespace

base::Result<Query> parse_query(std::string_view wire) {
  Packet packet = parse(wire);
  if (!packet || ldns_pkt_qr(packet.get()))
    return base::make_error(base::Kind::kInvalid, "parse DNS query");
  Query query;
  query.id = ldns_pkt_id(packet.get());
  query.opcode = static_cast<uint8_t>(ldns_pkt_get_opcode(packet.get()));
  query.recursion_desired = ldns_pkt_rd(packet.get());
  query.edns = ldns_pkt_edns(packet.get());
  if (query.edns) {
    query.edns_version = ldns_pkt_edns_version(packet.get());
    query.dnssec_ok = ldns_pkt_edns_do(packet.get());
    query.udp_bytes = std::clamp<size_t>(ldns_pkt_edns_udp_size(packet.get()), kPlainUdpBytes,
                                         kOurUdpBytes);
  }
  if (ldns_pkt_qdcount(packet.get()) == 1) {
    ldns_rr* question = ldns_rr_list_rr(ldns_pkt_question(packet.get()), 0);
    query.has_question = true;
    query.name = text_of(ldns_rr_owner(question));
    query.lower_name = lower(query.name);
    query.type = static_cast<uint16_t>(ldns_rr_get_type(question));
    query.dns_class = static_cast<uint16_t>(ldns_rr_get_class(question));
  }
  return query;
}

std::string encode_answer(const Query& query, const Answer& answer, const Config& config,
                          size_t limit_bytes, uint32_t rotation) {
  Packet packet = reply_to(query, answer.code);
  ldns_pkt_set_aa(packet.get(), true);
  size_t n = answer.answers.size();
  for (size_t i = 0; i < n; ++i)
    ldns_pkt_push_rr(packet.get(), LDNS_SECTION_ANSWER,
                     to_rr(answer.answers[(i + rotation) % n], query.name));
  if (n == 0) ldns_pkt_push_rr(packet.get(), LDNS_SECTION_AUTHORITY, soa(config));
  for (const Record& record : answer.additional)
    ldns_pkt_push_rr(packet.get(), LDNS_SECTION_ADDITIONAL, to_rr(record, query.name));
  return fit(std::move(packet), query, limit_bytes);
}
std::string encode_error(const Query& query, uint8_t code) {
  return bytes_of(reply_to(query, code).get());
}
std::string encode_format_error(std::string_view wire) {
  if (wire.size() < 12 || (wire[2] & 0x80)) return {};  // no header, or an answer itself
  std::string reply(wire.substr(0, 2));
  reply += static_cast<char>(0x80 | (wire[2] & 0x79));
  reply += static_cast<char>(0x80 | kFormErr);
  return reply + std::string(8, '\0');
}

std::string encode_upstream_query(const Query& query, const std::string& name, uint16_t id) {
  Packet packet(ldns_pkt_new());
  ldns_pkt_set_id(packet.get(), id);
  ldns_pkt_set_rd(packet.get(), true);
  ldns_rr* question = new_rr(name, query.type, 0);
  ldns_rr_set_class(question, static_cast<ldns_rr_class>(query.dns_class));
  ldns_rr_set_question(question, true);
  ldns_pkt_push_rr(packet.get(), LDNS_SECTION_QUESTION, question);
  ldns_pkt_set_edns_udp_size(packet.get(), kOurUdpBytes);
  ldns_pkt_set_edns_do(packet.get(), query.dnssec_ok);
  return bytes_of(packet.get());
}

std::optional<UpstreamAnswer> check_upstream(std::string_view wire, uint16_t id,
                                             const std::string& name, uint16_t type) {
  Packet packet = parse(wire);
  if (!packet || !ldns_pkt_qr(packet.get()) || ldns_pkt_id(packet.get()) != id ||
      ldns_pkt_qdcount(packet.get()) != 1)
    return std::nullopt;
  ldns_rr* question = ldns_rr_list_rr(ldns_pkt_question(packet.get()), 0);
  if (lower(text_of(ldns_rr_owner(question))) != lower(name) || ldns_rr_get_type(question) != type)
    return std::nullopt;
  UpstreamAnswer result;
  result.truncated = ldns_pkt_tc(packet.get());
  ldns_pkt_rcode code = ldns_pkt_get_rcode(packet.get());
  ldns_rr_list* answers = ldns_pkt_answer(packet.get());
  if (code == LDNS_RCODE_NOERROR && ldns_rr_list_rr_count(answers) > 0) {
    uint32_t least = 3600;
    for (size_t i = 0; i < ldns_rr_list_rr_count(answers); ++i)
      least = std::min(least, ldns_rr_ttl(ldns_rr_list_rr(answers, i)));
    result.keep_seconds = least;
  } else if (code == LDNS_RCODE_NOERROR || code == LDNS_RCODE_NXDOMAIN) {
    ldns_rr_list* authority = ldns_pkt_authority(packet.get());
    for (size_t i = 0; i < ldns_rr_list_rr_count(authority); ++i) {
      ldns_rr* rr = ldns_rr_list_rr(authority, i);
      if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || ldns_rr_rd_count(rr) != 7) continue;
      result.keep_seconds = std::min({ldns_rr_ttl(rr), ldns_rdf2native_int32(ldns_rr_rdf(rr, 6)), 300u});
    }
  }
  if (result.truncated) result.keep_seconds = 0;
  return result;
}

std::string adapt_upstream(std::string_view wire, const Query& query, uint32_t age_seconds,
                           size_t limit_bytes, const std::vector<Record>& before) {
  Packet from = parse(wire);
  if (!from) return encode_error(query, kServFail);
  Packet packet = reply_to(query, ldns_pkt_get_rcode(from.get()));
  ldns_pkt_set_tc(packet.get(), ldns_pkt_tc(from.get()));
  if (query.dnssec_ok) ldns_pkt_set_edns_do(packet.get(), true);
  ldns_pkt_set_ad(packet.get(), ldns_pkt_ad(from.get()));
  for (const Record& record : before)
    ldns_pkt_push_rr(packet.get(), LDNS_SECTION_ANSWER, to_rr(record, query.name));
  for (auto [section, list] :
       {std::pair{LDNS_SECTION_ANSWER, ldns_pkt_answer(from.get())},
        std::pair{LDNS_SECTION_AUTHORITY, ldns_pkt_authority(from.get())},
        std::pair{LDNS_SECTION_ADDITIONAL, ldns_pkt_additional(from.get())}}) {
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); ++i) {
      ldns_rr* rr = ldns_rr_clone(ldns_rr_list_rr(list, i));
      uint32_t ttl = ldns_rr_ttl(rr);
      ldns_rr_set_ttl(rr, ttl > age_seconds ? ttl - age_seconds : 0);
      ldns_pkt_push_rr(packet.get(), section, rr);
    }
  }
  return fit(std::move(packet), query, limit_bytes);
}

}  // namespace proxy::dns
