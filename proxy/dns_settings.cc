// See dns_settings.h.
#include "proxy/dns_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"

namespace proxy::dns {
namespace {

constexpr size_t kMaxServers = 3, kMaxErrors = 20;

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  line = line.substr(0, line.find('#'));
  while (!line.empty()) {
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == line.npos) break;
    const size_t end = std::min(line.find_first_of(" \t\r", begin), line.size());
    words.emplace_back(line.substr(begin, end - begin));
    line.remove_prefix(end);
  }
  return words;
}
// In lower case, without the final dot; nothing where it is no name.
std::optional<std::string> name_of(std::string text) {
  if (text.ends_with('.')) text.pop_back();
  size_t label = 0;
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (c == '.' ? label == 0 : !fits || ++label > 63) return std::nullopt;
    if (c == '.') label = 0;
  }
  if (text.empty() || label == 0 || text.size() > 253) return std::nullopt;
  return text;
}

template <typename Each>  // each(words) says what is wrong, or ""
void each_line(const std::map<std::string, std::string>& data, const char* member, Settings& out, Each each) {
  auto found = data.find(member);
  if (found == data.end()) return;
  std::string_view text = found->second;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::vector<std::string> words = words_of(line);
    if (words.empty()) continue;
    if (std::string why = each(words); !why.empty() && out.errors.size() < kMaxErrors)
      out.errors.push_back(fmt::format("{}: \"{}\": {}", member, base::printable_line(line, 80), why));
  }
}

}  // namespace

Settings read_settings(const std::map<std::string, std::string>& data, const std::string& own) {
  using Words = std::vector<std::string>;
  Settings out;
  each_line(data, "hosts", out, [&](const Words& words) -> std::string {
    if (words.size() < 2) return "an address and its names are needed";
    auto ip = Ip::parse_v4(words[0]);
    if (!ip) return "it does not begin with an IPv4 address";
    for (size_t i = 1; i < words.size(); ++i) {
      auto name = name_of(words[i]);
      if (!name) return words[i] + " is no name";
      std::vector<std::string>& addresses = out.hosts[*name];
      if (std::find(addresses.begin(), addresses.end(), words[0]) == addresses.end())
        addresses.push_back(words[0]);
    }
    return {};
  });
  each_line(data, "forward", out, [&](const Words& words) -> std::string {
    auto domain = words[0] == "." ? std::optional<std::string>("") : name_of(words[0]);
    if (!domain) return "it does not begin with a domain";
    if (words.size() < 2 || words.size() > 1 + kMaxServers) return "a domain has one to three servers";
    for (size_t i = 1; i < words.size(); ++i) {
      if (!Ip::parse_v4(words[i])) return words[i] + " is no IPv4 address";
      if (words[i] == own) return words[i] + " is this server itself";
    }
    if (!out.forward.emplace(*domain, Words(words.begin() + 1, words.end())).second)
      return "the domain has servers already";
    return {};
  });
  each_line(data, "rewrite", out, [&](const Words& words) -> std::string {
    if (words.size() != 2) return "two names are needed";
    auto from = name_of(words[0]), to = name_of(words[1]);
    if (!from || !to) return (from ? words[1] : words[0]) + " is no name";
    if (!out.rewrite.emplace(*from, *to).second) return "the name is rewritten already";
    return {};
  });
  return out;
}

std::optional<Answer> Settings::answer(std::string_view name, uint16_t type) const {
  if (auto host = hosts.find(std::string(name)); host != hosts.end()) {
    Answer out{true, kNoError, {}, {}, {}};
    if (type == kA || type == kAny)
      for (const std::string& address : host->second) out.answers.push_back({"", kA, address, 0});
    return out;
  }
  if (auto other = rewrite.find(std::string(name)); other != rewrite.end()) {
    Answer out{true, kNoError, {{"", kCname, other->second, 0}}, {}, {}};
    if (type != kCname && type != kAny) out.continue_at = other->second;
    return out;
  }
  return std::nullopt;
}

const std::vector<std::string>* Settings::servers_of(std::string_view name) const {
  for (;;) {
    if (auto found = forward.find(std::string(name)); found != forward.end()) return &found->second;
    if (name.empty()) return nullptr;
    const size_t dot = name.find('.');
    name = dot == name.npos ? std::string_view() : name.substr(dot + 1);
  }
}

}  // namespace proxy::dns
