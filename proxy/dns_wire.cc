// See dns_wire.h. ldns reads packets and encodes records; the packet around them is put together
// here, since the time of ldns_pkt2wire grows with the fourth power of a name's labels.
#include "proxy/dns_wire.h"

#include <ldns/ldns.h>
#include <strings.h>

#include <algorithm>
#include <map>
#include <memory>

namespace proxy::dns {
namespace {

// ldns follows a chain of compression pointers to its end, for each name anew: what it may cost is
// bounded by how many names there are and how long the packet is.
constexpr size_t kMaxQueryBytes = 4096, kMaxUpstreamBytes = 16 << 10, kMaxUpstreamRecords = 512;

struct PacketFree {
  void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
};
using Packet = std::unique_ptr<ldns_pkt, PacketFree>;

Packet parse(std::string_view wire) {
  ldns_pkt* packet = nullptr;
  if (ldns_wire2pkt(&packet, reinterpret_cast<const uint8_t*>(wire.data()), wire.size()) != LDNS_STATUS_OK)
    return nullptr;
  return Packet(packet);
}
uint16_t word(std::string_view wire, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(wire[at]) << 8 | static_cast<uint8_t>(wire[at + 1]));
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
    case kA: ldns_rr_push_rdf(rr, ldns_rdf_new_frm_str(LDNS_RDF_TYPE_A, record.data.c_str())); break;
    case kSrv:
      push_u16(rr, 0);    // priority
      push_u16(rr, 100);  // weight
      push_u16(rr, record.srv_port);
      ldns_rr_push_rdf(rr, dname(record.data));
      break;
    case kTxt: ldns_rr_push_rdf(rr, ldns_rdf_new_frm_str(LDNS_RDF_TYPE_STR, record.data.c_str())); break;
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

// Names in wire form: lengths are below 64 and thus no letters. ldns' comparison takes labels apart.
std::string_view bytes_of(const ldns_rdf* name) {
  return {reinterpret_cast<const char*>(ldns_rdf_data(name)), ldns_rdf_size(name)};
}
bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}
bool is_below(std::string_view name, std::string_view zone) {
  while (name.size() > zone.size()) name.remove_prefix(size_t{1} + static_cast<uint8_t>(name[0]));
  return same_name(name, zone);
}

struct RecordFree {
  void operator()(ldns_rr* rr) const { ldns_rr_free(rr); }
};
using OwnedRecord = std::unique_ptr<ldns_rr, RecordFree>;

// The bytes of one packet. A name that stood there before as an owner, the one that was asked first of
// all, is a pointer to it; other names are written out.
class Writer {
 public:
  enum Section { kQuestion, kAnswer, kAuthority, kAdditional };
  struct Flags {
    bool response = true, authoritative = false, truncated = false, recursion_desired = false,
         recursion_available = false, authentic = false;
    uint8_t opcode = 0, code = 0;
  };
  Writer(uint16_t id, const Flags& flags) {
    put(id);
    put(static_cast<uint16_t>(flags.response << 15 | flags.opcode << 11 | flags.authoritative << 10 |
                              flags.truncated << 9 | flags.recursion_desired << 8 |
                              flags.recursion_available << 7 | flags.authentic << 5 | flags.code));
    wire_.append(8, '\0');
  }
  void add(Section section, const ldns_rr* rr) {
    std::unique_ptr<ldns_buffer, void (*)(ldns_buffer*)> buffer(ldns_buffer_new(512), ldns_buffer_free);
    int as = section == kQuestion ? LDNS_SECTION_QUESTION : LDNS_SECTION_ANSWER;
    if (!buffer || ldns_rr2buffer_wire(buffer.get(), rr, as) != LDNS_STATUS_OK) return;
    const ldns_rdf* owner = ldns_rr_owner(rr);
    std::string name(bytes_of(owner));
    std::string_view bytes(reinterpret_cast<const char*>(ldns_buffer_begin(buffer.get())),
                           ldns_buffer_position(buffer.get()));
    auto known = owners_.find(name);
    if (known != owners_.end()) put(static_cast<uint16_t>(0xc000 | known->second));
    else wire_ += name;
    if (known == owners_.end() && wire_.size() - name.size() < 0x4000 && name.size() > 2)
      owners_.emplace(name, static_cast<uint16_t>(wire_.size() - name.size()));
    wire_ += bytes.substr(name.size());
    count(section);
  }
  // RFC 6891: our size, the upper bits of the code, the DO bit.
  void add_edns(uint8_t extended_code, bool dnssec_ok) {
    wire_ += '\0';
    put(LDNS_RR_TYPE_OPT);
    put(kOurUdpBytes);
    put(static_cast<uint16_t>(extended_code << 8));
    put(dnssec_ok ? 0x8000 : 0);
    put(0);
    count(kAdditional);
  }
  size_t size() const { return wire_.size(); }
  std::string take() { return std::move(wire_); }

 private:
  void put(uint16_t value) { wire_ += {static_cast<char>(value >> 8), static_cast<char>(value)}; }
  void count(Section section) {
    size_t at = 4 + 2 * static_cast<size_t>(section);
    uint16_t now = static_cast<uint16_t>(word(wire_, at) + 1);
    wire_[at] = static_cast<char>(now >> 8);
    wire_[at + 1] = static_cast<char>(now);
  }
  std::string wire_;
  std::map<std::string, uint16_t> owners_;
};

// An answer to `query`: records are added until the limit is passed, then the client gets none of them
// and TC, so that the cost is the limit's whatever a name stands for.
class Reply {
 public:
  Reply(const Query& query, Writer::Flags flags, size_t limit_bytes, bool dnssec_ok = false)
      : query_(query), flags_(flags), limit_(limit_bytes), dnssec_ok_(dnssec_ok), writer_(start(flags)) {}
  bool add(Writer::Section section, const ldns_rr* rr) {
    if (!fits_) return false;
    writer_.add(section, rr);
    return fits_ = writer_.size() + (query_.edns ? 11 : 0) <= limit_;
  }
  std::string take() {
    if (!fits_) {
      flags_.truncated = true;
      writer_ = start(flags_);
    }
    if (query_.edns) writer_.add_edns(query_.edns_version != 0 ? 1 : 0, dnssec_ok_);  // 1: BADVERS
    return writer_.take();
  }

 private:
  Writer start(Writer::Flags flags) const {
    flags.opcode = query_.opcode;
    flags.recursion_desired = query_.recursion_desired;
    flags.recursion_available = true;
    Writer writer(query_.id, flags);
    if (!query_.has_question) return writer;
    OwnedRecord question(new_rr(query_.name, query_.type, 0));
    ldns_rr_set_class(question.get(), static_cast<ldns_rr_class>(query_.dns_class));
    ldns_rr_set_question(question.get(), true);
    writer.add(Writer::kQuestion, question.get());
    return writer;
  }
  const Query& query_;
  Writer::Flags flags_;
  size_t limit_;
  bool dnssec_ok_, fits_ = true;
  Writer writer_;
};

// Of an answer's records those that the question leads to, by CNAME and DNAME: another name's would be
// taken for something that nobody asked.
std::vector<ldns_rr*> chain_of(const ldns_rr* question, const ldns_rr_list* answers) {
  std::vector<ldns_rr*> kept;
  std::vector<std::string_view> names{bytes_of(ldns_rr_owner(question))};
  for (size_t i = 0; i < ldns_rr_list_rr_count(answers); ++i) {
    ldns_rr* rr = ldns_rr_list_rr(answers, i);
    ldns_rr_type type = ldns_rr_get_type(rr);
    bool above = type == LDNS_RR_TYPE_DNAME || type == LDNS_RR_TYPE_RRSIG;
    std::string_view owner = bytes_of(ldns_rr_owner(rr));
    bool leads = std::any_of(names.begin(), names.end(), [&](std::string_view name) {
      return same_name(owner, name) || (above && is_below(name, owner));
    });
    if (!leads) continue;
    kept.push_back(rr);
    if (type == LDNS_RR_TYPE_CNAME && ldns_rr_rd_count(rr) == 1 && names.size() < 16)
      names.push_back(bytes_of(ldns_rr_rdf(rr, 0)));
  }
  return kept;
}

// Where the name at `at` ends, 0 where it is cut short or has a pointer: before it is nothing to point at.
size_t end_of_plain_name(std::string_view wire, size_t at) {
  while (at < wire.size()) {
    const auto length = static_cast<uint8_t>(wire[at]);
    if (length == 0) return at + 1;
    if (length > 63) return 0;
    at += size_t{1} + length;
  }
  return 0;
}

// What ldns is given of a query: its question, and the OPT if that stands behind it; empty where they are
// none. A loop of pointers it would follow 65,535 times, and a signature nobody looks at.
std::string plain_query(std::string_view wire) {
  constexpr size_t kHeader = 12, kFixed = 10;  // of a record, behind its name
  size_t end = kHeader;
  if (word(wire, 4) == 1) {
    end = end_of_plain_name(wire, end);
    if (end == 0 || (end += 4) > wire.size()) return {};
  }
  uint16_t records = 0;
  if (word(wire, 10) > 0 && end + 1 + kFixed <= wire.size() && wire[end] == 0 &&
      word(wire, end + 1) == LDNS_RR_TYPE_OPT) {
    end += 1 + kFixed + word(wire, end + 9);
    if (end > wire.size()) return {};
    records = 1;
  }
  std::string out(wire.substr(0, end));
  out[10] = 0;
  out[11] = static_cast<char>(records);
  return out;
}

}  // namespace

base::Result<Query> parse_query(std::string_view wire) {
  auto invalid = [] { return base::make_error(base::Kind::kInvalid, "parse DNS query"); };
  // One question, then at most an OPT and a signature: nothing else comes with a query.
  if (wire.size() < 12 || wire.size() > kMaxQueryBytes || (wire[2] & 0x80)) return invalid();
  Query query;
  query.id = word(wire, 0);
  query.opcode = static_cast<uint8_t>(wire[2] >> 3 & 15);
  query.recursion_desired = wire[2] & 1;
  if (query.opcode != 0) return query;  // told that we don't know it, whatever it brings
  if (word(wire, 4) > 1 || word(wire, 6) != 0 || word(wire, 8) != 0 || word(wire, 10) > 2) return invalid();
  std::string plain = plain_query(wire);
  Packet packet = plain.empty() ? nullptr : parse(plain);
  if (!packet) return invalid();
  query.edns = ldns_pkt_edns(packet.get());
  if (query.edns) {
    query.edns_version = ldns_pkt_edns_version(packet.get());
    query.dnssec_ok = ldns_pkt_edns_do(packet.get());
    query.udp_bytes = std::clamp<size_t>(ldns_pkt_edns_udp_size(packet.get()), kPlainUdpBytes, kOurUdpBytes);
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

std::string encode_answer(const Query& query, const Answer& answer, const Config& config, size_t limit_bytes,
                          uint32_t rotation) {
  Reply reply(query, {.authoritative = true, .code = answer.code}, limit_bytes);
  size_t n = answer.answers.size();
  for (size_t i = 0; i < n; ++i)
    if (!reply.add(Writer::kAnswer, OwnedRecord(to_rr(answer.answers[(i + rotation) % n], query.name)).get()))
      return reply.take();
  if (n == 0) reply.add(Writer::kAuthority, OwnedRecord(soa(config)).get());
  for (const Record& record : answer.additional)
    if (!reply.add(Writer::kAdditional, OwnedRecord(to_rr(record, query.name)).get())) break;
  return reply.take();
}
std::string encode_error(const Query& query, uint8_t code) {
  return Reply(query, {.code = code}, kPlainUdpBytes).take();
}
std::string encode_format_error(std::string_view wire) {
  if (wire.size() < 12 || (wire[2] & 0x80)) return {};  // no header, or an answer itself
  std::string reply(wire.substr(0, 2));
  reply += static_cast<char>(0x80 | (wire[2] & 0x79));
  reply += static_cast<char>(0x80 | kFormErr);
  return reply + std::string(8, '\0');
}

std::string encode_upstream_query(const Query& query, const std::string& name, uint16_t id) {
  Writer writer(id, {.response = false, .recursion_desired = true});
  OwnedRecord question(new_rr(name, query.type, 0));
  ldns_rr_set_class(question.get(), static_cast<ldns_rr_class>(query.dns_class));
  ldns_rr_set_question(question.get(), true);
  writer.add(Writer::kQuestion, question.get());
  writer.add_edns(0, query.dnssec_ok);
  return writer.take();
}

namespace {
Packet parse_upstream(std::string_view wire) {
  if (wire.size() < 12 || wire.size() > kMaxUpstreamBytes || word(wire, 4) != 1 ||
      size_t{word(wire, 6)} + word(wire, 8) + word(wire, 10) > kMaxUpstreamRecords)
    return nullptr;
  return parse(wire);
}
}  // namespace

std::optional<UpstreamAnswer> check_upstream(std::string_view wire, uint16_t id, const std::string& name,
                                             uint16_t type, uint16_t dns_class) {
  if (wire.size() < 12 || word(wire, 0) != id || !(wire[2] & 0x80)) return std::nullopt;
  Packet packet = parse_upstream(wire);
  if (!packet) return std::nullopt;
  ldns_rr* question = ldns_rr_list_rr(ldns_pkt_question(packet.get()), 0);
  if (lower(text_of(ldns_rr_owner(question))) != lower(name) || ldns_rr_get_type(question) != type ||
      ldns_rr_get_class(question) != dns_class)
    return std::nullopt;
  UpstreamAnswer result;
  result.truncated = ldns_pkt_tc(packet.get());
  ldns_pkt_rcode code = ldns_pkt_get_rcode(packet.get());
  std::vector<ldns_rr*> answers = chain_of(question, ldns_pkt_answer(packet.get()));
  if (code == LDNS_RCODE_NOERROR && !answers.empty()) {
    uint32_t least = 3600;
    for (const ldns_rr* rr : answers) least = std::min(least, ldns_rr_ttl(rr));
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
  Packet from = parse_upstream(wire);
  if (!from) return encode_error(query, kServFail);
  Reply reply(query,
              {.truncated = static_cast<bool>(ldns_pkt_tc(from.get())),
               .authentic = static_cast<bool>(ldns_pkt_ad(from.get())),
               .code = static_cast<uint8_t>(ldns_pkt_get_rcode(from.get()))},
              limit_bytes, query.dnssec_ok);
  for (const Record& record : before)
    if (!reply.add(Writer::kAnswer, OwnedRecord(to_rr(record, query.name)).get())) return reply.take();
  auto add = [&](Writer::Section section, ldns_rr* rr) {
    uint32_t ttl = ldns_rr_ttl(rr);
    ldns_rr_set_ttl(rr, ttl > age_seconds ? ttl - age_seconds : 0);
    return reply.add(section, rr);
  };
  for (ldns_rr* rr : chain_of(ldns_rr_list_rr(ldns_pkt_question(from.get()), 0), ldns_pkt_answer(from.get())))
    if (!add(Writer::kAnswer, rr)) return reply.take();
  // Additional records are of other names: whoever wants one asks for it.
  ldns_rr_list* authority = ldns_pkt_authority(from.get());
  for (size_t i = 0; i < ldns_rr_list_rr_count(authority); ++i)
    if (!add(Writer::kAuthority, ldns_rr_list_rr(authority, i))) break;
  return reply.take();
}

}  // namespace proxy::dns
