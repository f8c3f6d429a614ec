// See table.h.
#include "proxy/table.h"

#include <netinet/in.h>

#include <charconv>

namespace proxy {

std::string protocol_name(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP: return "tcp";
    case IPPROTO_UDP: return "udp";
    case IPPROTO_SCTP: return "sctp";
  }
  return std::to_string(protocol);
}
std::string Key::text() const {
  return fmt::format("{} . {} . {}", ip.text(), protocol_name(protocol), port);
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
uint64_t source_index(Ip first, Ip last) { return uint64_t{first.v4_bits()} << 32 | last.v4_bits(); }
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
    case Set::kGuarded: return "guarded";
    case Set::kSources: return "sources";
  }
  return {};
}
std::string Element::text() const {
  std::string key_text = set == Set::kHairpin ? key.ip.text() + " . " + key.ip.text() : key.text();
  if (is_endpoint()) key_text += " . " + std::to_string(index);
  if (set == Set::kSources)
    key_text += " . " + Ip::v4(static_cast<uint32_t>(index >> 32)).text() + "-" +
                Ip::v4(static_cast<uint32_t>(index)).text();
  return set_name() + " " + key_text;
}
std::string Value::text() const {
  switch (kind) {
    case Kind::kNone: return {};
    case Kind::kEndpoint: return ip.text() + " . " + std::to_string(port);
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
      return "add " + element.text() + (value.kind == Value::Kind::kNone ? "" : " : " + value.text());
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
  uint64_t hash = (uint64_t{e.key.port} << 48 ^ e.index) * 0x9e3779b97f4a7c15;
  hash ^= e.key.ip.hash() ^
          (uint64_t{e.count} << 16 | uint64_t{e.key.protocol} << 8 | static_cast<uint64_t>(e.set)) *
              0xc2b2ae3d27d4eb4f;
  return hash ^ hash >> 29;
}

size_t Table::Hash::operator()(const Key& key) const { return (*this)(Element{Set::kServices, 0, key, 0}); }

void Table::add_class(const Class& wanted, std::vector<Action>& actions) {
  if (classes_.insert(wanted).second) actions.push_back({Action::Kind::kAddClass, wanted, {}, {}});
}

// What a holder of `key` has in the table for it.
Table::Parts Table::parts_of(const Owner& owner, const Key& key) const {
  Parts parts;
  for (const Element& element : owner.second.elements)
    if (element.key == key) parts.emplace_back(element, effective_.at(element));
  return parts;
}
void Table::forget_claim(const Key& key, const Owner& owner) {
  auto claims = others_.find(key);
  if (claims == others_.end()) return;
  claims->second.erase(place_of(owner));
  if (claims->second.empty()) others_.erase(claims);
}

// Who has `key` now that `owner` wants `mine` for it; what it had itself is in `before` already, and
// its old claim is forgotten.
void Table::elect(const Key& key, const Owner& owner, Parts mine, Parts& before, Parts& after) {
  auto holder = holders_.find(key);
  auto put_aside = [&](const Owner& loser, Parts parts) {
    others_[key].insert_or_assign(place_of(loser), Claim{&loser, std::move(parts)});
  };
  auto append = [](Parts& to, Parts parts) {
    to.insert(to.end(), std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
  };
  if (holder != holders_.end() && holder->second != &owner) {
    if (mine.empty()) return;
    if (place_of(*holder->second) < place_of(owner)) return put_aside(owner, std::move(mine));
    Parts theirs = parts_of(*holder->second, key);
    append(before, theirs);
    put_aside(*holder->second, std::move(theirs));
    holder->second = &owner;
    return append(after, std::move(mine));
  }
  auto claims = others_.find(key);
  if (claims == others_.end() || (!mine.empty() && place_of(owner) < claims->second.begin()->first)) {
    if (mine.empty()) holders_.erase(key);
    else holders_[key] = &owner;
    return append(after, std::move(mine));
  }
  Claim next = std::move(claims->second.begin()->second);
  claims->second.erase(claims->second.begin());
  if (claims->second.empty()) others_.erase(claims);
  holders_[key] = next.owner;
  append(after, std::move(next.parts));
  if (!mine.empty()) put_aside(owner, std::move(mine));
}

std::vector<Action> Table::set(const std::string& owner, Elements wanted, std::string rank) {
  auto owned = owned_.find(owner);
  if (owned == owned_.end()) {
    if (wanted.empty()) return {};
    owned = owned_.emplace(owner, Owned()).first;
  }
  const Owner& me = *owned;
  Parts before, after;
  std::map<Key, Parts> keys;  // all that are concerned, with what is wanted for them
  for (const Element& element : me.second.elements) {
    auto holder = holders_.find(element.key);
    bool held = holder != holders_.end() && holder->second == &me;
    if (held) before.emplace_back(element, effective_.at(element));
    if (keys.try_emplace(element.key).second && !held) forget_claim(element.key, me);
  }
  for (const auto& [element, value] : wanted) keys[element.key].emplace_back(element, value);
  // Of one that comes with another rank, a Service that was made anew.
  owned->second.rank = std::move(rank);
  owned->second.elements.clear();
  owned->second.elements.reserve(wanted.size());
  for (const auto& [element, value] : wanted) owned->second.elements.push_back(element);
  for (auto& [key, parts] : keys) elect(key, me, std::move(parts), before, after);
  if (wanted.empty()) owned_.erase(owned);

  std::vector<Action> actions, removed, added;
  std::sort(before.begin(), before.end());
  std::sort(after.begin(), after.end());
  auto drop = [&](const Element& element) { removed.push_back({Action::Kind::kDelete, {}, element, {}}); };
  auto was = before.begin();
  for (const auto& [element, value] : after) {
    for (; was != before.end() && was->first < element; ++was) {
      drop(was->first);
      effective_.erase(was->first);
    }
    bool there = was != before.end() && was->first == element;
    bool same = there && was->second == value;
    if (there && !same) drop(element);
    if (there) ++was;
    if (same) continue;
    if (value.kind == Value::Kind::kClass) add_class(value.to, actions);
    added.push_back({Action::Kind::kAdd, {}, element, value});
    effective_.insert_or_assign(element, value);
  }
  for (; was != before.end(); ++was) {
    drop(was->first);
    effective_.erase(was->first);
  }
  add_maps(added, actions);
  actions.insert(actions.end(), removed.begin(), removed.end());
  actions.insert(actions.end(), added.begin(), added.end());
  return actions;
}

std::vector<Action> Table::reconcile(const Observed& observed) {
  std::vector<Action> actions, removed, added;
  classes_ = observed.classes;
  Elements want = elements();
  for (const auto& [element, value] : observed.elements) {
    auto it = want.find(element);
    if (it == want.end() || it->second != value) removed.push_back({Action::Kind::kDelete, {}, element, {}});
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

// An endpoint's map must exist before it, whatever class leads there.
void Table::add_maps(const std::vector<Action>& added, std::vector<Action>& classes) {
  for (const Action& action : added) {
    const Element& e = action.element;
    if (!e.is_endpoint()) continue;
    if (std::any_of(classes_.begin(), classes_.end(),
                    [&](const Class& c) { return c.count == e.count && endpoint_set(c) == e.set; }))
      continue;
    bool local = e.set == Set::kEndpointsLocal || e.set == Set::kEndpointsLocalSticky;
    bool sticky = e.set == Set::kEndpointsSticky || e.set == Set::kEndpointsLocalSticky;
    add_class({local ? Class::Mode::kLocal : Class::Mode::kCluster, e.count, sticky ? 10800u : 0}, classes);
  }
}

Elements Table::elements() const {
  Elements all;
  for (const auto& [element, value] : effective_) all.emplace(element, value);
  return all;
}
const Value* Table::find(const Element& element) const {
  auto it = effective_.find(element);
  return it == effective_.end() ? nullptr : &it->second;
}

}  // namespace proxy
