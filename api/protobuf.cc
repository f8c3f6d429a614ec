#include "api/protobuf.h"

#include <bit>
#include <cmath>

#include "api/wire_format.h"
#include "base/base64.h"
#include "base/instant.h"
#include "base/json_limits.h"

namespace api {
namespace {

base::Error malformed_message(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "decode protobuf", {}, std::move(reason));
}

struct WireEntry {
  uint32_t number = 0;
  WireType wire = kVarint;
  uint64_t scalar = 0;  // varint and fixed
  std::string_view bytes;
};

base::Result<uint64_t> read_varint(std::string_view& in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 70 && !in.empty(); shift += 7) {
    uint8_t byte = static_cast<uint8_t>(in.front());
    in.remove_prefix(1);
    if (shift == 63 && byte > 1) break;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return malformed_message(in.empty() ? "the body ends inside a number" : "a number of more than 64 bits");
}

base::Result<uint64_t> read_fixed(std::string_view& in, size_t size) {
  if (in.size() < size) return malformed_message("the body ends inside a number");
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= static_cast<uint64_t>(static_cast<uint8_t>(in[i])) << (8 * i);
  in.remove_prefix(size);
  return value;
}

base::Result<WireEntry> read_entry(std::string_view& in) {
  uint64_t tag = TRY(read_varint(in));
  WireEntry entry;
  entry.wire = static_cast<WireType>(tag & 7);
  if (tag >> 3 == 0 || tag >> 3 > UINT32_MAX) return malformed_message("a field number out of range");
  entry.number = static_cast<uint32_t>(tag >> 3);
  switch (entry.wire) {
    case kVarint: entry.scalar = TRY(read_varint(in)); return entry;
    case kFixed64: entry.scalar = TRY(read_fixed(in, 8)); return entry;
    case kFixed32: entry.scalar = TRY(read_fixed(in, 4)); return entry;
    case kBytesValue: {
      uint64_t size = TRY(read_varint(in));
      if (size > in.size()) return malformed_message("a field is longer than the body");
      entry.bytes = in.substr(0, size);
      in.remove_prefix(size);
      return entry;
    }
  }
  return malformed_message("a wire type of " + std::to_string(tag & 7));
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    uint8_t lead = static_cast<uint8_t>(text[i]);
    size_t more = lead < 0x80                   ? 0
                  : lead >= 0xc2 && lead < 0xe0 ? 1
                  : lead >= 0xe0 && lead < 0xf0 ? 2
                  : lead >= 0xf0 && lead < 0xf5 ? 3
                                                : 9;
    if (more == 9 || text.size() - i <= more) return false;
    uint32_t code = more ? lead & (0x3f >> more) : lead;
    for (size_t k = 1; k <= more; ++k) {
      uint8_t next = static_cast<uint8_t>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
        (more == 3 && (code < 0x10000 || code > 0x10ffff)))
      return false;
    i += more + 1;
  }
  return true;
}

base::Result<json::value> text_of(std::string_view bytes) {
  if (!is_utf8(bytes)) return malformed_message("a string that is not UTF-8");
  return json::value(bytes);
}

// The entries of a small message of fixed meaning, by number (1 to 4).
struct Small {
  uint64_t scalar[5] = {};
  std::string_view bytes[5] = {};
};
base::Result<Small> read_small(std::string_view in) {
  Small small;
  while (!in.empty()) {
    WireEntry entry = TRY(read_entry(in));
    if (entry.number > 4) continue;
    if (entry.wire == kBytesValue) small.bytes[entry.number] = entry.bytes;
    else small.scalar[entry.number] = entry.scalar;
  }
  return small;
}

base::Status decode_message(const Type& type, std::string_view in, uint32_t prefix, int depth,
                            json::object& out);

// One value of a field; null where Go's decoder would have left it unset.
base::Result<json::value> decode_one(const Field& field, const WireEntry& entry, int depth) {
  bool scalar = field.shape == Shape::kInt32 || field.shape == Shape::kInt64 || field.shape == Shape::kBool ||
                field.shape == Shape::kDouble;
  if (scalar != (entry.wire != kBytesValue))
    return malformed_message(std::string("field ") + field.name + " has the wrong wire type");
  switch (field.shape) {
    case Shape::kBool: return json::value(entry.scalar != 0);
    case Shape::kInt32: return json::value(static_cast<int64_t>(static_cast<int32_t>(entry.scalar)));
    case Shape::kInt64: return json::value(static_cast<int64_t>(entry.scalar));
    case Shape::kDouble: {
      double number = entry.wire == kFixed32
                          ? static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(entry.scalar)))
                          : std::bit_cast<double>(entry.scalar);
      if (!std::isfinite(number))
        return malformed_message(std::string("field ") + field.name + " is a number that JSON does not have");
      return json::value(number);
    }
    case Shape::kString: return text_of(entry.bytes);
    case Shape::kBytes: return json::value(base::base64_encode(entry.bytes));
    case Shape::kQuantity: return text_of(TRY(read_small(entry.bytes)).bytes[1]);
    case Shape::kTime:
    case Shape::kMicroTime: {
      Small small = TRY(read_small(entry.bytes));
      auto seconds = static_cast<int64_t>(small.scalar[1]);
      if (entry.bytes.empty()) return json::value(nullptr);
      if (seconds < base::kFirstInstant || seconds > base::kLastInstant || small.scalar[2] > 999999999)
        return malformed_message(std::string("field ") + field.name + " is no time");
      base::Instant time{seconds, static_cast<int32_t>(small.scalar[2])};
      if (field.shape == Shape::kTime) time.nanos = 0;  // as Go's metav1.Time
      if (time == base::kZeroInstant) return json::value(nullptr);
      return json::value(base::format_instant(time, field.shape == Shape::kTime ? 0 : 6));
    }
    case Shape::kIntOrString: {
      Small small = TRY(read_small(entry.bytes));
      if (small.scalar[1] == 1) return text_of(small.bytes[3]);
      return json::value(static_cast<int64_t>(static_cast<int32_t>(small.scalar[2])));
    }
    case Shape::kAny: {
      std::string_view raw = TRY(read_small(entry.bytes)).bytes[1];
      if (raw.empty()) return json::value(nullptr);
      return base::parse_json(raw);
    }
    case Shape::kStruct: {
      json::object object;
      TRY(decode_message(*field.type, entry.bytes, 0, depth + 1, object));
      return json::value(std::move(object));
    }
  }
  return malformed_message("a shape without a protobuf form");
}

bool is_zero(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return true;
    case json::kind::bool_: return !value.get_bool();
    case json::kind::int64: return value.get_int64() == 0;
    case json::kind::double_: return value.get_double() == 0;
    case json::kind::string: return value.get_string().empty();
    default: return false;
  }
}

// A map's entry is a message {1: key, 2: value}.
base::Status decode_map_entry(const Field& field, std::string_view in, int depth, json::object& out) {
  json::value key("");
  WireEntry value{2, kBytesValue, 0, {}};
  while (!in.empty()) {
    WireEntry entry = TRY(read_entry(in));
    if (entry.number == 1 && entry.wire == kBytesValue) key = TRY(text_of(entry.bytes));
    if (entry.number == 2) value = entry;
  }
  std::string_view name = key.get_string();
  if (field.holder == Holder::kMapOfLists) {
    json::array list;
    while (!value.bytes.empty()) {
      WireEntry entry = TRY(read_entry(value.bytes));
      if (entry.number == 1) list.push_back(TRY(decode_one(field, entry, depth)));
    }
    out[name] = std::move(list);
  } else {
    out[name] = TRY(decode_one(field, value, depth));
  }
  return {};
}

base::Status decode_field(const Field& field, const WireEntry& entry, int depth, json::object& out) {
  switch (field.holder) {
    case Holder::kOne: {
      json::value value = TRY(decode_one(field, entry, depth));
      // Clients send the zero of what is no pointer; in JSON it would be absent.
      if (is_zero(value) && !(field.wire_pointer && !value.is_null()) && !field.required) return {};
      out[field.name] = std::move(value);
      return {};
    }
    case Holder::kList: {
      json::value& list = out[field.name];
      if (!list.is_array()) list = json::array();
      bool number = field.shape == Shape::kInt32 || field.shape == Shape::kInt64;
      if (number && entry.wire == kBytesValue) {  // packed
        for (std::string_view in = entry.bytes; !in.empty();) {
          WireEntry one{entry.number, kVarint, TRY(read_varint(in)), {}};
          list.get_array().push_back(TRY(decode_one(field, one, depth)));
        }
        return {};
      }
      list.get_array().push_back(TRY(decode_one(field, entry, depth)));
      return {};
    }
    case Holder::kMap:
    case Holder::kMapOfLists: {
      if (entry.wire != kBytesValue)
        return malformed_message(std::string("field ") + field.name + " is no map");
      json::value& map = out[field.name];
      if (!map.is_object()) map = json::object();
      return decode_map_entry(field, entry.bytes, depth, map.get_object());
    }
  }
  return {};
}

// `prefix`: the packed numbers of the messages around, whose fields JSON spreads over one object.
base::Status decode_message(const Type& type, std::string_view in, uint32_t prefix, int depth,
                            json::object& out) {
  if (depth > static_cast<int>(base::kMaxJsonDepth)) return malformed_message(base::kTooDeep);
  while (!in.empty()) {
    WireEntry entry = TRY(read_entry(in));
    if (entry.number > 255) continue;
    uint32_t path = prefix << 8 | entry.number;
    bool inside = false;
    const Field* found = nullptr;
    for (const Field& field : type.fields) {
      if (field.wire == path) found = &field;
      if (field.wire >> 8 == path || field.wire >> 16 == path) inside = true;
    }
    if (found) {
      TRY(decode_field(*found, entry, depth, out));
    } else if (inside && entry.wire == kBytesValue) {
      TRY(decode_message(type, entry.bytes, path, depth + 1, out));
    }
  }
  return {};
}

}  // namespace

base::Result<json::value> protobuf_to_json(const Type& type, std::string_view body) {
  constexpr std::string_view kMagic("k8s\0", 4);
  if (!body.starts_with(kMagic))
    return malformed_message("the body does not begin with the magic of Kubernetes' protobuf");
  Small envelope = TRY(read_small(body.substr(kMagic.size())));
  if (!envelope.bytes[3].empty())
    return malformed_message("a content encoding inside the body is not supported");
  Small meta = TRY(read_small(envelope.bytes[1]));
  json::object out;
  out["apiVersion"] = TRY(text_of(meta.bytes[1]));
  out["kind"] = TRY(text_of(meta.bytes[2]));
  if (meta.bytes[2].empty() || meta.bytes[2] == type.name)
    TRY(decode_message(type, envelope.bytes[2], 0, 0, out));
  json::value object(std::move(out));
  if (!base::nests_within(object))
    return malformed_message(base::kTooDeep);  // lists, maps and raw values between the messages
  return object;
}

}  // namespace api
