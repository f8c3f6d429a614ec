#include "base/http/spdy.h"

#include <zlib.h>

#include <cstring>

namespace base::spdy {
namespace {
enum Type : uint16_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8,
  kWindowUpdate = 9
};
constexpr uint8_t kFin = 1;
constexpr size_t kMaxControlBytes = 256 << 10;
constexpr size_t kDataFrameBytes = 32 << 10;
constexpr size_t kWindowBytes = 64 << 10;  // SPDY/3.1's initial window

// draft-mbelshe-httpbis-spdy-00 section 2.6.10.1: names as in a header block (four bytes of
// length before each), then text that is only there to be matched.
const std::string& dictionary() {
  static const std::string bytes = [] {
    static const char* const names[] = {"options",
                                        "head",
                                        "post",
                                        "put",
                                        "delete",
                                        "trace",
                                        "accept",
                                        "accept-charset",
                                        "accept-encoding",
                                        "accept-language",
                                        "accept-ranges",
                                        "age",
                                        "allow",
                                        "authorization",
                                        "cache-control",
                                        "connection",
                                        "content-base",
                                        "content-encoding",
                                        "content-language",
                                        "content-length",
                                        "content-location",
                                        "content-md5",
                                        "content-range",
                                        "content-type",
                                        "date",
                                        "etag",
                                        "expect",
                                        "expires",
                                        "from",
                                        "host",
                                        "if-match",
                                        "if-modified-since",
                                        "if-none-match",
                                        "if-range",
                                        "if-unmodified-since",
                                        "last-modified",
                                        "location",
                                        "max-forwards",
                                        "pragma",
                                        "proxy-authenticate",
                                        "proxy-authorization",
                                        "range",
                                        "referer",
                                        "retry-after",
                                        "server",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade",
                                        "user-agent",
                                        "vary",
                                        "via",
                                        "warning",
                                        "www-authenticate",
                                        "method",
                                        "get",
                                        "status",
                                        "200 OK",
                                        "version",
                                        "HTTP/1.1",
                                        "url",
                                        "public",
                                        "set-cookie",
                                        "keep-alive",
                                        "origin"};
    std::string out;
    for (const char* name : names) {
      size_t size = std::strlen(name);
      out.append(3, '\0').push_back(static_cast<char>(size));
      out.append(name, size);
    }
    out +=
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
        "Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 "
        "Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, "
        "Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
        "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
        "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    return out;
  }();
  return bytes;
}
const Bytef* raw(std::string_view text) { return reinterpret_cast<const Bytef*>(text.data()); }

void put32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}
uint32_t get32(std::string_view data, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(data[at + i]);
  return value;
}

// The header blocks of one direction share one zlib stream.
class Deflater {
 public:
  Deflater() {
    // A small window: a daemon has one of these per exec, and the blocks are short.
    SAMPAN_CHECK(deflateInit2(&z_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 11, 4, Z_DEFAULT_STRATEGY) == Z_OK);
    SAMPAN_CHECK(deflateSetDictionary(&z_, raw(dictionary()), static_cast<uInt>(dictionary().size())) ==
                 Z_OK);
  }
  ~Deflater() { deflateEnd(&z_); }
  std::string run(const std::string& block) {
    std::string out(deflateBound(&z_, block.size()) + 64, '\0');
    z_.next_in = const_cast<Bytef*>(raw(block));
    z_.avail_in = static_cast<uInt>(block.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    SAMPAN_CHECK(deflate(&z_, Z_SYNC_FLUSH) == Z_OK && z_.avail_in == 0 && z_.avail_out > 0);
    out.erase(out.size() - z_.avail_out);
    return out;
  }

 private:
  z_stream z_{};
};
class Inflater {
 public:
  Inflater() { SAMPAN_CHECK(inflateInit(&z_) == Z_OK); }
  ~Inflater() { inflateEnd(&z_); }
  bool run(std::string_view in, size_t limit, std::string* out) {
    z_.next_in = const_cast<Bytef*>(raw(in));
    z_.avail_in = static_cast<uInt>(in.size());
    for (;;) {
      char piece[4096];
      z_.next_out = reinterpret_cast<Bytef*>(piece);
      z_.avail_out = sizeof piece;
      int result = inflate(&z_, Z_SYNC_FLUSH);
      if (result == Z_NEED_DICT) {
        if (inflateSetDictionary(&z_, raw(dictionary()), static_cast<uInt>(dictionary().size())) != Z_OK)
          return false;
        continue;
      }
      if (result != Z_OK && result != Z_BUF_ERROR) return false;
      out->append(piece, sizeof piece - z_.avail_out);
      if (out->size() > limit) return false;
      if (z_.avail_out > 0) return z_.avail_in == 0;
    }
  }

 private:
  z_stream z_{};
};

std::string encode(const http::Headers& headers) {
  // Names lower-cased, values of one name joined by a zero byte.
  std::map<std::string, std::string> joined;
  for (const auto& [name, value] : headers.list) {
    std::string key;
    for (char c : name) key.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
    auto [it, fresh] = joined.try_emplace(key, value);
    if (!fresh) it->second += std::string(1, '\0') + value;
  }
  std::string out;
  put32(out, static_cast<uint32_t>(joined.size()));
  for (const auto& [name, value] : joined) {
    put32(out, static_cast<uint32_t>(name.size()));
    out += name;
    put32(out, static_cast<uint32_t>(value.size()));
    out += value;
  }
  return out;
}
bool decode(std::string_view block, http::Headers* headers) {
  size_t at = 0;
  auto text = [&](std::string* out) {
    if (block.size() - at < 4) return false;
    uint32_t size = get32(block, at);
    at += 4;
    if (block.size() - at < size) return false;
    out->assign(block.substr(at, size));
    at += size;
    return true;
  };
  if (block.size() < 4) return false;
  uint32_t count = get32(block, 0);
  at = 4;
  for (uint32_t i = 0; i < count; ++i) {
    std::string name, value;
    if (!text(&name) || !text(&value) || name.empty()) return false;
    size_t from = 0;
    for (;;) {
      size_t zero = value.find('\0', from);
      headers->add(name, value.substr(from, zero == std::string::npos ? zero : zero - from));
      if (zero == std::string::npos) break;
      from = zero + 1;
    }
  }
  return at == block.size();
}

class StreamImpl;
}  // namespace

struct Session::Impl : std::enable_shared_from_this<Session::Impl> {
  std::unique_ptr<http::ByteStream> stream;
  Role role = Role::kServer;
  Options options;
  OnStream on_stream;
  std::function<void(Status)> on_end;
  std::map<uint32_t, std::shared_ptr<StreamImpl>> streams;
  Deflater deflater;
  Inflater inflater;
  std::string in;
  uint32_t data_stream = 0, data_left = 0;  // a DATA frame being received
  bool data_fin = false, in_data = false;
  uint32_t next_id = 1, last_peer_id = 0, pong = 0;
  size_t held = 0;
  bool over = false, paused = false, going_away = false;

  void control(uint16_t type, uint8_t flags, std::string_view payload) {
    if (!stream) return;
    std::string out;
    out.reserve(payload.size() + 8);
    put32(out, 0x80030000u | type);
    put32(out, static_cast<uint32_t>(flags) << 24 | static_cast<uint32_t>(payload.size()));
    out.append(payload);
    stream->write(std::move(out));
  }
  void send_reset(uint32_t id, uint32_t status) {
    std::string payload;
    put32(payload, id);
    put32(payload, status);
    control(kRstStream, 0, payload);
  }
  void send_data(uint32_t id, std::string_view data, bool fin) {
    if (!stream) return;
    do {
      std::string_view piece = data.substr(0, kDataFrameBytes);
      data.remove_prefix(piece.size());
      std::string out;
      out.reserve(piece.size() + 8);
      put32(out, id);
      put32(out, (fin && data.empty() ? uint32_t{kFin} << 24 : 0) | static_cast<uint32_t>(piece.size()));
      out.append(piece);
      stream->write(std::move(out));
    } while (!data.empty());
  }
  void consumed(uint32_t id, uint32_t bytes) {
    std::string payload;
    put32(payload, id);
    put32(payload, bytes);
    control(kWindowUpdate, 0, payload);
  }
  void send_go_away(uint32_t status) {
    std::string payload;
    put32(payload, last_peer_id);
    put32(payload, status);
    control(kGoAway, 0, payload);
  }
  void update_pause() {
    bool want = held > options.max_held_bytes;
    if (want == paused || !stream) return;
    paused = want;
    stream->pause(paused);
  }
  void finished(Status status);
  void fail(std::string reason) {
    if (over) return;
    send_go_away(kProtocolError);
    finished(make_error(Kind::kInvalid, "SPDY", "", std::move(reason)));
  }
  void received(std::string_view data);
  size_t take(std::string_view data);
  size_t take_data(std::string_view data);
  void took_control(uint16_t type, uint8_t flags, std::string_view payload);
  void took_syn_stream(uint8_t flags, std::string_view payload);
};

namespace {
class StreamImpl final : public Stream, public std::enable_shared_from_this<StreamImpl> {
 public:
  StreamImpl(std::weak_ptr<Session::Impl> session, uint32_t id, http::Headers headers)
      : session_(std::move(session)), id_(id), headers_(std::move(headers)) {}
  uint32_t id() const override { return id_; }
  const http::Headers& headers() const override { return headers_; }
  void on_data(std::function<void(std::string_view)> data, std::function<void(Status)> end) override {
    data_ = std::make_shared<std::function<void(std::string_view)>>(std::move(data));
    end_ = std::make_shared<std::function<void(Status)>>(std::move(end));
    deliver();
  }
  void reply(http::Headers headers) override {
    auto session = session_.lock();
    if (!session || gone_ || replied_) return;
    replied_ = true;
    std::string payload;
    put32(payload, id_);
    payload += session->deflater.run(encode(headers));
    session->control(kSynReply, 0, payload);
  }
  void write(std::string_view data) override {
    auto session = session_.lock();
    if (session && !gone_ && !fin_sent_ && !data.empty()) session->send_data(id_, data, false);
  }
  void finish() override {
    auto session = session_.lock();
    if (!session || gone_ || fin_sent_) return;
    fin_sent_ = true;
    session->send_data(id_, {}, true);
    if (fin_received_) forget(*session);
  }
  void reset(uint32_t status) override {
    auto session = session_.lock();
    if (!session || gone_) return;
    session->send_reset(id_, status);
    data_.reset();
    end_.reset();
    drop_held(*session);
    forget(*session);
  }
  void pause(bool paused) override {
    if (paused_ == paused) return;
    paused_ = paused;
    if (!paused) deliver();
  }

  // From the session.
  void received(Session::Impl& session, std::string_view data, bool fin) {
    auto keep = shared_from_this();
    if (fin_received_) return;
    window_used_ += data.size();
    if (fin) fin_received_ = true;
    if (held_.empty() && data_ && !paused_) {
      if (!data.empty()) {
        auto callback = data_;
        (*callback)(data);
      }
    } else {
      held_ += data;
      session.held += data.size();
      session.update_pause();
    }
    if (session.over || gone_) return;
    if (held_.empty()) acknowledge(session);
    if (fin && fin_sent_) forget(session);
    deliver();
  }
  // No more will come, by reset or the end of the session.
  void ended(Status status) {
    if (end_status_) return;
    end_status_ = std::move(status);
    gone_ = true;
    deliver();
  }
  bool fin_received() const { return fin_received_; }
  void now_replied() {
    if (replied_) return;
    replied_ = true;
    if (auto callback = std::move(on_replied)) callback();
  }
  std::function<void()> on_replied;
  bool fin_sent_ = false;

 private:
  void acknowledge(Session::Impl& session) {
    if (window_used_ < kWindowBytes / 2 || fin_received_) return;
    session.consumed(id_, static_cast<uint32_t>(window_used_));
    window_used_ = 0;
  }
  void drop_held(Session::Impl& session) {
    session.held -= held_.size();
    held_.clear();
    session.update_pause();
  }
  void forget(Session::Impl& session) {
    gone_ = true;
    auto keep = shared_from_this();
    session.streams.erase(id_);
  }
  void deliver() {
    auto keep = shared_from_this();
    if (!data_ || paused_) return;
    if (!held_.empty()) {
      std::string data = std::move(held_);
      held_.clear();
      if (auto session = session_.lock()) {
        session->held -= data.size();
        session->update_pause();
        if (!gone_) acknowledge(*session);
      }
      auto callback = data_;
      (*callback)(data);
      if (!data_ || paused_ || !held_.empty()) return;
    }
    if (!fin_received_ && !end_status_) return;
    auto callback = std::move(end_);
    end_.reset();
    if (!callback) return;
    data_.reset();
    if (fin_received_) (*callback)({});
    else (*callback)(std::move(*end_status_));
  }

  std::weak_ptr<Session::Impl> session_;
  uint32_t id_;
  http::Headers headers_;
  std::shared_ptr<std::function<void(std::string_view)>> data_;
  std::shared_ptr<std::function<void(Status)>> end_;
  std::optional<Status> end_status_;
  std::string held_;
  size_t window_used_ = 0;
  bool replied_ = false, fin_received_ = false, gone_ = false, paused_ = false;
};
}  // namespace

void Session::Impl::finished(Status status) {
  if (over) return;
  over = true;
  auto keep = shared_from_this();
  if (stream) {
    stream->finish();
    stream.reset();
  }
  auto all = std::move(streams);
  streams.clear();
  for (auto& [id, one] : all) {
    one->ended(make_error(Kind::kUnavailable, "SPDY stream", std::to_string(id),
                          status.ok() ? "the connection was closed" : status.error().message()));
  }
  auto callback = std::move(on_end);
  on_stream = nullptr;
  if (callback) callback(std::move(status));
}

void Session::Impl::received(std::string_view data) {
  auto keep = shared_from_this();
  std::string whole;
  if (!in.empty()) {
    whole = std::move(in);
    in.clear();
    whole.append(data);
    data = whole;
  }
  while (!over && !data.empty()) {
    size_t used = in_data ? take_data(data) : take(data);
    if (used == 0) break;
    data.remove_prefix(used);
  }
  if (!over) in.assign(data);
}
size_t Session::Impl::take_data(std::string_view data) {
  std::string_view piece = data.substr(0, data_left);
  data_left -= static_cast<uint32_t>(piece.size());
  if (data_left == 0) in_data = false;
  bool fin = data_fin && data_left == 0;
  auto it = streams.find(data_stream);
  if (it != streams.end()) {
    auto one = it->second;
    one->received(*this, piece, fin);
  }
  return piece.size();
}
size_t Session::Impl::take(std::string_view data) {
  if (data.size() < 8) return 0;
  uint32_t first = get32(data, 0), second = get32(data, 4);
  auto flags = static_cast<uint8_t>(second >> 24);
  uint32_t size = second & 0xffffff;
  if (!(first & 0x80000000u)) {
    auto it = streams.find(first);
    // A stream that we reset or finished may still get data; one that never was may not.
    bool ours = (first & 1) == (role == Role::kClient ? 1u : 0u);
    if (it == streams.end() && (first == 0 || (ours ? first >= next_id : first > last_peer_id)))
      send_reset(first, kInvalidStream);
    data_stream = first;
    data_left = size;
    data_fin = flags & kFin;
    in_data = size > 0;
    if (size == 0 && it != streams.end()) {
      auto one = it->second;
      one->received(*this, {}, data_fin);
    }
    return 8;
  }
  if ((first >> 16 & 0x7fff) != 3) return fail("not version 3"), 0;
  if (size > kMaxControlBytes) return fail("control frame too large"), 0;
  if (data.size() - 8 < size) return 0;
  took_control(static_cast<uint16_t>(first & 0xffff), flags, data.substr(8, size));
  return 8 + size;
}
void Session::Impl::took_control(uint16_t type, uint8_t flags, std::string_view payload) {
  static const std::map<uint16_t, size_t> least = {{kSynStream, 10}, {kSynReply, 4},    {kRstStream, 8},
                                                   {kSettings, 4},   {kPing, 4},        {kGoAway, 8},
                                                   {kHeaders, 4},    {kWindowUpdate, 8}};
  auto minimum = least.find(type);
  if (minimum == least.end()) return;  // unknown types are skipped: section 2.2.1
  if (payload.size() < minimum->second) return fail("control frame too short");
  uint32_t id = get32(payload, 0) & 0x7fffffff;
  auto it = streams.find(id);
  switch (type) {
    case kSynStream: return took_syn_stream(flags, payload);
    case kSynReply:
    case kHeaders: {
      // Inflated even when nobody wants it: the blocks share one compression state.
      std::string block;
      http::Headers headers;
      if (!inflater.run(payload.substr(4), options.max_header_bytes, &block) || !decode(block, &headers))
        return fail("broken header block");
      if (it == streams.end()) return;
      auto one = it->second;
      if (type == kSynReply) one->now_replied();
      if (!over && (flags & kFin)) one->received(*this, {}, true);
      return;
    }
    case kRstStream: {
      if (it == streams.end()) return;
      auto one = it->second;
      streams.erase(it);
      return one->ended(make_error(Kind::kCanceled, "SPDY stream", std::to_string(id),
                                   "reset by the peer, status " + std::to_string(get32(payload, 4))));
    }
    case kPing: {
      uint32_t ping_id = get32(payload, 0);
      // Odd ones are the client's.
      if ((ping_id & 1) == (role == Role::kServer ? 1u : 0u)) control(kPing, 0, payload.substr(0, 4));
      else pong = ping_id;
      return;
    }
    case kGoAway: going_away = true; return;
    default: return;  // SETTINGS and WINDOW_UPDATE: see the header
  }
}
void Session::Impl::took_syn_stream(uint8_t flags, std::string_view payload) {
  uint32_t id = get32(payload, 0) & 0x7fffffff;
  std::string block;
  http::Headers headers;
  if (!inflater.run(payload.substr(10), options.max_header_bytes, &block) || !decode(block, &headers))
    return fail("broken header block");
  bool peers = (id & 1) == (role == Role::kServer ? 1u : 0u);
  if (!peers || id <= last_peer_id) return fail("stream id out of order");
  last_peer_id = id;
  if (!on_stream || streams.size() >= options.max_streams) return send_reset(id, kRefusedStream);
  auto made = std::make_shared<StreamImpl>(weak_from_this(), id, std::move(headers));
  streams[id] = made;
  if (flags & 2) made->fin_sent_ = true;  // unidirectional: nothing of ours is expected
  auto callback = on_stream;
  callback(made);
  if (!over && (flags & kFin)) made->received(*this, {}, true);
}

Session::Session(std::unique_ptr<http::ByteStream> stream, Role role, Options options, OnStream on_stream,
                 std::function<void(Status)> on_end)
    : impl_(std::make_shared<Impl>()) {
  impl_->stream = std::move(stream);
  impl_->role = role;
  impl_->options = options;
  impl_->on_stream = std::move(on_stream);
  impl_->on_end = std::move(on_end);
  impl_->next_id = role == Role::kClient ? 1 : 2;
  std::weak_ptr<Impl> weak = impl_;
  impl_->stream->on_data(
      [weak](std::string_view data) {
        if (auto impl = weak.lock(); impl && !impl->over) impl->received(data);
      },
      [weak](Status status) {
        if (auto impl = weak.lock()) impl->finished(std::move(status));
      });
}
Session::~Session() {
  impl_->over = true;
  impl_->on_stream = nullptr;
  impl_->on_end = nullptr;
  auto streams = std::move(impl_->streams);
  impl_->streams.clear();
  auto stream = std::move(impl_->stream);
}
std::shared_ptr<Stream> Session::open(http::Headers headers, std::function<void()> replied) {
  uint32_t id = impl_->next_id;
  auto made = std::make_shared<StreamImpl>(impl_, id, headers);
  made->on_replied = std::move(replied);
  if (impl_->over || id > 0x7ffffffd) {
    made->ended(make_error(Kind::kUnavailable, "open SPDY stream", "", "the session is over"));
    return made;
  }
  impl_->next_id += 2;
  impl_->streams[id] = made;
  std::string payload;
  put32(payload, id);
  put32(payload, 0);
  payload.append(2, '\0');
  payload += impl_->deflater.run(encode(headers));
  impl_->control(kSynStream, 0, payload);
  return made;
}
void Session::ping(uint32_t id) {
  std::string payload;
  put32(payload, id);
  impl_->control(kPing, 0, payload);
}
void Session::close() {
  if (impl_->over) return;
  impl_->send_go_away(0);
  impl_->on_end = nullptr;
  impl_->finished({});
}
size_t Session::queued_bytes() const { return impl_->stream ? impl_->stream->queued_bytes() : 0; }
void Session::on_drain(std::function<void()> drained) {
  if (impl_->stream) impl_->stream->on_drain(std::move(drained));
}
size_t Session::streams() const { return impl_->streams.size(); }
uint32_t Session::last_pong() const { return impl_->pong; }

uint32_t dictionary_id() {
  return static_cast<uint32_t>(
      adler32(adler32(0, nullptr, 0), raw(dictionary()), static_cast<uInt>(dictionary().size())));
}

}  // namespace base::spdy
