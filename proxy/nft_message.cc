// See nft_message.h.
#include "proxy/nft_message.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cstring>

#include "base/result.h"

namespace proxy {

void Attributes::put(uint16_t type, std::string_view data) {
  SAMPAN_CHECK(data.size() + sizeof(nlattr) <= 0xffff);
  nlattr header{static_cast<uint16_t>(sizeof(nlattr) + data.size()), type};
  bytes_.append(reinterpret_cast<char*>(&header), sizeof header);
  bytes_.append(data);
  bytes_.resize(NLA_ALIGN(bytes_.size()));
}
void Attributes::put_text(uint16_t type, std::string_view text) {
  std::string zero_ended(text);
  put(type, {zero_ended.c_str(), text.size() + 1});
}
void Attributes::put_u32(uint16_t type, uint32_t value) {
  value = htonl(value);
  put(type, {reinterpret_cast<char*>(&value), sizeof value});
}
void Attributes::put_u64(uint16_t type, uint64_t value) {
  value = htobe64(value);
  put(type, {reinterpret_cast<char*>(&value), sizeof value});
}
size_t Attributes::begin(uint16_t type) {
  size_t begun = bytes_.size();
  put(type | NLA_F_NESTED, {});
  return begun;
}
void Attributes::end(size_t begun) {
  size_t length = bytes_.size() - begun;
  SAMPAN_CHECK(length <= 0xffff);
  auto value = static_cast<uint16_t>(length);
  std::memcpy(bytes_.data() + begun, &value, sizeof value);
}

size_t NetlinkBatch::begin(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource) {
  start_ = bytes_.size();
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = NLM_F_REQUEST | flags;
  header.nlmsg_seq = static_cast<uint32_t>(++count_);
  nfgenmsg generic{family, NFNETLINK_V0, htons(resource)};
  bytes_.append(reinterpret_cast<char*>(&header), sizeof header);
  bytes_.append(reinterpret_cast<char*>(&generic), sizeof generic);
  return count_ - 1;
}
void NetlinkBatch::end() {
  auto length = static_cast<uint32_t>(bytes_.size() - start_);
  std::memcpy(bytes_.data() + start_, &length, sizeof length);
}
void NetlinkBatch::request_ack_for_last() {
  auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data() + start_);
  header->nlmsg_flags |= NLM_F_ACK;
}
void NetlinkBatch::begin_transaction(uint32_t generation) {
  begin(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  if (generation) attributes().put_u32(NFNL_BATCH_GENID, generation);
  end();
}
void NetlinkBatch::end_transaction() {
  begin(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  end();
}

template <typename Fill>
void Expressions::add(std::string_view name, Fill fill) {
  size_t element = at_.begin(NFTA_LIST_ELEM);
  at_.put_text(NFTA_EXPR_NAME, name);
  size_t data = at_.begin(NFTA_EXPR_DATA);
  fill();
  at_.end(data);
  at_.end(element);
}
namespace {
uint32_t number(int reg) { return NFT_REG32_00 + static_cast<uint32_t>(reg); }
}  // namespace

void Expressions::payload(Base base, uint32_t offset, uint32_t length, int reg) {
  add("payload", [&] {
    at_.put_u32(NFTA_PAYLOAD_DREG, number(reg));
    at_.put_u32(NFTA_PAYLOAD_BASE, static_cast<uint32_t>(base));
    at_.put_u32(NFTA_PAYLOAD_OFFSET, offset);
    at_.put_u32(NFTA_PAYLOAD_LEN, length);
  });
}
void Expressions::meta_l4proto(int reg) {
  add("meta", [&] {
    at_.put_u32(NFTA_META_KEY, NFT_META_L4PROTO);
    at_.put_u32(NFTA_META_DREG, number(reg));
  });
}
void Expressions::random(uint32_t modulus, int reg) {
  add("numgen", [&] {
    at_.put_u32(NFTA_NG_DREG, number(reg));
    at_.put_u32(NFTA_NG_MODULUS, modulus);
    at_.put_u32(NFTA_NG_TYPE, NFT_NG_RANDOM);
    at_.put_u32(NFTA_NG_OFFSET, 0);
  });
}
void Expressions::lookup(std::string_view set, int key, int data) {
  add("lookup", [&] {
    at_.put_text(NFTA_LOOKUP_SET, set);
    at_.put_u32(NFTA_LOOKUP_SREG, number(key));
    at_.put_u32(NFTA_LOOKUP_DREG, number(data));
  });
}
void Expressions::update(std::string_view set, int key, int data, uint64_t timeout_ms) {
  add("dynset", [&] {
    at_.put_text(NFTA_DYNSET_SET_NAME, set);
    at_.put_u32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    at_.put_u32(NFTA_DYNSET_SREG_KEY, number(key));
    at_.put_u32(NFTA_DYNSET_SREG_DATA, number(data));
    at_.put_u64(NFTA_DYNSET_TIMEOUT, timeout_ms);
  });
}
void Expressions::jump(std::string_view chain) {
  add("immediate", [&] {
    at_.put_u32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = at_.begin(NFTA_IMMEDIATE_DATA);
    size_t verdict = at_.begin(NFTA_DATA_VERDICT);
    at_.put_u32(NFTA_VERDICT_CODE, static_cast<uint32_t>(NFT_JUMP));
    at_.put_text(NFTA_VERDICT_CHAIN, chain);
    at_.end(verdict);
    at_.end(data);
  });
}
void Expressions::immediate_zero(int reg, size_t length) {
  add("immediate", [&] {
    at_.put_u32(NFTA_IMMEDIATE_DREG, number(reg));
    size_t data = at_.begin(NFTA_IMMEDIATE_DATA);
    at_.put(NFTA_DATA_VALUE, std::string(length, '\0'));
    at_.end(data);
  });
}
void Expressions::dnat(int address, int port) {
  add("nat", [&] {
    at_.put_u32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
    at_.put_u32(NFTA_NAT_FAMILY, NFPROTO_IPV4);
    at_.put_u32(NFTA_NAT_REG_ADDR_MIN, number(address));
    at_.put_u32(NFTA_NAT_REG_PROTO_MIN, number(port));
  });
}

}  // namespace proxy
