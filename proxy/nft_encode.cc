// Actions as the bytes of one nftables transaction: pure.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cstring>

#include "proxy/nft_exec.h"
#include "proxy/nft_message.h"

namespace proxy {
namespace {

using Base = Expressions::Base;
constexpr uint32_t kSourceOffset = 12, kDestinationOffset = 16;  // RFC 791
constexpr uint32_t kDportOffset = 2;                             // TCP, UDP and SCTP alike
// nft's numbers of types, six bits each in a concatenation, so that `nft list` can print the maps.
constexpr uint32_t kIpv4 = 7, kInetProto = 12, kInetService = 13, kMark = 19;
constexpr size_t kMessageLimit = 48 << 10;  // an attribute's length has 16 bits

// The last key of an interval with `end`, else the first.
std::string key_bytes(const Element& e, bool end = false) {
  uint32_t words[4] = {htonl(e.key.ip.v4_bits()), 0, 0, static_cast<uint32_t>(e.index)};
  if (e.set == Set::kSources) words[3] = htonl(static_cast<uint32_t>(end ? e.index : e.index >> 32));
  if (e.set == Set::kHairpin) {
    words[1] = words[0];
    return {reinterpret_cast<char*>(words), 8};
  }
  uint16_t port = htons(e.key.port);
  std::memcpy(&words[1], &e.key.protocol, 1);
  std::memcpy(&words[2], &port, 2);
  return {reinterpret_cast<char*>(words), e.is_endpoint() || e.set == Set::kSources ? 16u : 12u};
}

// In a sticky map the endpoint stands behind a word of zero; see sticky_rules().
void put_value(Attributes& at, const Value& value, bool padded) {
  if (value.kind == Value::Kind::kNone) return;
  size_t data = at.begin(NFTA_SET_ELEM_DATA);
  if (value.kind == Value::Kind::kEndpoint) {
    uint32_t words[3] = {0, htonl(value.ip.v4_bits()), 0};
    uint16_t port = htons(value.port);
    std::memcpy(&words[2], &port, 2);
    at.put(NFTA_DATA_VALUE, {reinterpret_cast<char*>(words + !padded), padded ? 12u : 8u});
  } else {
    size_t verdict = at.begin(NFTA_DATA_VERDICT);
    uint32_t code = value.kind == Value::Kind::kAccept ? static_cast<uint32_t>(NF_ACCEPT)
                    : value.kind == Value::Kind::kDrop ? static_cast<uint32_t>(NF_DROP)
                                                       : static_cast<uint32_t>(NFT_GOTO);
    at.put_u32(NFTA_VERDICT_CODE, code);
    if (value.kind == Value::Kind::kClass) at.put_text(NFTA_VERDICT_CHAIN, value.to.chain());
    if (value.kind == Value::Kind::kRefuse) at.put_text(NFTA_VERDICT_CHAIN, "refuse");
    at.end(verdict);
  }
  at.end(data);
}

bool is_sticky(Set set) { return set == Set::kEndpointsSticky || set == Set::kEndpointsLocalSticky; }

class Encoder {
 public:
  Encoder(const std::string& table, Transaction& out) : table_(table), out_(out) {}

  void run(const std::vector<Action>& actions, uint32_t generation) {
    batch_.begin_transaction(generation);
    out_.messages.push_back(batch_.last_offset());
    for (size_t i = 0; i < actions.size();) {
      if (actions[i].kind == Action::Kind::kAddClass) add_class(actions[i].add, i), ++i;
      else i = add_elements(actions, i);
    }
    batch_.request_ack_for_last();
    batch_.end_transaction();
    out_.messages.push_back(batch_.last_offset());
    out_.bytes = batch_.bytes();
  }

 private:
  void begin(uint8_t message, uint16_t flags, size_t action) {
    batch_.begin(kNft | message, flags, NFPROTO_IPV4);
    out_.messages.push_back(batch_.last_offset());
    out_.parts.push_back({batch_.last_offset(), action});
  }

  void add_class(const Class& c, size_t action) {
    Attributes at = batch_.attributes();
    begin(NFT_MSG_NEWSET, NLM_F_CREATE, action);  // without NLM_F_EXCL: classes share maps
    at.put_text(NFTA_SET_TABLE, table_);
    at.put_text(NFTA_SET_NAME, c.map());
    at.put_u32(NFTA_SET_FLAGS, NFT_SET_MAP);
    at.put_u32(NFTA_SET_KEY_TYPE, kIpv4 << 18 | kInetProto << 12 | kInetService << 6 | kMark);
    at.put_u32(NFTA_SET_KEY_LEN, 16);
    bool sticky = c.sticky_seconds != 0;
    at.put_u32(NFTA_SET_DATA_TYPE, (sticky ? kMark << 12 : 0) | kIpv4 << 6 | kInetService);
    at.put_u32(NFTA_SET_DATA_LEN, sticky ? 12 : 8);
    at.put_u32(NFTA_SET_ID, next_set_id_++);
    batch_.end();
    begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, action);
    at.put_text(NFTA_CHAIN_TABLE, table_);
    at.put_text(NFTA_CHAIN_NAME, c.chain());
    batch_.end();

    if (c.mode != Class::Mode::kLocal)
      rule(c, action, [&](Expressions& e) {
        e.jump(c.mode == Class::Mode::kCluster ? "from_outside" : "from_anywhere");
      });
    if (c.sticky_seconds) sticky_rules(c, action);
    else
      rule(c, action, [&](Expressions& e) {
        random_endpoint(e, c, 4);
        e.dnat(4, 5);
      });
  }
  // `update` makes the client's element with a random endpoint, or, when it has one already, keeps
  // that and only starts its timeout anew; then the element is what counts.
  // nft 1.0.6 aborts when it lists an update whose data comes straight from a map. So the map's
  // data begins with a word of padding: it is looked up into register 3 and fills 4 and 5, which
  // nft believes to hold the zeros loaded before.
  void sticky_rules(const Class& c, size_t action) {
    rule(
        c, action,
        [&](Expressions& e) {
          e.immediate_zero(4, 4);
          e.immediate_zero(5, 2);
          random_endpoint(e, c, 3);
          client_key(e, 8);
          e.update("affinity", 8, 4, uint64_t{c.sticky_seconds} * 1000);
        },
        "the data is a random element of @" + c.map());
    rule(c, action, [&](Expressions& e) {
      client_key(e, 0);
      e.lookup("affinity", 0, 4);
      e.dnat(4, 5);
    });
  }
  template <typename Fill>
  void rule(const Class& c, size_t action, Fill fill, const std::string& comment = {}) {
    Attributes at = batch_.attributes();
    begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, action);
    at.put_text(NFTA_RULE_TABLE, table_);
    at.put_text(NFTA_RULE_CHAIN, c.chain());
    size_t list = at.begin(NFTA_RULE_EXPRESSIONS);
    Expressions expressions(at);
    fill(expressions);
    at.end(list);
    if (!comment.empty()) {  // type 0, length, text and zero: NFTNL_UDATA_RULE_COMMENT
      std::string data = {'\0', static_cast<char>(comment.size() + 1)};
      at.put(NFTA_RULE_USERDATA, data + comment + '\0');
    }
    batch_.end();
  }
  // dnat ip to ip daddr . meta l4proto . th dport . numgen random mod N map @ep_N
  static void random_endpoint(Expressions& e, const Class& c, int data) {
    e.payload(Base::kNetwork, kDestinationOffset, 4, 0);
    e.meta_l4proto(1);
    e.payload(Base::kTransport, kDportOffset, 2, 2);
    e.random(c.count, 3);
    e.lookup(c.map(), 0, data);
  }
  // ip saddr . ip daddr . meta l4proto . th dport
  static void client_key(Expressions& e, int reg) {
    e.payload(Base::kNetwork, kSourceOffset, 4, reg);
    e.payload(Base::kNetwork, kDestinationOffset, 4, reg + 1);
    e.meta_l4proto(reg + 2);
    e.payload(Base::kTransport, kDportOffset, 2, reg + 3);
  }

  // As many actions of one kind on one set as fit into a message. Returns the first left over.
  size_t add_elements(const std::vector<Action>& actions, size_t first) {
    const Action& head = actions[first];
    bool adds = head.kind == Action::Kind::kAdd;
    batch_.begin(kNft | (adds ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM),
                 adds ? NLM_F_CREATE | NLM_F_EXCL : 0, NFPROTO_IPV4);
    out_.messages.push_back(batch_.last_offset());
    Attributes at = batch_.attributes();
    at.put_text(NFTA_SET_ELEM_LIST_TABLE, table_);
    at.put_text(NFTA_SET_ELEM_LIST_SET, head.element.set_name());
    size_t list = at.begin(NFTA_SET_ELEM_LIST_ELEMENTS), i = first;
    for (; i < actions.size() && actions[i].kind == head.kind && actions[i].element.set == head.element.set &&
           actions[i].element.count == head.element.count && at.size() - list < kMessageLimit;
         ++i) {
      out_.parts.push_back({at.size(), i});
      size_t element = at.begin(NFTA_LIST_ELEM);
      size_t key = at.begin(NFTA_SET_ELEM_KEY);
      at.put(NFTA_DATA_VALUE, key_bytes(actions[i].element));
      at.end(key);
      if (actions[i].element.set == Set::kSources) {
        size_t last = at.begin(NFTA_SET_ELEM_KEY_END);
        at.put(NFTA_DATA_VALUE, key_bytes(actions[i].element, true));
        at.end(last);
      }
      if (adds) put_value(at, actions[i].value, is_sticky(actions[i].element.set));
      at.end(element);
    }
    at.end(list);
    batch_.end();
    return i;
  }

  const std::string& table_;
  Transaction& out_;
  NetlinkBatch batch_;
  uint32_t next_set_id_ = 1;
};

// Of the table of policies. Every part of a concatenation takes whole 32-bit words.
std::string key_bytes(const PolicyElement& e) {
  uint32_t words[3] = {htonl(e.ip.v4_bits()), 0, 0};
  if (e.set == "self") {
    words[1] = words[0];
    return {reinterpret_cast<char*>(words), 8};
  }
  if (e.protocol == 0) return {reinterpret_cast<char*>(words), 4};
  uint16_t port = htons(e.port);
  std::memcpy(&words[1], &e.protocol, 1);
  std::memcpy(&words[2], &port, 2);
  return {reinterpret_cast<char*>(words), 12};
}
void put_verdict(Attributes& at, std::string_view verdict) {
  if (verdict.empty()) return;
  constexpr std::string_view kGoto = "goto ";
  size_t data = at.begin(NFTA_SET_ELEM_DATA), nested = at.begin(NFTA_DATA_VERDICT);
  const bool leads = verdict.starts_with(kGoto);
  at.put_u32(NFTA_VERDICT_CODE, static_cast<uint32_t>(leads ? NFT_GOTO : NFT_RETURN));
  if (leads) at.put_text(NFTA_VERDICT_CHAIN, verdict.substr(kGoto.size()));
  at.end(nested);
  at.end(data);
}

}  // namespace

Transaction encode(const std::string& table, const std::vector<PolicyAction>& actions) {
  Transaction out;
  NetlinkBatch batch;
  batch.begin_transaction(0);
  out.messages.push_back(batch.last_offset());
  Attributes at = batch.attributes();
  for (size_t i = 0; i < actions.size();) {
    const PolicyAction& head = actions[i];
    batch.begin(kNft | (head.add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM),
                head.add ? NLM_F_CREATE | NLM_F_EXCL : 0, NFPROTO_IPV4);
    out.messages.push_back(batch.last_offset());
    at.put_text(NFTA_SET_ELEM_LIST_TABLE, table);
    at.put_text(NFTA_SET_ELEM_LIST_SET, head.element.set);
    size_t list = at.begin(NFTA_SET_ELEM_LIST_ELEMENTS);
    for (; i < actions.size() && actions[i].add == head.add && actions[i].element.set == head.element.set &&
           at.size() - list < kMessageLimit;
         ++i) {
      out.parts.push_back({at.size(), i});
      size_t element = at.begin(NFTA_LIST_ELEM), key = at.begin(NFTA_SET_ELEM_KEY);
      at.put(NFTA_DATA_VALUE, key_bytes(actions[i].element));
      at.end(key);
      if (head.add) put_verdict(at, actions[i].verdict);
      at.end(element);
    }
    at.end(list);
    batch.end();
  }
  batch.request_ack_for_last();
  batch.end_transaction();
  out.messages.push_back(batch.last_offset());
  out.bytes = batch.bytes();
  return out;
}

Transaction encode(const std::string& table, const std::vector<Action>& actions, uint32_t generation) {
  Transaction out;
  Encoder(table, out).run(actions, generation);
  return out;
}

}  // namespace proxy
