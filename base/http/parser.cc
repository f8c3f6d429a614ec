#include "base/http/parser.h"

#include <algorithm>
#include <cctype>

// Beast asserts that a last chunk, met again, has 5 bytes; one without a chunk before it may have 3 or 4
// (parse_chunk_header, Boost 1.81), and the code behind the assertion is right for those.
#define BOOST_DISABLE_ASSERTS
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace base::http {
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using beast::error_code;

namespace {
constexpr size_t kMaxResponseHeadBytes = 256 << 10;

std::string str(beast::string_view text) { return std::string(text.data(), text.size()); }

// The request line is one, and names a version, though none of ours.
bool names_version(std::string_view text) {
  std::string_view line = text.substr(0, text.find("\r\n"));
  if (std::count(line.begin(), line.end(), ' ') != 2) return false;
  std::string_view version = line.substr(line.rfind(' ') + 1);
  return version.size() == 8 && version.starts_with("HTTP/") &&
         std::isdigit(static_cast<unsigned char>(version[5])) && version[6] == '.' &&
         std::isdigit(static_cast<unsigned char>(version[7]));
}

template <bool kIsRequest>
class Base : public bhttp::basic_parser<kIsRequest> {
 public:
  size_t feed(std::string_view data, error_code& error) {
    return this->put(boost::asio::const_buffer(data.data(), data.size()), error);
  }

 protected:
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  void on_finish_impl(error_code&) override {}
  void on_header_impl(error_code&) override {}
};
}  // namespace

struct RequestParser::Impl : Base<true> {
  explicit Impl(Request& request) : request(request) {}
  Request& request;
  bool expects_continue = false, head_told = false;
  int version = 11, hosts = 0, encodings = 0;
  bool only_chunked = true;
  size_t head_bytes = 0;
  char last = '\n';

  void on_request_impl(bhttp::verb, beast::string_view method, beast::string_view target, int version_found,
                       error_code&) override {
    version = version_found;
    request.method.assign(method.data(), method.size());
    request.target.assign(target.data(), target.size());
    request.headers.list.reserve(8);
  }
  void on_response_impl(int, beast::string_view, int, error_code&) override {}
  void on_field_impl(bhttp::field field, beast::string_view name, beast::string_view value,
                     error_code&) override {
    if (head_told) return;  // trailers say nothing to us
    if (field == bhttp::field::host) ++hosts;
    if (field == bhttp::field::transfer_encoding) {
      ++encodings;
      only_chunked &= beast::iequals(value, "chunked");
    }
    if (field == bhttp::field::expect) expects_continue = beast::iequals(value, "100-continue");
    request.headers.list.emplace_back(str(name), str(value));
  }
  void on_body_init_impl(boost::optional<std::uint64_t> const& size, error_code&) override {
    if (size) request.body.reserve(std::min<std::uint64_t>(*size, 1u << 20));
  }
  size_t on_body_impl(beast::string_view data, error_code&) override {
    request.body.append(data.data(), data.size());
    return data.size();
  }
  size_t on_chunk_body_impl(std::uint64_t, beast::string_view data, error_code&) override {
    request.body.append(data.data(), data.size());
    return data.size();
  }
};

RequestParser::RequestParser(size_t max_body_bytes, size_t max_header_bytes)
    : max_body_bytes_(max_body_bytes), max_header_bytes_(max_header_bytes) {
  reset();
}
RequestParser::~RequestParser() = default;

void RequestParser::reset() {
  request = Request{};
  error_status_ = 0;
  // One allocation for the parser is reused by building it again in place.
  if (impl_) {
    impl_->~Impl();
    new (impl_.get()) Impl(request);
  } else {
    impl_ = std::make_unique<Impl>(request);
  }
  impl_->header_limit(static_cast<std::uint32_t>(max_header_bytes_));
  impl_->body_limit(max_body_bytes_);
}

void RequestParser::refuse(int status, std::string text) {
  if (error_status_ != 0) return;  // the first says it
  error_status_ = status;
  error_text_ = std::move(text);
}

// What Beast lets pass, or reads as something else than a proxy before us may. It takes a head line by
// line, and would take lines without end.
void RequestParser::scan_head(std::string_view piece) {
  impl_->head_bytes += piece.size();
  if (impl_->head_bytes > max_header_bytes_) return refuse(431, "request head too large");
  char before = impl_->last;
  for (char each : piece) {
    unsigned char c = static_cast<unsigned char>(each);
    if (c == '\n' && before != '\r') return refuse(400, "a line of the head ends without CR");
    if (c != '\n' && before == '\r') return refuse(400, "a CR without LF in the head");
    if ((c == ' ' || c == '\t') && before == '\n') return refuse(400, "a line of the head is folded");
    if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
      return refuse(400, "a control character in the head");
    before = each;
  }
  impl_->last = before;
}
void RequestParser::check_head() {
  if (impl_->version >= 11 && impl_->hosts == 0) return refuse(400, "missing required Host header");
  if (impl_->hosts > 1) return refuse(400, "too many Host headers");
  if (impl_->hosts == 1 &&
      request.headers.get("Host").find_first_of(" \t\"<>\\^`{|}/?#,") != std::string_view::npos)
    return refuse(400, "malformed Host header");
  if (impl_->encodings > 0) {
    if (impl_->version < 11) return refuse(400, "Transfer-Encoding in HTTP/1.0");
    if (impl_->encodings > 1) return refuse(400, "too many transfer encodings");
    if (!impl_->only_chunked) return refuse(501, "Unsupported transfer encoding");
  }
  // The absolute form (RFC 9112 section 3.2.2): its authority is the Host.
  size_t scheme = request.target.find("://");
  if (scheme == std::string::npos ||
      (!beast::iequals(beast::string_view(request.target).substr(0, scheme), "http") &&
       !beast::iequals(beast::string_view(request.target).substr(0, scheme), "https")))
    return;
  size_t path = request.target.find_first_of("/?", scheme + 3);
  request.headers.set(
      "Host", request.target.substr(scheme + 3, path == std::string::npos ? path : path - scheme - 3));
  std::string rest = path == std::string::npos ? "/" : request.target.substr(path);
  request.target = rest.front() == '/' ? std::move(rest) : "/" + rest;
}

size_t RequestParser::put(std::string_view data) {
  size_t consumed = 0;
  while (consumed < data.size() && !impl_->is_done()) {
    bool head_was_done = impl_->is_header_done();
    error_code error;
    size_t n = impl_->feed(data.substr(consumed), error);
    consumed += n;
    if (error == bhttp::error::need_more) error = {};
    if (error) {
      // Beast meets Content-Length and a size beyond the limit before the head is whole.
      refuse(error == bhttp::error::body_limit     ? 413
             : error == bhttp::error::header_limit ? 431
             : error == bhttp::error::bad_version  ? (names_version(data.substr(consumed)) ? 505 : 400)
                                                   : 400,
             error.message());
      return consumed;
    }
    if (!head_was_done) {
      scan_head(data.substr(consumed - n, n));
      if (error_status_ != 0) return consumed;
    }
    if (!head_was_done && impl_->is_header_done()) {
      impl_->head_told = true;
      check_head();
      return consumed;
    }
    if (n == 0) break;
  }
  return consumed;
}
bool RequestParser::head_begun() const { return impl_->head_bytes > 0; }
bool RequestParser::head_done() const { return impl_->is_header_done(); }
bool RequestParser::done() const { return impl_->is_done(); }
bool RequestParser::keep_alive() const { return impl_->keep_alive(); }
bool RequestParser::http10() const { return impl_->version < 11; }
bool RequestParser::expects_continue() const { return impl_->expects_continue; }

struct ResponseParser::Impl : Base<false> {
  Impl(Response& response, std::function<void(std::string_view)> on_body)
      : response(response), on_body(std::move(on_body)) {}
  Response& response;
  std::function<void(std::string_view)> on_body;
  size_t head_bytes = 0;  // Beast counts those of one line alone

  void on_request_impl(bhttp::verb, beast::string_view, beast::string_view, int, error_code&) override {}
  void on_response_impl(int status, beast::string_view, int, error_code&) override {
    response.status = status;
  }
  void on_field_impl(bhttp::field, beast::string_view name, beast::string_view value, error_code&) override {
    response.headers.list.emplace_back(str(name), str(value));
  }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  size_t on_body_impl(beast::string_view data, error_code&) override {
    on_body(std::string_view(data.data(), data.size()));
    return data.size();
  }
  size_t on_chunk_body_impl(std::uint64_t, beast::string_view data, error_code&) override {
    on_body(std::string_view(data.data(), data.size()));
    return data.size();
  }
};

ResponseParser::ResponseParser(bool head_request, std::function<void(std::string_view)> on_body)
    : impl_(std::make_unique<Impl>(response, std::move(on_body))) {
  impl_->header_limit(kMaxResponseHeadBytes);
  impl_->body_limit(boost::none);  // the client counts what it keeps
  impl_->skip(head_request);
}
ResponseParser::~ResponseParser() = default;

size_t ResponseParser::put(std::string_view data) {
  size_t consumed = 0;
  while (consumed < data.size() && !impl_->is_done()) {
    bool head_was_done = impl_->is_header_done();
    error_code error;
    size_t n = impl_->feed(data.substr(consumed), error);
    consumed += n;
    if (!head_was_done) impl_->head_bytes += n;
    if (impl_->head_bytes > kMaxResponseHeadBytes) error = bhttp::error::header_limit;
    if (error == bhttp::error::need_more) break;
    if (error) {
      failed_ = true;
      error_text_ = error.message();
      break;
    }
    if (!head_was_done && impl_->is_header_done()) break;
    if (n == 0) break;
  }
  return consumed;
}
void ResponseParser::put_end() {
  if (impl_->is_done() || failed_) return;
  error_code error;
  if (impl_->is_header_done()) impl_->put_eof(error);
  if (error || !impl_->is_done()) {
    failed_ = true;
    error_text_ = error ? error.message() : "connection closed before the answer";
  }
}
bool ResponseParser::head_done() const { return impl_->is_header_done(); }
bool ResponseParser::done() const { return impl_->is_done(); }
bool ResponseParser::keep_alive() const { return impl_->keep_alive(); }

}  // namespace base::http
