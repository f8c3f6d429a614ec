#include "base/http/websocket.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <strings.h>

#include <cstring>

namespace base::websocket {
namespace {
enum Opcode : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

std::string base64(const unsigned char* data, size_t size) {
  std::string out((size + 2) / 3 * 4, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), data, static_cast<int>(size));
  return out;
}
std::vector<std::string> tokens(const http::Headers& headers, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& [key, value] : headers.list) {
    if (key.size() != name.size() || ::strncasecmp(key.c_str(), name.data(), name.size()) != 0) continue;
    std::string token;
    for (size_t i = 0; i <= value.size(); ++i) {
      char c = i < value.size() ? value[i] : ',';
      if (c == ',') {
        if (!token.empty()) out.push_back(token);
        token.clear();
      } else if (c != ' ' && c != '\t') {
        token.push_back(c);
      }
    }
  }
  return out;
}
bool valid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    auto c = static_cast<unsigned char>(text[i]);
    int more = c < 0x80                ? 0
               : c >= 0xc2 && c < 0xe0 ? 1
               : c >= 0xe0 && c < 0xf0 ? 2
               : c >= 0xf0 && c < 0xf5 ? 3
                                       : -1;
    if (more < 0 || i + static_cast<size_t>(more) >= text.size()) return false;
    for (int k = 1; k <= more; ++k) {
      auto next = static_cast<unsigned char>(text[i + static_cast<size_t>(k)]);
      if ((next & 0xc0) != 0x80) return false;
      // Overlong forms, surrogates, beyond U+10FFFF.
      if (k == 1 && ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
                     (c == 0xf4 && next > 0x8f)))
        return false;
    }
    i += static_cast<size_t>(more) + 1;
  }
  return true;
}
// Codes that may stand in a close frame: RFC 6455 section 7.4.
bool valid_code(uint16_t code) {
  return (code >= 1000 && code <= 1011 && code != 1004 && code != 1005 && code != 1006) ||
         (code >= 3000 && code < 5000);
}
}  // namespace

std::string accept_key(std::string_view key) {
  std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  return base64(digest, size);
}
bool is_upgrade(const http::Request& request) {
  return request.headers.has_token("Connection", "Upgrade") &&
         request.headers.has_token("Upgrade", "websocket");
}
Result<Accepted> accept(const http::Request& request, const std::vector<std::string>& protocols) {
  auto refuse = [](const char* reason) { return make_error(Kind::kInvalid, "accept WebSocket", "", reason); };
  if (request.method != "GET" || !is_upgrade(request))
    return refuse("not a GET with Connection: Upgrade and Upgrade: websocket");
  if (request.headers.get("Sec-WebSocket-Version") != "13") return refuse("Sec-WebSocket-Version must be 13");
  std::string_view key = request.headers.get("Sec-WebSocket-Key");
  if (key.size() != 24) return refuse("Sec-WebSocket-Key must be 16 bytes in base64");
  Accepted accepted;
  auto offered = tokens(request.headers, "Sec-WebSocket-Protocol");
  for (const std::string& one : offered) {
    if (std::find(protocols.begin(), protocols.end(), one) == protocols.end()) continue;
    accepted.protocol = one;
    break;
  }
  if (!offered.empty() && accepted.protocol.empty())
    return refuse("none of the subprotocols in Sec-WebSocket-Protocol is served here");
  accepted.headers.add("Upgrade", "websocket");
  accepted.headers.add("Connection", "Upgrade");
  accepted.headers.add("Sec-WebSocket-Accept", accept_key(key));
  if (!accepted.protocol.empty()) accepted.headers.add("Sec-WebSocket-Protocol", accepted.protocol);
  return accepted;
}
http::Headers client_headers(const std::vector<std::string>& protocols) {
  unsigned char key[16];
  SAMPAN_CHECK(RAND_bytes(key, sizeof key) == 1);
  http::Headers headers;
  headers.add("Connection", "Upgrade");
  headers.add("Upgrade", "websocket");
  headers.add("Sec-WebSocket-Version", "13");
  headers.add("Sec-WebSocket-Key", base64(key, sizeof key));
  std::string list;
  for (const std::string& one : protocols) {
    if (!list.empty()) list += ", ";
    list += one;
  }
  if (!list.empty()) headers.add("Sec-WebSocket-Protocol", list);
  return headers;
}

struct Connection::Impl : std::enable_shared_from_this<Connection::Impl> {
  std::unique_ptr<http::ByteStream> stream;
  Role role = Role::kServer;
  Options options;
  std::shared_ptr<std::function<void(bool, std::string_view)>> message;
  std::shared_ptr<std::function<void(uint16_t, std::string_view)>> end;
  std::shared_ptr<std::function<void()>> pong;
  std::string in, assembled;
  uint8_t assembling = 0;  // opcode of the message under way, 0 = none
  bool over = false, close_sent = false;

  void frame(uint8_t opcode, std::string_view data) {
    if (!stream) return;
    std::string out;
    out.reserve(data.size() + 14);
    out.push_back(static_cast<char>(0x80 | opcode));
    char mask_bit = role == Role::kClient ? static_cast<char>(0x80) : 0;
    if (data.size() < 126) {
      out.push_back(static_cast<char>(mask_bit | static_cast<char>(data.size())));
    } else {
      int bytes = data.size() < 65536 ? 2 : 8;
      out.push_back(static_cast<char>(mask_bit | (bytes == 2 ? 126 : 127)));
      for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(data.size() >> (8 * i) & 0xff));
    }
    if (role == Role::kServer) {
      out.append(data);
    } else {
      unsigned char mask[4];
      SAMPAN_CHECK(RAND_bytes(mask, sizeof mask) == 1);
      out.append(reinterpret_cast<char*>(mask), 4);
      for (size_t i = 0; i < data.size(); ++i)
        out.push_back(static_cast<char>(data[i] ^ static_cast<char>(mask[i % 4])));
    }
    stream->write(std::move(out));
  }
  void send_close(uint16_t code, std::string_view reason) {
    if (close_sent) return;
    close_sent = true;
    std::string payload;
    if (code != 0) {
      payload.push_back(static_cast<char>(code >> 8));
      payload.push_back(static_cast<char>(code & 0xff));
      payload.append(reason.substr(0, 123));  // a control frame carries 125 bytes
    }
    frame(kClose, payload);
    // The server ends the connection first (RFC 6455 section 7.1.1): the client sees that nothing more
    // comes even if it never looks at this frame. Its answer is still read.
    if (role == Role::kServer && stream) stream->half_close();
  }
  // The connection is over; `code` is what the user hears.
  void finished(uint16_t code, std::string_view reason) {
    if (over) return;
    over = true;
    auto keep = shared_from_this();
    std::string text(reason);
    if (stream) {
      stream->finish();
      stream.reset();
    }
    auto callback = std::move(end);
    message.reset();
    if (callback) (*callback)(code, text);
  }
  void fail(uint16_t code, std::string_view reason) {
    send_close(code, reason);
    finished(code, reason);
  }
  void received(std::string_view data) {
    auto keep = shared_from_this();
    in.append(data);
    size_t at = 0;
    while (!over) {
      size_t used = take(std::string_view(in).substr(at));
      if (used == 0) break;
      at += used;
    }
    in.erase(0, at);
  }
  // One frame; 0 when it is not complete.
  size_t take(std::string_view data) {
    if (data.size() < 2) return 0;
    auto byte = [&](size_t i) { return static_cast<uint8_t>(data[i]); };
    bool fin = byte(0) & 0x80, masked = byte(1) & 0x80;
    uint8_t opcode = byte(0) & 0x0f;
    if (byte(0) & 0x70) return fail(kProtocolError, "reserved bits set"), 0;
    if (masked != (role == Role::kServer))
      return fail(kProtocolError, masked ? "masked frame from the server" : "unmasked frame"), 0;
    uint64_t size = byte(1) & 0x7f;
    size_t head = 2;
    if (size >= 126) {
      size_t bytes = size == 126 ? 2 : 8;
      if (data.size() < 2 + bytes) return 0;
      size = 0;
      for (size_t i = 0; i < bytes; ++i) size = size << 8 | byte(2 + i);
      head += bytes;
      if (size < (bytes == 2 ? 126u : 65536u) || size >> 63)
        return fail(kProtocolError, "length not in its shortest form"), 0;
    }
    bool control = opcode & 8;
    if (control && (!fin || size > 125))
      return fail(kProtocolError, "control frame fragmented or too long"), 0;
    if (!control) {
      if (opcode > kBinary) return fail(kProtocolError, "unknown opcode"), 0;
      if ((opcode == kContinuation) != (assembling != 0))
        return fail(kProtocolError, "fragment out of order"), 0;
      if (size + assembled.size() > options.max_message_bytes) return fail(kTooBig, "message too large"), 0;
    } else if (opcode > kPong) {
      return fail(kProtocolError, "unknown opcode"), 0;
    }
    std::string_view mask;
    if (masked) {
      if (data.size() < head + 4) return 0;
      mask = data.substr(head, 4);
      head += 4;
    }
    if (data.size() - head < size) return 0;
    std::string payload(data.substr(head, size));
    if (masked)
      for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
    head += size;
    if (control) {
      took_control(opcode, payload);
    } else {
      took_data(opcode, fin, std::move(payload));
    }
    return head;
  }
  void took_control(uint8_t opcode, const std::string& payload) {
    if (opcode == kPing) return close_sent ? void() : frame(kPong, payload);
    if (opcode == kPong) {
      if (auto callback = pong) (*callback)();
      return;
    }
    if (payload.size() == 1) return fail(kProtocolError, "close frame of one byte");
    uint16_t code = 0;
    std::string_view reason;
    if (payload.size() >= 2) {
      code = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]));
      reason = std::string_view(payload).substr(2);
      if (!valid_code(code)) return fail(kProtocolError, "bad close code");
      if (!valid_utf8(reason)) return fail(kBadText, "close reason is not UTF-8");
    }
    send_close(code, {});
    finished(code == 0 ? 1005 : code, reason);
  }
  void took_data(uint8_t opcode, bool fin, std::string payload) {
    if (opcode != kContinuation) {
      assembling = opcode;
      assembled = std::move(payload);
    } else {
      assembled += payload;
    }
    if (!fin) return;
    std::string whole = std::move(assembled);
    assembled.clear();
    bool binary = assembling == kBinary;
    assembling = 0;
    if (close_sent) return;
    if (!binary && !valid_utf8(whole)) return fail(kBadText, "text is not UTF-8");
    if (auto callback = message) (*callback)(binary, whole);
  }
};

Connection::Connection(std::unique_ptr<http::ByteStream> stream, Role role, Options options)
    : impl_(std::make_shared<Impl>()) {
  impl_->stream = std::move(stream);
  impl_->role = role;
  impl_->options = options;
}
Connection::~Connection() {
  impl_->over = true;
  impl_->message.reset();
  impl_->end.reset();
  impl_->pong.reset();
  auto stream = std::move(impl_->stream);
  if (stream && impl_->close_sent) stream->finish();
}
void Connection::on_message(std::function<void(bool, std::string_view)> message,
                            std::function<void(uint16_t, std::string_view)> end) {
  if (!impl_->stream) return;
  impl_->message = std::make_shared<std::function<void(bool, std::string_view)>>(std::move(message));
  impl_->end = std::make_shared<std::function<void(uint16_t, std::string_view)>>(std::move(end));
  std::weak_ptr<Impl> weak = impl_;
  impl_->stream->on_data(
      [weak](std::string_view data) {
        if (auto impl = weak.lock()) impl->received(data);
      },
      [weak](Status status) {
        if (auto impl = weak.lock())
          impl->finished(kAbnormal,
                         status.ok() ? "connection closed without a close frame" : status.error().message());
      });
}
void Connection::send(std::string_view data, bool binary) {
  if (!impl_->close_sent) impl_->frame(binary ? kBinary : kText, data);
}
void Connection::ping(std::string_view data) {
  if (!impl_->close_sent) impl_->frame(kPing, data.substr(0, 125));
}
void Connection::on_pong(std::function<void()> pong) {
  impl_->pong = std::make_shared<std::function<void()>>(std::move(pong));
}
void Connection::close(uint16_t code, std::string_view reason) { impl_->send_close(code, reason); }
void Connection::pause(bool paused) {
  if (impl_->stream) impl_->stream->pause(paused);
}
size_t Connection::queued_bytes() const { return impl_->stream ? impl_->stream->queued_bytes() : 0; }
void Connection::on_drain(std::function<void()> drained) {
  if (impl_->stream) impl_->stream->on_drain(std::move(drained));
}

namespace {
class Tunnel final : public http::ByteStream {
 public:
  explicit Tunnel(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
  void on_data(std::function<void(std::string_view)> data, std::function<void(Status)> end) override {
    connection_->on_message([data = std::move(data)](bool, std::string_view message) { data(message); },
                            [end = std::move(end)](uint16_t code, std::string_view reason) {
                              if (code == kNormal || code == kGoingAway || code == 1005) return end({});
                              end(make_error(Kind::kUnavailable, "WebSocket", "",
                                             std::to_string(code) + " " + std::string(reason)));
                            });
  }
  void write(std::string data) override { connection_->send(data); }
  size_t queued_bytes() const override { return connection_->queued_bytes(); }
  void on_drain(std::function<void()> drained) override { connection_->on_drain(std::move(drained)); }
  void pause(bool paused) override { connection_->pause(paused); }
  void finish() override { connection_->close(kNormal); }
  void half_close() override { connection_->close(kNormal); }  // WebSocket knows no half

 private:
  std::unique_ptr<Connection> connection_;
};
}  // namespace
std::unique_ptr<http::ByteStream> tunnel(std::unique_ptr<Connection> connection) {
  return std::make_unique<Tunnel>(std::move(connection));
}

}  // namespace base::websocket
