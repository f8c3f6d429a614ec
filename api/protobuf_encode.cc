// The other direction of protobuf.cc: JSON by a type's rows to its protobuf form.
#include <bit>
#include <charconv>
#include <optional>

#include "api/protobuf.h"
#include "api/wire_format.h"
#include "base/base64.h"
#include "base/clock.h"

namespace api {
namespace {

constexpr int kMaxDepth = 128;

void put_number(std::string& out, uint32_t field, uint64_t value) {
  put_varint(out, field << 3 | kVarint);
  put_varint(out, value);
}

void encode_message(const Type& type, const json::object& in, int depth, std::string& out);

// One value under `number`; what has the wrong JSON type stays away, as it would be refused on the
// way in.
void encode_one(const Field& field, uint32_t number, const json::value& value, int depth, std::string& out) {
  switch (field.shape) {
    case Shape::kBool:
      if (value.is_bool()) put_number(out, number, value.get_bool());
      return;
    case Shape::kInt32:
    case Shape::kInt64:
      if (value.is_int64()) put_number(out, number, static_cast<uint64_t>(value.get_int64()));
      else if (value.is_uint64()) put_number(out, number, value.get_uint64());
      return;
    case Shape::kDouble: {
      if (!value.is_number()) return;
      auto bits = std::bit_cast<uint64_t>(value.is_double() ? value.get_double()
                                                            : static_cast<double>(base::as_int(&value)));
      put_varint(out, number << 3 | kFixed64);
      for (int i = 0; i < 8; ++i) out += static_cast<char>(bits >> (8 * i));
      return;
    }
    case Shape::kString:
      if (value.is_string()) put_bytes(out, number, value.get_string());
      return;
    case Shape::kBytes:
      if (auto bytes = value.is_string() ? base::base64_decode(value.get_string()) : std::nullopt)
        put_bytes(out, number, *bytes);
      return;
    case Shape::kQuantity: {
      std::string quantity, number_text = value.is_string() ? "" : base::to_json(value);
      put_bytes(quantity, 1, value.is_string() ? std::string_view(value.get_string()) : number_text);
      return put_bytes(out, number, quantity);
    }
    case Shape::kTime:
    case Shape::kMicroTime: {
      auto time = value.is_string() ? base::parse_time(value.get_string()) : std::nullopt;
      if (!time) return;
      auto since = time->time_since_epoch();
      auto seconds = std::chrono::floor<std::chrono::seconds>(since);
      auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count();
      std::string stamp;
      put_number(stamp, 1, static_cast<uint64_t>(seconds.count()));
      put_number(stamp, 2, field.shape == Shape::kTime ? 0 : static_cast<uint64_t>(nanoseconds));
      return put_bytes(out, number, stamp);
    }
    case Shape::kIntOrString: {
      std::string either;
      put_number(either, 1, value.is_string());
      if (value.is_string()) put_bytes(either, 3, value.get_string());
      else put_number(either, 2, static_cast<uint64_t>(base::as_int(&value)));
      return put_bytes(out, number, either);
    }
    case Shape::kAny: {
      std::string raw;
      put_bytes(raw, 1, json::serialize(value));
      return put_bytes(out, number, raw);
    }
    case Shape::kStruct: {
      if (!value.is_object()) return;
      std::string message;
      encode_message(*field.type, value.get_object(), depth + 1, message);
      return put_bytes(out, number, message);
    }
  }
}

void encode_field(const Field& field, uint32_t number, const json::value& value, int depth,
                  std::string& out) {
  switch (field.holder) {
    case Holder::kOne: return encode_one(field, number, value, depth, out);
    case Holder::kList:
      if (!value.is_array()) return;
      for (const json::value& one : value.get_array()) {
        size_t before = out.size();
        encode_one(field, number, one, depth, out);
        if (out.size() == before) put_bytes(out, number, {});  // an empty item keeps its place
      }
      return;
    case Holder::kMap:
    case Holder::kMapOfLists:
      if (!value.is_object()) return;
      for (const auto& item : value.get_object()) {
        std::string entry;
        put_bytes(entry, 1, item.key());
        if (field.holder == Holder::kMap) {
          encode_one(field, 2, item.value(), depth, entry);
        } else if (item.value().is_array()) {
          std::string list;
          for (const json::value& one : item.value().get_array()) encode_one(field, 1, one, depth, list);
          put_bytes(entry, 2, list);
        }
        put_bytes(out, number, entry);
      }
      return;
  }
}

// Fields of messages that JSON spreads over their owner, gathered until it is through: few.
class Spread {
 public:
  std::string& at(uint32_t path) {
    for (auto& [known, text] : messages_)
      if (known == path) return text;
    return messages_.emplace_back(path, std::string()).second;
  }
  void flush(std::string& out) {
    for (size_t i = 0; i < messages_.size(); ++i)  // the inner ones into theirs, which may be new
      if (uint32_t path = messages_[i].first; path > 0xff) {
        std::string inner = std::move(messages_[i].second);
        put_bytes(at(path >> 8), path & 0xff, inner);
      }
    for (const auto& [path, text] : messages_)
      if (path <= 0xff) put_bytes(out, path, text);
  }

 private:
  std::vector<std::pair<uint32_t, std::string>> messages_;
};

void encode_message(const Type& type, const json::object& in, int depth, std::string& out) {
  if (depth > kMaxDepth) return;
  Spread spread;
  for (const auto& member : in) {
    if (member.value().is_null()) continue;
    const Field* field = type.field(member.key());
    if (!field || field->wire == 0) continue;
    uint32_t owner = field->wire >> 8;
    encode_field(*field, field->wire & 0xff, member.value(), depth, owner ? spread.at(owner) : out);
  }
  spread.flush(out);
}

}  // namespace

bool has_protobuf(const Type& type) {
  const Field* metadata = type.field("metadata");
  return !type.custom && metadata && metadata->wire != 0;
}

std::string protobuf_message(const Type& type, const json::value& object) {
  std::string out;
  if (object.is_object()) encode_message(type, object.get_object(), 0, out);
  return out;
}

std::string protobuf_envelope_head(std::string_view api_version, std::string_view kind,
                                   size_t message_bytes) {
  std::string meta;
  put_bytes(meta, 1, api_version);
  put_bytes(meta, 2, kind);
  std::string out("k8s\0", 4);
  put_bytes(out, 1, meta);
  put_varint(out, 2 << 3 | kBytesValue);
  put_varint(out, message_bytes);
  return out;
}
std::string protobuf_envelope_tail() {
  std::string out;
  put_bytes(out, 3, {});
  put_bytes(out, 4, {});
  return out;
}
std::string protobuf_envelope(std::string_view api_version, std::string_view kind, std::string_view message) {
  std::string out = protobuf_envelope_head(api_version, kind, message.size());
  out.reserve(out.size() + message.size() + 8);
  return out.append(message).append(protobuf_envelope_tail());
}

std::string protobuf_of(const Type& type, const json::value& object) {
  return protobuf_envelope(base::string_at(object, "apiVersion"), base::string_at(object, "kind"),
                           protobuf_message(type, object));
}

void append_protobuf_item(std::string& out, uint32_t field, std::string_view message) {
  put_bytes(out, field, message);
}
size_t protobuf_item_bytes(uint32_t field, size_t message_bytes) {
  std::string head;
  put_varint(head, field << 3 | kBytesValue);
  put_varint(head, message_bytes);
  return head.size() + message_bytes;
}

std::string protobuf_event_frame(std::string_view type, std::string_view object) {
  std::string raw, event;
  put_bytes(raw, 1, object);
  put_bytes(event, 1, type);
  put_bytes(event, 2, raw);
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(event.size() >> shift);
  return out + event;
}

}  // namespace api
