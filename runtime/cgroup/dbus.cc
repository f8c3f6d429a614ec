// Bytes of messages: marshalling and reading. The connection is in dbus_connection.cc.
#include "runtime/cgroup/dbus.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace runtime {
namespace {

constexpr size_t kMaxMessageBytes = 1 << 20;  // the specification's limit is 128 MiB; ours are short
static_assert(std::endian::native == std::endian::little, "messages are written in little endian");

void align(std::string& out, size_t to) { out.resize((out.size() + to - 1) / to * to, '\0'); }
template <typename T>
void put(std::string& out, T value) {
  align(out, sizeof value);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_string(std::string& out, std::string_view text) {
  put(out, static_cast<uint32_t>(text.size()));
  out.append(text);
  out += '\0';
}
void put_signature(std::string& out, std::string_view text) {
  out += static_cast<char>(text.size());
  out.append(text);
  out += '\0';
}
// An array's length is known behind it, and does not count the padding before its first element.
template <typename F>
void put_array(std::string& out, size_t element_alignment, F elements) {
  put(out, uint32_t{0});
  size_t length_at = out.size() - 4;
  align(out, element_alignment);
  size_t begin = out.size();
  elements();
  uint32_t length = static_cast<uint32_t>(out.size() - begin);
  std::memcpy(out.data() + length_at, &length, sizeof length);
}
void put_value(std::string& out, const DbusValue& value) {
  struct Visitor {
    std::string& out;
    void operator()(bool v) { put(out, uint32_t{v}); }
    void operator()(uint8_t v) { put(out, v); }
    void operator()(int32_t v) { put(out, v); }
    void operator()(uint32_t v) { put(out, v); }
    void operator()(int64_t v) { put(out, v); }
    void operator()(uint64_t v) { put(out, v); }
    void operator()(double v) { put(out, v); }
    void operator()(const std::string& v) { put_string(out, v); }
    void operator()(const std::vector<std::string>& v) {
      put_array(out, 4, [&] {
        for (const std::string& s : v) put_string(out, s);
      });
    }
    void operator()(const std::vector<uint8_t>& v) {
      put_array(out, 1, [&] { out.append(v.begin(), v.end()); });
    }
    void operator()(const std::vector<uint32_t>& v) {
      put_array(out, 4, [&] {
        for (uint32_t n : v) put(out, n);
      });
    }
    void operator()(const std::vector<std::pair<std::string, std::string>>& v) {
      put_array(out, 8, [&] {
        for (const auto& [first, second] : v) {
          align(out, 8);
          put_string(out, first);
          put_string(out, second);
        }
      });
    }
    void operator()(const std::vector<std::pair<std::string, uint64_t>>& v) {
      put_array(out, 8, [&] {
        for (const auto& [first, second] : v) {
          align(out, 8);
          put_string(out, first);
          put(out, second);
        }
      });
    }
  };
  std::visit(Visitor{out}, value);
}

base::Error malformed(const char* what) {
  return base::make_error(base::Kind::kInvalid, "read D-Bus message", {}, what);
}

class DbusReader {
 public:
  explicit DbusReader(std::string_view bytes, size_t at = 0) : bytes_(bytes), at_(at) {}
  bool align(size_t to) {
    at_ = (at_ + to - 1) / to * to;
    return at_ <= bytes_.size();
  }
  template <typename T>
  bool get(T& value) {
    if (!align(sizeof value) || bytes_.size() - at_ < sizeof value) return false;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return true;
  }
  bool get_string(std::string& out) {
    uint32_t size;
    return get(size) && take(size, out);
  }
  bool get_signature(std::string& out) {
    uint8_t size;
    return get(size) && take(size, out);
  }
  size_t at() const { return at_; }

 private:
  bool take(size_t size, std::string& out) {
    if (bytes_.size() - at_ < size + 1 || bytes_[at_ + size] != '\0') return false;
    out = bytes_.substr(at_, size);
    at_ += size + 1;
    return true;
  }
  std::string_view bytes_;
  size_t at_;
};

}  // namespace

std::string dbus_signature(const DbusValue& value) {
  constexpr const char* kSignatures[] = {"b", "y",  "i",  "u",  "x",     "t",    "d",
                                         "s", "as", "ay", "au", "a(ss)", "a(st)"};
  static_assert(std::variant_size_v<DbusValue> == std::size(kSignatures));
  return kSignatures[value.index()];
}

namespace {
struct TextVisitor {
  std::string operator()(bool v) { return v ? "true" : "false"; }
  std::string operator()(uint8_t v) { return std::to_string(v); }
  std::string operator()(int32_t v) { return std::to_string(v); }
  std::string operator()(uint32_t v) { return std::to_string(v); }
  std::string operator()(int64_t v) { return std::to_string(v); }
  std::string operator()(uint64_t v) { return v == UINT64_MAX ? "infinity" : std::to_string(v); }
  std::string operator()(double v) { return fmt::format("{}", v); }
  std::string operator()(const std::string& v) { return v; }
  std::string operator()(const std::vector<std::string>& v) { return fmt::format("[{}]", fmt::join(v, " ")); }
  std::string operator()(const std::vector<uint8_t>& v) { return fmt::format("[{:02x}]", fmt::join(v, " ")); }
  std::string operator()(const std::vector<uint32_t>& v) { return fmt::format("[{}]", fmt::join(v, " ")); }
  template <typename T>
  std::string operator()(const std::vector<std::pair<std::string, T>>& v) {
    std::string out;
    for (const auto& [first, second] : v)
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", first, second);
    return "[" + out + "]";
  }
};
}  // namespace

std::string dbus_text(const DbusValue& value) { return std::visit(TextVisitor{}, value); }

DbusBody& DbusBody::add(const DbusValue& value) {
  put_value(bytes_, value);
  signature_ += dbus_signature(value);
  return *this;
}
DbusBody& DbusBody::add_object(const std::string& path) {
  put_string(bytes_, path);
  signature_ += "o";
  return *this;
}
DbusBody& DbusBody::add_properties(const std::vector<DbusProperty>& properties) {
  put_array(bytes_, 8, [&] {
    for (const DbusProperty& property : properties) {
      align(bytes_, 8);
      put_string(bytes_, property.name);
      put_signature(bytes_, dbus_signature(property.value));
      put_value(bytes_, property.value);
    }
  });
  signature_ += "a(sv)";
  return *this;
}
DbusBody& DbusBody::add_no_units() {
  put_array(bytes_, 8, [] {});
  signature_ += "a(sa(sv))";
  return *this;
}

std::string dbus_call_bytes(const DbusCall& call, uint32_t serial) {
  std::string out = {'l', 1, 0, 1};  // little endian, method call, no flags, version 1
  put(out, static_cast<uint32_t>(call.body.bytes().size()));
  put(out, serial);
  put_array(out, 8, [&] {
    auto field = [&](char code, const char* signature, std::string_view text) {
      if (text.empty()) return;
      align(out, 8);
      out += code;
      put_signature(out, signature);
      if (*signature == 'g') put_signature(out, text);
      else put_string(out, text);
    };
    field(1, "o", call.path);
    field(2, "s", call.interface);
    field(3, "s", call.member);
    field(6, "s", call.destination);
    field(8, "g", call.body.signature());
  });
  align(out, 8);
  return out + call.body.bytes();
}

base::Result<size_t> dbus_message_size(std::string_view begin) {
  if (begin.size() < 16) return size_t{0};
  if (begin[0] != 'l' || begin[3] != 1) return malformed("not little endian or not version 1");
  uint32_t body, fields;
  std::memcpy(&body, begin.data() + 4, sizeof body);
  std::memcpy(&fields, begin.data() + 12, sizeof fields);
  if (body > kMaxMessageBytes || fields > kMaxMessageBytes) return malformed("too long");
  return (size_t{16} + fields + 7) / 8 * 8 + body;
}

base::Result<DbusMessage> parse_dbus_message(std::string_view bytes) {
  size_t size = TRY(dbus_message_size(bytes));
  if (size == 0 || size != bytes.size()) return malformed("cut off");
  DbusMessage out;
  out.type = static_cast<uint8_t>(bytes[1]);
  DbusReader reader(bytes, 8);
  uint32_t fields = 0;
  if (!reader.get(out.serial) || !reader.get(fields)) return malformed("cut off");
  size_t end = 16 + fields;
  while (reader.at() < end) {
    uint8_t code = 0;
    std::string signature, text;
    if (!reader.align(8) || !reader.get(code) || !reader.get_signature(signature))
      return malformed("a header field is cut off");
    if (signature == "u") {
      uint32_t number = 0;
      if (!reader.get(number)) return malformed("a header field is cut off");
      if (code == 5) out.reply_serial = number;
      continue;
    }
    if (signature == "g"                       ? !reader.get_signature(text)
        : signature == "s" || signature == "o" ? !reader.get_string(text)
                                               : true)
      return malformed("a header field is cut off or of a wrong type");
    std::string* known[] = {nullptr, &out.path, &out.interface, &out.member,   &out.error_name,
                            nullptr, nullptr,   nullptr,        &out.signature};
    if (code < std::size(known) && known[code]) *known[code] = std::move(text);
  }
  out.body = bytes.substr((end + 7) / 8 * 8);
  return out;
}

std::vector<std::string> DbusMessage::strings() const {
  std::vector<std::string> out;
  DbusReader reader(body);
  for (char type : signature) {
    std::string kind(1, type), text;
    if (type == 'v' && !reader.get_signature(kind)) return out;
    uint32_t number = 0;
    if (kind == "s" || kind == "o") {
      if (!reader.get_string(text)) return out;
      out.push_back(std::move(text));
    } else if (kind == "u") {
      if (!reader.get(number)) return out;
      out.push_back(std::to_string(number));
    } else {
      return out;
    }
  }
  return out;
}

}  // namespace runtime
