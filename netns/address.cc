// Addresses and their allocation: pure.
#include "netns/netns.h"

namespace netns {

base::Result<AddressPool> AddressPool::of(base::Cidr cidr) {
  if (!cidr.address.is_v4() || cidr.prefix < 8 || cidr.prefix > 30)
    return base::make_error(
        base::Kind::kInvalid, "use Pod CIDR", cidr.text(),
        "it is a /" + std::to_string(cidr.prefix) + ", and the bridge, Pods and broadcast need a /8 to a /30",
        "give the node another spec.podCIDR");
  return AddressPool(cidr.canonical());
}
AddressPool::AddressPool(base::Cidr cidr)
    : cidr_(cidr), first_(cidr.first().plus(2)),
      last_(cidr.first().plus(cidr.first().distance_to(cidr.last()) - 1)), next_(first_) {}
base::Ip AddressPool::gateway() const { return cidr_.first().plus(1); }
size_t AddressPool::used() const { return used_.size(); }

// Goes round: an address is given again only after all others were.
base::Result<base::Ip> AddressPool::allocate() {
  if (used_.size() > first_.distance_to(last_))
    return base::make_error(base::Kind::kExhausted, "allocate Pod address", cidr_.text(),
                            "all " + std::to_string(used_.size()) + " addresses are in use",
                            "delete Pods or give the node a larger Pod CIDR");
  auto after = [this](base::Ip ip) { return ip == last_ ? first_ : ip.plus(1); };
  while (used_.count(next_)) next_ = after(next_);
  base::Ip address = next_;
  used_.insert(address);
  next_ = after(next_);
  return address;
}
base::Status AddressPool::reserve(base::Ip address) {
  if (address < first_ || address > last_)
    return base::make_error(base::Kind::kInvalid, "reserve Pod address", address.text(),
                            "not a Pod address of " + cidr_.text());
  if (!used_.insert(address).second)
    return base::make_error(base::Kind::kExists, "reserve Pod address", address.text(), "already in use");
  return {};
}
void AddressPool::release(base::Ip address) { used_.erase(address); }

std::string host_link_name(std::string_view pod_uid) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (unsigned char c : pod_uid) hash = (hash ^ c) * 0x100000001b3;
  std::string name = "veth";
  for (int i = 0; i < 11; ++i, hash /= 36) name += "0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36];
  return name;
}

}  // namespace netns
