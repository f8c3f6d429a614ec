// Incremental HTTP/1.1 parsers: bytes in, one message out. Boost.Beast does the syntax and stays
// inside http_parser.cc, because its headers compile slowly. Owns no socket; never throws.
#pragma once

#include "base/http/http.h"

namespace base::http {

class RequestParser {
 public:
  RequestParser(size_t max_body_bytes, size_t max_header_bytes);
  ~RequestParser();
  // Consumes what belongs to this message. 0 with neither done() nor error_status(): the head is
  // not complete; give all of it again with more behind it. Returns after the head once, before any
  // byte of the body is consumed; `request` may be moved away then, its body is filled afterwards.
  // Refused beyond what Beast refuses (RFC 9112): a second Host (3.2), lines that end in a bare LF or
  // begin with a blank (2.2, 5.2), a Transfer-Encoding that is not "chunked" alone (6.1).
  size_t put(std::string_view data);
  bool head_begun() const;
  bool head_done() const;
  bool done() const;
  int error_status() const { return error_status_; }  // 0, 400, 413, 431, 501, 505
  const std::string& error_text() const { return error_text_; }
  bool keep_alive() const;  // by version and Connection; valid with head_done()
  bool expects_continue() const;
  bool http10() const;
  Request request;
  void reset();  // for the next message

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  void scan_head(std::string_view piece);
  void check_head();
  void refuse(int status, std::string text);

  size_t max_body_bytes_, max_header_bytes_;
  int error_status_ = 0;
  std::string error_text_;
};

class ResponseParser {
 public:
  // Body bytes go to `on_body`; head_request: there is no body whatever the head says.
  ResponseParser(bool head_request, std::function<void(std::string_view)> on_body);
  ~ResponseParser();
  // Like RequestParser::put. Returns after the head once, before any body byte is consumed.
  size_t put(std::string_view data);
  void put_end();  // the connection ended: completes a body that is counted so
  bool head_done() const;
  bool done() const;
  bool failed() const { return failed_; }
  const std::string& error_text() const { return error_text_; }
  bool keep_alive() const;
  Response response;  // the body stays empty

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  bool failed_ = false;
  std::string error_text_;
};

}  // namespace base::http
