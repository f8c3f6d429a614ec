// See nft_exec.h.
#include "proxy/nft_exec.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/process.h"
#include "base/sys.h"
#include "proxy/nft_message.h"
#include "proxy/nft_socket.h"

namespace proxy {
namespace {

template <typename Visit>
void each_attribute(std::string_view bytes, Visit visit) {
  const char *at = bytes.data(), *end = at + bytes.size();
  uint16_t type;
  std::string_view data;
  while (next_attribute(at, end, &type, &data)) visit(type, data);
}
std::string text_of(std::string_view data) { return std::string(data.substr(0, data.find('\0'))); }
uint32_t word(std::string_view data, size_t at) {
  uint32_t value = 0;
  if (data.size() >= at + 4) std::memcpy(&value, data.data() + at, 4);
  return value;
}
Ip ip_at(std::string_view data, size_t at) { return Ip::v4(ntohl(word(data, at))); }
uint16_t port_at(std::string_view data, size_t at) {
  uint16_t value = 0;
  if (data.size() >= at + 2) std::memcpy(&value, data.data() + at, 2);
  return ntohs(value);
}

Element parse_element(Set set, uint16_t count, std::string_view key, std::string_view end) {
  Element element{set, count, {ip_at(key, 0), 0, 0}, 0};
  if (set == Set::kHairpin) return element;
  element.key.protocol = static_cast<uint8_t>(key.size() > 4 ? key[4] : 0);
  element.key.port = port_at(key, 8);
  if (set == Set::kSources) element.index = source_index(ip_at(key, 12), ip_at(end.empty() ? key : end, 12));
  else if (key.size() >= 16) element.index = static_cast<uint16_t>(word(key, 12));
  return element;
}
Value parse_value(std::string_view data) {
  if (data.empty()) return {};
  std::string_view value = find_attribute(data, NFTA_DATA_VALUE);
  if (!value.empty()) {
    size_t at = value.size() == 12 ? 4 : 0;  // sticky maps begin with padding
    return {Value::Kind::kEndpoint, ip_at(value, at), port_at(value, at + 4), {}};
  }
  std::string_view verdict = find_attribute(data, NFTA_DATA_VERDICT);
  auto code = static_cast<int32_t>(ntohl(word(find_attribute(verdict, NFTA_VERDICT_CODE), 0)));
  std::string chain = text_of(find_attribute(verdict, NFTA_VERDICT_CHAIN));
  if (code == NF_ACCEPT) return {Value::Kind::kAccept, {}, 0, {}};
  if (code == NF_DROP) return {Value::Kind::kDrop, {}, 0, {}};
  if (chain == "refuse") return {Value::Kind::kRefuse, {}, 0, {}};
  if (auto to = parse_class(chain)) return {Value::Kind::kClass, {}, 0, *to};
  return {};  // not one of ours: reconcile() replaces it
}

std::string request(uint8_t message, uint16_t flags, const std::string& table, uint16_t table_type,
                    const std::string& set) {
  NetlinkBatch batch;
  batch.begin(kNft | message, flags, NFPROTO_IPV4);
  if (!table.empty()) batch.attributes().put_text(table_type, table);
  if (!set.empty()) batch.attributes().put_text(NFTA_SET_ELEM_LIST_SET, set);
  batch.end();
  return batch.bytes();
}

}  // namespace

class Nftables::Deaf {
 public:
  explicit Deaf(Nftables& nft) : nft_(nft) {
    auto before = nft_.generation();
    before_ = before.ok() ? *before : 0;
    membership(NETLINK_DROP_MEMBERSHIP);
  }
  ~Deaf() {
    membership(NETLINK_ADD_MEMBERSHIP);
    auto after = nft_.generation();
    if (!before_ || !after.ok() || *after != before_ + transactions) nft_.missed_ = true;
  }
  uint32_t transactions = 0;

 private:
  void membership(int option) {
    int group = NFNLGRP_NFTABLES;
    if (::setsockopt(nft_.watch_.get(), SOL_NETLINK, option, &group, sizeof group) != 0) nft_.missed_ = true;
  }
  Nftables& nft_;
  uint32_t before_ = 0;
};

base::Status Nftables::open() {
  fd_ = TRY(open_netfilter());
  watch_ = TRY(open_netfilter());
  int group = NFNLGRP_NFTABLES;
  if (::setsockopt(watch_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
    return base::sys::last_error("listen to nftables changes");
  return {};
}

Nftables::Interference Nftables::read_interference() {
  Interference found = missed_ ? Interference::kElements : Interference::kNone;
  missed_ = false;
  std::vector<char> buffer(64 << 10);
  for (;;) {
    ssize_t n = ::recv(watch_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == ENOBUFS ? Interference::kRules : found;  // more than we could hear
    auto left = static_cast<uint32_t>(n);
    for (auto* at = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(at, left);
         at = NLMSG_NEXT(at, left)) {
      int message = at->nlmsg_type & 0xff;
      if (at->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || message == NFT_MSG_NEWGEN ||
          at->nlmsg_len < NLMSG_HDRLEN + sizeof(nfgenmsg))
        continue;
      const char* body = reinterpret_cast<char*>(at) + NLMSG_HDRLEN;
      // Every kind of message names its table in attribute 1.
      std::string_view table = find_attribute(
          {body + sizeof(nfgenmsg), at->nlmsg_len - NLMSG_HDRLEN - sizeof(nfgenmsg)}, NFTA_TABLE_NAME);
      if (reinterpret_cast<const nfgenmsg*>(body)->nfgen_family != NFPROTO_IPV4 ||
          text_of(table) != config_.table)
        continue;
      bool elements = message == NFT_MSG_NEWSETELEM || message == NFT_MSG_DELSETELEM;
      if (!elements) found = Interference::kRules;
      else if (found == Interference::kNone) found = Interference::kElements;
    }
  }
}

base::Result<uint32_t> Nftables::generation() {
  uint32_t id = 0;
  TRY(dump_netfilter(fd_.get(), request(NFT_MSG_GETGEN, 0, {}, 0, {}), "read nftables generation",
                     [&](const char* at, size_t size) {
                       id = ntohl(word(find_attribute({at, size}, NFTA_GEN_ID), 0));
                     }));
  return id;
}

base::Status Nftables::dump(uint8_t message, const std::string& set,
                            const std::function<void(const char*, size_t)>& each) {
  bool elements = message == NFT_MSG_GETSETELEM;
  return dump_netfilter(
      fd_.get(),
      request(message, NLM_F_DUMP, elements ? config_.table : std::string(), NFTA_SET_ELEM_LIST_TABLE, set),
      "read nftables table " + config_.table + (set.empty() ? "" : " set " + set), each);
}

base::Result<std::vector<std::string>> Nftables::chains() {
  std::vector<std::string> names;
  TRY(dump(NFT_MSG_GETCHAIN, {}, [&](const char* at, size_t size) {
    if (text_of(find_attribute({at, size}, NFTA_CHAIN_TABLE)) == config_.table)
      names.push_back(text_of(find_attribute({at, size}, NFTA_CHAIN_NAME)));
  }));
  return names;
}

base::Result<bool> Nftables::has_skeleton() {
  auto names = TRY(chains());
  return std::find(names.begin(), names.end(), skeleton_version(config_)) != names.end();
}

base::Status Nftables::load_skeleton() { return load(skeleton(config_)); }

base::Status Nftables::load(const std::string& text) {
  Deaf deaf(*this);
  auto output = TRY(base::run_command({"nft", "-f", "-"}, text));
  deaf.transactions = output.status.code == 0;
  if (output.status.code != 0)
    return base::make_error(base::Kind::kUnsupported, "load nftables table", config_.table, output.err,
                            "the kernel needs nf_tables with NAT (CONFIG_NFT_NAT)");
  return {};
}

base::Result<Observed> Nftables::observe() {
  base::Error last;
  for (int attempt = 0; attempt < 5; ++attempt) {
    uint32_t before = TRY(generation());
    Observed observed;
    base::Status status = [&]() -> base::Status {
      std::set<std::pair<Set, uint16_t>> sets = {{Set::kServices, 0}, {Set::kExternalLocal, 0},
                                                 {Set::kBlocked, 0},  {Set::kHairpin, 0},
                                                 {Set::kGuarded, 0},  {Set::kSources, 0}};
      for (const std::string& name : TRY(chains()))
        if (auto found = parse_class(name)) {
          observed.classes.insert(*found);
          sets.insert({endpoint_set(*found), found->count});
        }
      for (auto [set, count] : sets)
        TRY(dump(NFT_MSG_GETSETELEM, Element{set, count, {}, 0}.set_name(),
                 [&, set = set, count = count](const char* at, size_t size) {
                   each_attribute(find_attribute({at, size}, NFTA_SET_ELEM_LIST_ELEMENTS),
                                  [&](uint16_t, std::string_view element) {
                                    std::string_view key = find_attribute(
                                        find_attribute(element, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
                                    std::string_view end = find_attribute(
                                        find_attribute(element, NFTA_SET_ELEM_KEY_END), NFTA_DATA_VALUE);
                                    observed.elements[parse_element(set, count, key, end)] =
                                        parse_value(find_attribute(element, NFTA_SET_ELEM_DATA));
                                  });
                 }));
      return {};
    }();
    if (status.ok() && TRY(generation()) == before) {
      observed_generation_ = before;
      return observed;
    }
    if (!status.ok() && status.error().kind != base::Kind::kConflict) return status.error();
  }
  return base::make_error(base::Kind::kConflict, "read nftables table", config_.table,
                          "rules kept changing while it was read", "it is read again");
}

base::Status Nftables::act(const std::vector<Action>& actions, uint32_t generation) {
  if (actions.empty()) return {};
  return send(encode(config_.table, actions, generation),
              [&](size_t action) { return actions[action].text(); });
}

base::Status Nftables::send(const Transaction& transaction, const std::function<std::string(size_t)>& name) {
  Deaf deaf(*this);
  auto failures = TRY(send_netfilter(fd_.get(), transaction.bytes, "change nftables table"));
  deaf.transactions = failures.empty();
  if (failures.empty()) return {};
  const NetlinkFailure& failure = failures.front();
  if (failure.error == ERESTART || failure.sequence == 0 || failure.sequence > transaction.messages.size())
    return base::make_error(
        base::Kind::kConflict, "change nftables table", config_.table,
        failure.error == ERESTART ? "rules changed since they were read" : std::strerror(failure.error),
        "it is read again");
  // The action whose bytes hold the attribute that the kernel points at.
  size_t at = transaction.messages[failure.sequence - 1] + failure.offset;
  auto part = std::upper_bound(transaction.parts.begin(), transaction.parts.end(), at,
                               [](size_t offset, const Transaction::Part& p) { return offset < p.begin; });
  if (failure.offset == 0 && part != transaction.parts.end()) ++part;
  std::string subject = part == transaction.parts.begin() ? config_.table : name(std::prev(part)->action);
  base::Error error = base::sys::error_from_errno(failure.error, "change nftables table", subject);
  if (!failure.text.empty()) error.reason = failure.text;
  return error;
}

base::Status Nftables::purge_affinity(const std::function<bool(const Key&, Ip, uint16_t)>& is_valid) {
  std::vector<std::string> stale;
  TRY(dump(NFT_MSG_GETSETELEM, "affinity", [&](const char* at, size_t size) {
    each_attribute(
        find_attribute({at, size}, NFTA_SET_ELEM_LIST_ELEMENTS), [&](uint16_t, std::string_view element) {
          std::string_view key = find_attribute(find_attribute(element, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
          std::string_view to = find_attribute(find_attribute(element, NFTA_SET_ELEM_DATA), NFTA_DATA_VALUE);
          if (key.size() < 16 || to.size() < 8) return;
          Key service{ip_at(key, 4), static_cast<uint8_t>(key[8]), port_at(key, 12)};
          if (!is_valid(service, ip_at(to, 0), port_at(to, 4))) stale.emplace_back(key);
        });
  }));
  if (stale.empty()) return {};
  Deaf deaf(*this);
  // One transaction per element: one that expired in between must not keep the others.
  for (const std::string& key_bytes : stale) {
    NetlinkBatch batch;
    batch.begin_transaction(0);
    batch.begin(kNft | NFT_MSG_DELSETELEM, NLM_F_ACK, NFPROTO_IPV4);
    Attributes at = batch.attributes();
    at.put_text(NFTA_SET_ELEM_LIST_TABLE, config_.table);
    at.put_text(NFTA_SET_ELEM_LIST_SET, "affinity");
    size_t list = at.begin(NFTA_SET_ELEM_LIST_ELEMENTS), element = at.begin(NFTA_LIST_ELEM);
    size_t key = at.begin(NFTA_SET_ELEM_KEY);
    at.put(NFTA_DATA_VALUE, key_bytes);
    at.end(key);
    at.end(element);
    at.end(list);
    batch.end();
    batch.end_transaction();
    auto failures = TRY(send_netfilter(fd_.get(), batch.bytes(), "forget client affinity"));
    deaf.transactions += failures.empty();
    if (!failures.empty() && failures[0].error != ENOENT)
      return base::sys::error_from_errno(failures[0].error, "forget client affinity", config_.table);
  }
  return {};
}

base::Status Nftables::remove_table() {
  NetlinkBatch batch;
  batch.begin_transaction(0);
  batch.begin(kNft | NFT_MSG_DELTABLE, NLM_F_ACK, NFPROTO_IPV4);
  batch.attributes().put_text(NFTA_TABLE_NAME, config_.table);
  batch.end();
  batch.end_transaction();
  auto failures = TRY(send_netfilter(fd_.get(), batch.bytes(), "remove nftables table"));
  if (!failures.empty() && failures[0].error != ENOENT)
    return base::sys::error_from_errno(failures[0].error, "remove nftables table", config_.table);
  return {};
}

}  // namespace proxy
