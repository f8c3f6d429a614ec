// The D-Bus client of sampan-oci, as small as asking systemd for a scope needs: one connection over a
// unix socket, calls that block for their reply (bounded), and the signals that came meanwhile. Not
// libdbus: its static archive needs libsystemd, of which there is none, and it announces its uid,
// which is another one inside a user namespace; the peer's credentials say who we are, as sd-bus has
// it. Single-threaded; sends and accepts no file descriptors. Source: the D-Bus specification 0.42.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace runtime {

// The types that systemd's properties have; the signature follows from the alternative.
using DbusValue = std::variant<bool, uint8_t, int32_t, uint32_t, int64_t, uint64_t, double, std::string,
                               std::vector<std::string>, std::vector<uint8_t>, std::vector<uint32_t>,
                               std::vector<std::pair<std::string, std::string>>,  // a(ss)
                               std::vector<std::pair<std::string, uint64_t>>>;    // a(st)
std::string dbus_signature(const DbusValue& value);
std::string dbus_text(const DbusValue& value);  // for plans and messages

struct DbusProperty {
  std::string name;
  DbusValue value;
};

// The body of a message: values appended in the order of `signature`.
class DbusBody {
 public:
  DbusBody& add(const DbusValue& value);
  DbusBody& add_object(const std::string& path);
  DbusBody& add_properties(const std::vector<DbusProperty>& properties);  // a(sv)
  DbusBody& add_no_units();                                               // a(sa(sv)), empty
  const std::string& bytes() const { return bytes_; }
  const std::string& signature() const { return signature_; }

 private:
  std::string bytes_, signature_;
};

struct DbusMessage {
  uint8_t type = 0;  // 1 call, 2 return, 3 error, 4 signal
  uint32_t serial = 0, reply_serial = 0;
  std::string path, interface, member, error_name, signature, body;

  // Of the body's first values, as far as they are strings, paths, or variants of one, or u: for
  // what we read (a job's path; JobRemoved's u, o, s, s; a property).
  std::vector<std::string> strings() const;
};
// Whole bytes of one message; kInvalid for what the specification forbids.
base::Result<DbusMessage> parse_dbus_message(std::string_view bytes);
// How many bytes the message has that begins like this; 0: more than `begin` are needed to tell.
base::Result<size_t> dbus_message_size(std::string_view begin);

struct DbusCall {
  std::string destination, path, interface, member;
  DbusBody body = {};
};
std::string dbus_call_bytes(const DbusCall& call, uint32_t serial);

class DbusConnection {
 public:
  // `is_bus`: a message bus (which wants Hello), not the other program itself.
  static base::Result<DbusConnection> connect(const std::string& socket_path, bool is_bus);
  // A D-Bus error is an Error whose `operation` is the member and whose `subject` its name.
  base::Result<DbusMessage> call(const DbusCall& call);
  base::Result<DbusMessage> next_signal();

 private:
  base::Status send(std::string_view bytes);
  base::Status authenticate();
  base::Result<DbusMessage> receive();
  base::Status fill(std::chrono::steady_clock::time_point deadline);

  base::UniqueFd fd_;
  std::string received_;
  std::deque<DbusMessage> signals_;
  uint32_t serial_ = 0;
};

}  // namespace runtime
