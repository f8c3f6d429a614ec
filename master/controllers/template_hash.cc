#include "master/controllers/template_hash.h"

#include <map>

namespace master::controllers {
namespace json = base::json;

static void append_canonical(const json::value& value, std::string& out) {
  if (value.is_array()) {
    out += '[';
    for (const json::value& item : value.get_array()) append_canonical(item, out), out += ',';
    out += ']';
  } else if (value.is_object()) {
    std::map<std::string_view, const json::value*> sorted;
    for (const auto& item : value.get_object())
      if (!item.value().is_null()) sorted.emplace(item.key(), &item.value());
    out += '{';
    for (const auto& [key, item] : sorted) {
      out.append(key) += ':';
      append_canonical(*item, out);
      out += ',';
    }
    out += '}';
  } else {
    out += base::to_json(value);
  }
}
std::string canonical_text(const json::value& value) {
  std::string out;
  append_canonical(value, out);
  return out;
}

std::string safe_hash(std::string_view text) {
  uint32_t hash = 2166136261u;
  for (unsigned char c : text) hash = (hash ^ c) * 16777619u;
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (char digit : std::to_string(hash))
    out += kAlphabet[static_cast<unsigned char>(digit) % kAlphabet.size()];
  return out;
}

}  // namespace master::controllers
