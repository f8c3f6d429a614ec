// Addresses and their allocation: pure.
#include <charconv>

#include "netns/netns.h"

namespace netns {

bool Cidr::contains(uint32_t ip) const {
  uint32_t mask = prefix == 0 ? 0 : ~0u << (32 - prefix);
  return (ip & mask) == address;
}

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  uint32_t address = 0;
  for (int part = 0; part < 4; ++part) {
    size_t dot = text.find('.');
    bool last = part == 3;
    if ((dot == std::string_view::npos) != last) return std::nullopt;
    std::string_view digits = text.substr(0, dot);
    unsigned value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    // A leading zero is refused: some libraries read such parts as octal.
    if (error != std::errc() || end != digits.data() + digits.size() || value > 255 ||
        (digits.size() > 1 && digits[0] == '0'))
      return std::nullopt;
    address = address << 8 | value;
    text = last ? std::string_view() : text.substr(dot + 1);
  }
  return address;
}
std::string format_ipv4(uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}
std::optional<Cidr> parse_cidr(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto address = parse_ipv4(text.substr(0, slash));
  std::string_view digits = text.substr(slash + 1);
  int prefix = -1;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (!address || error != std::errc() || end != digits.data() + digits.size() || prefix < 0 || prefix > 32)
    return std::nullopt;
  return Cidr{prefix == 0 ? 0 : *address & ~0u << (32 - prefix), prefix};
}
std::string format_cidr(const Cidr& cidr) {
  return fmt::format("{}/{}", format_ipv4(cidr.address), cidr.prefix);
}

base::Result<AddressPool> AddressPool::of(Cidr cidr) {
  if (cidr.prefix < 8 || cidr.prefix > 30)
    return base::make_error(
        base::Kind::kInvalid, "use Pod CIDR", format_cidr(cidr),
        "it is a /" + std::to_string(cidr.prefix) + ", and the bridge, Pods and broadcast need a /8 to a /30",
        "give the node another spec.podCIDR");
  return AddressPool(cidr);
}
uint32_t AddressPool::gateway() const { return cidr_.address + 1; }
size_t AddressPool::used() const { return used_.size(); }

// Goes round: an address is given again only after all others were.
base::Result<uint32_t> AddressPool::allocate() {
  uint32_t first = cidr_.address + 2, last = cidr_.address + cidr_.size() - 2;
  if (used_.size() >= last - first + 1)
    return base::make_error(base::Kind::kExhausted, "allocate Pod address", format_cidr(cidr_),
                            "all " + std::to_string(used_.size()) + " addresses are in use",
                            "delete Pods or give the node a larger Pod CIDR");
  while (used_.count(next_)) next_ = next_ == last ? first : next_ + 1;
  uint32_t address = next_;
  used_.insert(address);
  next_ = next_ == last ? first : next_ + 1;
  return address;
}
base::Status AddressPool::reserve(uint32_t address) {
  if (!cidr_.contains(address) || address < cidr_.address + 2 || address > cidr_.address + cidr_.size() - 2)
    return base::make_error(base::Kind::kInvalid, "reserve Pod address", format_ipv4(address),
                            "not a Pod address of " + format_cidr(cidr_));
  if (!used_.insert(address).second)
    return base::make_error(base::Kind::kExists, "reserve Pod address", format_ipv4(address),
                            "already in use");
  return {};
}
void AddressPool::release(uint32_t address) { used_.erase(address); }

std::string host_link_name(std::string_view pod_uid) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (unsigned char c : pod_uid) hash = (hash ^ c) * 0x100000001b3;
  std::string name = "veth";
  for (int i = 0; i < 11; ++i, hash /= 36) name += "0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36];
  return name;
}

}  // namespace netns
