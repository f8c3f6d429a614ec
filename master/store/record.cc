#include "master/store/record.h"

#include <fmt/format.h>

#include "base/json_limits.h"

namespace master {

namespace json = base::json;

static constexpr std::string_view kMetadata = "\"metadata\":{";

std::string object_key(std::string_view ns, std::string_view name) {
  std::string key;
  key.reserve(ns.size() + name.size() + 1);
  key.append(ns).append("/").append(name);
  return key;
}

StoredPlace place_of(std::string_view record) {
  size_t group_end = record.find('/', 1),
         plural_end = group_end == record.npos ? record.npos : record.find('/', group_end + 1);
  if (!record.starts_with('/') || plural_end == record.npos) return {};
  return {record.substr(1, group_end - 1), record.substr(group_end + 1, plural_end - group_end - 1),
          record.substr(plural_end + 1)};
}
std::string shown_record(std::string_view record) {
  std::string out;
  for (unsigned char c : record.substr(0, 600))
    out += c > 0x20 && c < 0x7f ? std::string(1, static_cast<char>(c)) : fmt::format("\\x{:02x}", c);
  return record.empty() ? "\"\"" : out;
}

std::string to_stored_text(const json::value& object) {
  const json::object& in = object.get_object();
  std::string out;
  out.reserve(4096);
  json::serializer serializer;
  auto write = [&] {
    for (char piece[4096]; !serializer.done();) out += std::string_view(serializer.read(piece));
  };
  // Members one by one: nothing of the object is copied to put them in order.
  auto append = [&](std::string_view key, const json::value& value) {
    if (out.back() != '{') out += ',';
    serializer.reset(json::string_view(key.data(), key.size()));
    write();
    out += ':';
    serializer.reset(&value);
    write();
  };
  out += '{';
  for (const char* first : {"apiVersion", "kind"})
    if (const json::value* v = in.if_contains(first)) append(first, *v);
  out += out.size() > 1 ? ",\"metadata\":{" : "\"metadata\":{";
  if (const json::value* metadata = in.if_contains("metadata"); metadata && metadata->is_object())
    for (const auto& item : metadata->get_object())
      if (item.key() != "resourceVersion") append(item.key(), item.value());
  out += '}';
  for (const auto& item : in)
    if (item.key() != "apiVersion" && item.key() != "kind" && item.key() != "metadata")
      append(item.key(), item.value());
  out += '}';
  return out;
}

std::string with_revision(std::string_view stored, int64_t revision) {
  // apiVersion and kind stand before metadata and are identifiers, so the first match is ours.
  size_t at = stored.find(kMetadata);
  SAMPAN_CHECK(at != std::string_view::npos);
  at += kMetadata.size();
  std::string number = std::to_string(revision);
  std::string out;
  out.reserve(stored.size() + number.size() + 24);
  out.append(stored.substr(0, at)).append("\"resourceVersion\":\"").append(number).append("\"");
  if (stored[at] != '}') out += ',';
  out.append(stored.substr(at));
  return out;
}

base::Result<std::string> to_storable_text(const std::string& key, const json::value& object) {
  if (!base::nests_within(object))
    return base::make_error(base::Kind::kInvalid, "store", key, base::kTooDeep);
  return to_stored_text(object);
}

base::Error unreadable(std::string_view key, std::string why) {
  return base::make_error(base::Kind::kCorrupt, "read stored object", shown_record(key), std::move(why));
}

base::Result<json::value> read_record(std::string_view key, std::string_view stored) {
  json::value object = TRY(base::parse_checked_json(stored));
  const json::value* metadata = base::find(object, "metadata");
  if (!metadata || !metadata->is_object()) return unreadable(key, "it has no metadata");
  // As to_stored_text() writes it: what is spliced in later goes to the first of these places.
  size_t at = stored.find(kMetadata);
  if (at == std::string_view::npos || stored.find('{', 1) != at + kMetadata.size() - 1)
    return unreadable(key, "its metadata is not where a master puts it");
  if (object_key(base::string_at(*metadata, "namespace"), base::string_at(*metadata, "name")) != key)
    return unreadable(key, "it is an object of another name");
  return object;
}

std::string_view metadata_text(std::string_view text) {
  size_t at = text.find(kMetadata);
  SAMPAN_CHECK(at != std::string_view::npos);
  at += kMetadata.size() - 1;
  int depth = 0;
  for (size_t i = at; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') {
      // Ends at a quotation mark with an even number of backslashes before it.
      for (size_t backslashes = 1; backslashes % 2;) {
        i = text.find('"', i + 1);
        SAMPAN_CHECK(i != std::string_view::npos);
        for (backslashes = 0; text[i - 1 - backslashes] == '\\';) ++backslashes;
      }
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return text.substr(at, i + 1 - at);
    }
  }
  SAMPAN_CHECK(false);
  return {};
}

}  // namespace master
