// See table.h.
#include "proxy/table.h"

#include <netinet/in.h>

#include <charconv>

#include "netns/netns.h"

namespace proxy {

std::string format_ip(Ip ip) { return netns::format_ipv4(ip); }
std::string protocol_name(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP: return "tcp";
    case IPPROTO_UDP: return "udp";
    case IPPROTO_SCTP: return "sctp";
  }
  return std::to_string(protocol);
}
std::string Key::text() const {
  return fmt::format("{} . {} . {}", format_ip(ip), protocol_name(protocol), port);
}

std::string Class::chain() const {
  std::string name = "class_" + std::to_string(count);
  if (mode == Mode::kExternal) name += "_external";
  if (mode == Mode::kLocal) name += "_local";
  if (sticky_seconds) name += "_sticky_" + std::to_string(sticky_seconds);
  return name;
}
std::string Class::map() const {
  return "ep_" + std::to_string(count) + (mode == Mode::kLocal ? "_local" : "") +
         (sticky_seconds ? "_sticky" : "");
}
Set endpoint_set(const Class& c) {
  bool local = c.mode == Class::Mode::kLocal;
  if (c.sticky_seconds) return local ? Set::kEndpointsLocalSticky : Set::kEndpointsSticky;
  return local ? Set::kEndpointsLocal : Set::kEndpoints;
}
std::optional<Class> parse_class(std::string_view chain) {
  auto take = [&](std::string_view prefix) {
    if (!chain.starts_with(prefix)) return false;
    chain.remove_prefix(prefix.size());
    return true;
  };
  auto number = [&](auto& value) {
    auto [end, error] = std::from_chars(chain.data(), chain.data() + chain.size(), value);
    if (error != std::errc()) return false;
    chain.remove_prefix(static_cast<size_t>(end - chain.data()));
    return true;
  };
  Class found;
  if (!take("class_") || !number(found.count)) return std::nullopt;
  if (take("_external")) found.mode = Class::Mode::kExternal;
  else if (take("_local")) found.mode = Class::Mode::kLocal;
  if (take("_sticky_") && !number(found.sticky_seconds)) return std::nullopt;
  if (!chain.empty()) return std::nullopt;
  return found;
}

std::string Element::set_name() const {
  switch (set) {
    case Set::kEndpoints: return Class{Class::Mode::kCluster, count, 0}.map();
    case Set::kEndpointsLocal: return Class{Class::Mode::kLocal, count, 0}.map();
    case Set::kEndpointsSticky: return Class{Class::Mode::kCluster, count, 1}.map();
    case Set::kEndpointsLocalSticky: return Class{Class::Mode::kLocal, count, 1}.map();
    case Set::kServices: return "services";
    case Set::kExternalLocal: return "external_local";
    case Set::kBlocked: return "blocked";
    case Set::kHairpin: return "hairpin";
  }
  return {};
}
std::string Element::text() const {
  std::string key_text = set == Set::kHairpin ? format_ip(key.ip) + " . " + format_ip(key.ip)
                                              : key.text();
  if (is_endpoint())
    key_text += " . " + std::to_string(index);
  return set_name() + " " + key_text;
}
std::string Value::text() const {
  switch (kind) {
    case Kind::kNone: return {};
    case Kind::kEndpoint: return format_ip(ip) + " . " + std::to_string(port);
    case Kind::kClass: return to.chain();
    case Kind::kAccept: return "accept";
    case Kind::kDrop: return "drop";
    case Kind::kRefuse: return "refuse";
  }
  return {};
}

std::string Action::text() const {
  switch (kind) {
    case Kind::kAddClass: return "add-class " + add.chain();
    case Kind::kAdd:
      return "add " + element.text() +
             (value.kind == Value::Kind::kNone ? "" : " : " + value.text());
    case Kind::kDelete: return "delete " + element.text();
  }
  return {};
}
std::string text(const std::vector<Action>& actions) {
  std::string out;
  for (const Action& action : actions) out += action.text() + "\n";
  return out;
}

size_t Table::Hash::operator()(const Element& e) const {
  uint64_t hash = (uint64_t{e.key.ip} << 32 | uint64_t{e.key.port} << 16 | e.index) *
                  0x9e3779b97f4a7c15;
  hash ^= (uint64_t{e.count} << 16 | uint64_t{e.key.protocol} << 8 | static_cast<uint64_t>(e.set)) *
          0xc2b2ae3d27d4eb4f;
  return hash ^ hash >> 29;
}

void Table::add_class(const Class& wanted, std::vector<Action>& actions) {
  if (classes_.insert(wanted).second)
    actions.push_back({Action::Kind::kAddClass, wanted, {}, {}});
}

std::vector<Action> Table::set(const std::string& owner, Elements wanted) {
  std::vector<Action> classes, removed, added;
  auto owned = owned_.find(owner);
  if (owned == owned_.end()) {
    if (wanted.empty()) return {};
    owned = owned_.emplace(owner, std::vector<Element>()).first;
  }
  const std::string* name = &owned->first;
  auto drop = [&](const Element& element) {
    removed.push_back({Action::Kind::kDelete, {}, element, {}});
  };
  auto put = [&](const Element& element, const Value& value) {
    if (value.kind == Value::Kind::kClass) add_class(value.to, classes);
    added.push_back({Action::Kind::kAdd, {}, element, value});
  };

  for (const Element& element : owned->second) {
    if (wanted.count(element)) continue;
    auto at = effective_.find(element);
    auto [first, last] = others_.equal_range(element);
    if (at->second.owner != name) {
      while (first->second.owner != name) ++first;
      others_.erase(first);
      continue;
    }
    if (first == last) {
      drop(element);
      effective_.erase(at);
      continue;
    }
    auto next = std::min_element(first, last, [](const auto& a, const auto& b) {
      return *a.second.owner < *b.second.owner;
    });
    if (next->second.value != at->second.value) {
      drop(element);
      put(element, next->second.value);
    }
    at->second = next->second;
    others_.erase(next);
  }
  for (const auto& [element, value] : wanted) {
    auto [at, is_new] = effective_.try_emplace(element, Claim{name, value});
    if (is_new) {
      put(element, value);
      continue;
    }
    Claim& winner = at->second;
    if (winner.owner != name && *winner.owner < *name) {
      auto [first, last] = others_.equal_range(element);
      while (first != last && first->second.owner != name) ++first;
      if (first != last) first->second.value = value;
      else others_.emplace(element, Claim{name, value});
      continue;
    }
    if (winner.owner != name) others_.emplace(element, winner);
    if (winner.value != value) {
      drop(element);
      put(element, value);
    }
    winner = {name, value};
  }

  if (wanted.empty()) {
    owned_.erase(owned);
  } else {
    owned->second.clear();
    owned->second.reserve(wanted.size());
    for (const auto& [element, value] : wanted) owned->second.push_back(element);
  }
  add_maps(added, classes);
  classes.insert(classes.end(), removed.begin(), removed.end());
  classes.insert(classes.end(), added.begin(), added.end());
  return classes;
}

std::vector<Action> Table::reconcile(const Observed& observed) {
  std::vector<Action> actions, removed, added;
  classes_ = observed.classes;
  Elements want = elements();
  for (const auto& [element, value] : observed.elements) {
    auto it = want.find(element);
    if (it == want.end() || it->second != value)
      removed.push_back({Action::Kind::kDelete, {}, element, {}});
  }
  for (const auto& [element, value] : want) {
    if (value.kind == Value::Kind::kClass) add_class(value.to, actions);
    auto it = observed.elements.find(element);
    if (it == observed.elements.end() || it->second != value)
      added.push_back({Action::Kind::kAdd, {}, element, value});
  }
  add_maps(added, actions);
  actions.insert(actions.end(), removed.begin(), removed.end());
  actions.insert(actions.end(), added.begin(), added.end());
  return actions;
}

// An owner that lost an address to another still fills its endpoints in: their map must exist.
void Table::add_maps(const std::vector<Action>& added, std::vector<Action>& classes) {
  for (const Action& action : added) {
    const Element& e = action.element;
    if (!e.is_endpoint()) continue;
    if (std::any_of(classes_.begin(), classes_.end(), [&](const Class& c) {
          return c.count == e.count && endpoint_set(c) == e.set;
        }))
      continue;
    bool local = e.set == Set::kEndpointsLocal || e.set == Set::kEndpointsLocalSticky;
    bool sticky = e.set == Set::kEndpointsSticky || e.set == Set::kEndpointsLocalSticky;
    add_class({local ? Class::Mode::kLocal : Class::Mode::kCluster, e.count, sticky ? 10800u : 0}, classes);
  }
}

Elements Table::elements() const {
  Elements all;
  for (const auto& [element, claim] : effective_) all.emplace(element, claim.value);
  return all;
}
const Value* Table::find(const Element& element) const {
  auto it = effective_.find(element);
  return it == effective_.end() ? nullptr : &it->second.value;
}

}  // namespace proxy
