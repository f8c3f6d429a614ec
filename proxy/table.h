// The elements of our nftables table as plain values, who claims each, and what must change: pure.
// Knows neither Kubernetes nor netlink. IPv4 now: a second family is a second Table with another Ip.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ip.h"

namespace proxy {

using base::Ip;
std::string protocol_name(uint8_t protocol);  // IPPROTO_*: "tcp"

struct Key {  // where a client connects to
  Ip ip;
  uint8_t protocol = 0;
  uint16_t port = 0;
  auto operator<=>(const Key&) const = default;
  std::string text() const;  // "10.96.0.1 . tcp . 443"
};

// Chains that pick one of `count` endpoints at random and rewrite the destination. They differ in
// whose source address is rewritten as well, so that the answer comes back through this node.
struct Class {
  enum class Mode : uint8_t {
    kCluster,   // of clients outside the cluster CIDR: the cluster IP
    kExternal,  // of everybody: NodePort, external and load-balancer addresses
    kLocal,     // of nobody: externalTrafficPolicy Local keeps the client's address
  } mode = Mode::kCluster;
  uint16_t count = 0;
  uint32_t sticky_seconds = 0;  // sessionAffinity ClientIP
  auto operator<=>(const Class&) const = default;
  std::string chain() const;  // "class_3", "class_3_external", "class_3_local_sticky_10800"
  std::string map() const;    // "ep_3", "ep_3_local", "ep_3_sticky", "ep_3_local_sticky"
};
std::optional<Class> parse_class(std::string_view chain);

enum class Set : uint8_t {
  kEndpoints,       // ep_N: key . index : endpoint
  kEndpointsLocal,  // ep_N_local: the same, of this node alone
  kEndpointsSticky,
  kEndpointsLocalSticky,  // the same for classes with affinity
  kServices,              // services: key : class
  kExternalLocal,         // external_local: asked first for clients outside the cluster CIDR
  kBlocked,               // blocked: key : drop or refuse; asked when nothing rewrote the destination
  kHairpin,               // hairpin: addresses of local endpoints, which may meet themselves
  kGuarded,               // guarded: keys that only some may reach …
  kSources,               // sources: … key . client: these
};
Set endpoint_set(const Class& c);
uint64_t source_index(Ip first, Ip last);
struct Element {
  Set set = Set::kServices;
  uint16_t count = 0;  // N of the endpoint maps
  Key key;             // kHairpin: the address alone
  // Of an endpoint its number, of kSources the first client and the last (source_index).
  uint64_t index = 0;
  auto operator<=>(const Element&) const = default;
  bool is_endpoint() const { return set <= Set::kEndpointsLocalSticky; }
  std::string set_name() const;
  std::string text() const;
};
struct Value {
  enum class Kind : uint8_t { kNone, kEndpoint, kClass, kAccept, kDrop, kRefuse } kind = Kind::kNone;
  Ip ip;
  uint16_t port = 0;
  Class to;
  auto operator<=>(const Value&) const = default;
  std::string text() const;
};
using Elements = std::map<Element, Value>;

struct Action {
  enum class Kind : uint8_t { kAddClass, kAdd, kDelete } kind;
  Class add;  // kAddClass
  Element element;
  Value value;
  std::string text() const;  // "add services 10.96.0.1 . tcp . 443 : class_3"
};
std::string text(const std::vector<Action>& actions);

// What the kernel holds.
struct Observed {
  std::set<Class> classes;
  Elements elements;
};

class Table {
 public:
  // Replaces what `owner` wants in the table. An address, protocol and port belongs to one owner as a
  // whole, whatever it does with it: of several that want it, to the first by (rank, owner), so that
  // the outcome does not depend on the order of events. Returns what changes, in an order that one
  // transaction accepts.
  std::vector<Action> set(const std::string& owner, Elements wanted, std::string rank = {});
  // What makes `observed` this table. Afterwards set() counts on it having been done.
  std::vector<Action> reconcile(const Observed& observed);
  Elements elements() const;
  size_t size() const { return effective_.size(); }
  const Value* find(const Element& element) const;

 private:
  struct Hash {
    size_t operator()(const Element& element) const;
    size_t operator()(const Key& key) const;
  };
  using Part = std::pair<Element, Value>;
  using Parts = std::vector<Part>;  // sorted
  struct Owned {
    std::string rank;
    std::vector<Element> elements;  // sorted
  };
  using Owner = std::pair<const std::string, Owned>;
  using Place = std::pair<std::string, std::string>;  // rank, owner
  struct Claim {
    const Owner* owner;
    Parts parts;
  };
  using Claims = std::map<Place, Claim>;
  static Place place_of(const Owner& owner) { return {owner.second.rank, owner.first}; }
  Parts parts_of(const Owner& owner, const Key& key) const;
  void elect(const Key& key, const Owner& owner, Parts mine, Parts& before, Parts& after);
  void forget_claim(const Key& key, const Owner& owner);
  void add_class(const Class& wanted, std::vector<Action>& actions);
  void add_maps(const std::vector<Action>& added, std::vector<Action>& classes);

  std::map<std::string, Owned> owned_;
  std::unordered_map<Element, Value, Hash> effective_;
  std::unordered_map<Key, const Owner*, Hash> holders_;
  std::map<Key, Claims> others_;  // claims that lost
  std::set<Class> classes_;
};

}  // namespace proxy
