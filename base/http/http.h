// HTTP messages and the two ends of a connection, over TLS or plain TCP or a unix socket, on a
// Loop. Callbacks only, all on the loop's thread. Bodies are shared immutable buffers so that one
// encoding can go to many clients without a copy.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace base::http {

using Bytes = std::shared_ptr<const std::string>;
inline Bytes bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

// Order kept, names compared without case (RFC 9110 section 5.1).
struct Headers {
  std::vector<std::pair<std::string, std::string>> list;
  void add(std::string name, std::string value);
  void set(std::string_view name, std::string value);
  std::string_view get(std::string_view name) const;  // "" when absent; the first when repeated
  bool has_token(std::string_view name, std::string_view token) const;  // in a comma list
};

// Who is at the other end, as TLS proved it.
struct Peer {
  std::string address;           // "10.0.0.1:4711"
  bool has_certificate = false;  // verified against the server's client CA
  std::string common_name;
  std::vector<std::string> organizations;
};

struct Request {
  std::string method = "GET";
  std::string target;  // path and query as sent, "/api/v1/pods?limit=5"
  Headers headers;
  std::string body;
  Peer peer;

  std::string_view path() const;   // raw, up to '?'
  std::string_view query() const;  // raw, after '?'
};
// Percent-decoded key/value pairs in order ('+' is a space), and back.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);
// Appends a name or value to a head: what would end the line, or the text, is a blank.
void append_safe(std::string& out, std::string_view text);
bool starts_with_nocase(std::string_view text, std::string_view prefix);
std::string escape(std::string_view text);  // for one path segment or query value
Result<std::string> unescape(std::string_view text);

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};
std::string_view status_text(int status);

// A raw byte stream: what is left of a connection after an upgrade.
class ByteStream {
 public:
  virtual ~ByteStream() = default;  // closes at once; after finish(), when the queue is written
  // Data and end are delivered only after this call. on_end is called once: the peer closed
  // (empty error) or the connection failed.
  virtual void on_data(std::function<void(std::string_view)> data, std::function<void(Status)> end) = 0;
  virtual void write(std::string data) = 0;
  virtual size_t queued_bytes() const = 0;                   // written but not yet taken by the kernel
  virtual void on_drain(std::function<void()> drained) = 0;  // queue fell to zero
  virtual void pause(bool paused) = 0;                       // stop reading: back-pressure
  virtual void finish() = 0;                                 // close after the queue is written
  virtual void half_close() = 0;  // the same for our direction only: reading goes on
};
// Copies both ways with back-pressure until either side ends; owns both.
void splice(std::unique_ptr<ByteStream> a, std::unique_ptr<ByteStream> b);

}  // namespace base::http
