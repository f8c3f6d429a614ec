#include "runtime/oci/criu.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/process.h"
#include "base/sys.h"

namespace runtime {
namespace {

namespace sys = base::sys;
using base::Kind;
constexpr size_t kMaxAnswer = 64 << 10;
constexpr int kSocket = 3;  // its number in criu

// One field of a message: its number, and a number or bytes.
struct Field {
  uint64_t number = 0, value = 0;
  std::string_view bytes;
};
bool read_varint(std::string_view& rest, uint64_t& out) {
  out = 0;
  for (int shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(rest[0]);
    rest.remove_prefix(1);
    out |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}
base::Error broken() {
  return base::make_error(Kind::kInvalid, "read criu's answer", {}, "is no message of its protocol");
}
base::Result<Field> next_field(std::string_view& rest) {
  Field out;
  uint64_t key, length = 0;
  if (!read_varint(rest, key)) return broken();
  out.number = key >> 3;
  switch (key & 7) {
    case 0:
      if (!read_varint(rest, out.value)) return broken();
      return out;
    case 1: length = 8; break;
    case 5: length = 4; break;
    case 2:
      if (!read_varint(rest, length)) return broken();
      break;
    default: return broken();
  }
  if (length > rest.size()) return broken();
  out.bytes = rest.substr(0, length);
  rest.remove_prefix(length);
  return out;
}
base::Status read_inner(const Field& outer, CriuAnswer& out) {
  for (std::string_view rest = outer.bytes; !rest.empty();) {
    Field field = TRY(next_field(rest));
    switch (outer.number * 10 + field.number) {
      case 41: out.pid = static_cast<int>(field.value); break;  // criu_restore_resp.pid
      case 51: out.script = field.bytes; break;                 // criu_notify
      case 52: out.pid = static_cast<int>(field.value); break;
      case 81: out.mem_track = field.value != 0; break;  // criu_features
      case 82: out.lazy_pages = field.value != 0; break;
      default: break;
    }
  }
  return {};
}

base::Status send_bytes(int socket, const std::string& bytes) {
  if (::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) return sys::last_error("send to", "criu");
  return {};
}
base::Result<CriuAnswer> converse_with_criu(const CriuCall& call, pid_t criu, int socket) {
  if (call.started) TRY(call.started(criu));
  CriuMessage request;
  request.add(1, static_cast<int64_t>(call.type))
      .add(call.type == CriuRequest::kFeatureCheck ? 5 : 2, call.options);
  TRY(send_bytes(socket, request.bytes()));
  for (;;) {
    sys::Message message = TRY(sys::recv_with_fds(socket, kMaxAnswer));
    if (message.data.empty())
      return base::make_error(Kind::kUnavailable, "run", call.program, "it ended without an answer");
    CriuAnswer answer = TRY(parse_criu_answer(message.data));
    if (answer.type != CriuRequest::kNotify) return answer;
    if (call.notify)
      TRY(call.notify(answer, message.fds.empty() ? base::UniqueFd() : std::move(message.fds[0])));
    TRY(send_bytes(socket,
                   CriuMessage().add(1, static_cast<int64_t>(CriuRequest::kNotify)).add(3, 1).bytes()));
  }
}

}  // namespace

void CriuMessage::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}
CriuMessage& CriuMessage::add(int field, int64_t value) {
  varint(static_cast<uint64_t>(field) << 3);
  varint(static_cast<uint64_t>(value));
  return *this;
}
CriuMessage& CriuMessage::add(int field, std::string_view text) {
  varint(static_cast<uint64_t>(field) << 3 | 2);
  varint(text.size());
  bytes_ += text;
  return *this;
}

base::Result<CriuAnswer> parse_criu_answer(std::string_view bytes) {
  CriuAnswer out;
  bool typed = false;
  while (!bytes.empty()) {
    Field field = TRY(next_field(bytes));
    switch (field.number) {
      case 1:
        out.type = static_cast<CriuRequest>(field.value);
        typed = true;
        break;
      case 2: out.success = field.value != 0; break;
      case 4:
      case 5:
      case 8: TRY(read_inner(field, out)); break;
      case 7: out.error = static_cast<int>(field.value); break;
      case 9: out.message = field.bytes; break;
      default: break;
    }
  }
  if (!typed) return broken();
  return out;
}

base::Result<CriuAnswer> call_criu(const CriuCall& call) {
  sys::Pipe sockets = TRY(sys::socketpair(SOCK_SEQPACKET));
  base::Command command;
  command.argv = {call.program, "swrk", std::to_string(kSocket)};
  command.stdin_fd = 0;
  // Above all numbers that they get, so that none is overwritten before it was placed.
  std::vector<base::UniqueFd> held;
  std::vector<std::pair<int, int>> fds = call.fds;
  fds.emplace_back(sockets.write.get(), kSocket);
  for (auto [ours, number] : fds) {
    held.emplace_back(::fcntl(ours, F_DUPFD_CLOEXEC, 64));
    if (!held.back().valid()) return sys::last_error("dup", "fd for criu");
    command.extra_fds.emplace_back(held.back().get(), number);
  }
  auto spawned = base::spawn(command);
  if (!spawned.ok()) {
    if (spawned.error().kind != Kind::kNotFound) return spawned.error();
    return base::make_error(Kind::kUnsupported, "run", call.program, "criu is not installed",
                            "apt-get install criu");
  }
  held.clear();
  sockets.write.reset();
  auto answer = converse_with_criu(call, spawned->pid, sockets.read.get());
  sockets.read.reset();
  base::ExitStatus status = TRY(base::wait_child(*spawned));
  if (!answer.ok()) return answer;
  // After a pre-dump it waits for more and ends badly when there is none.
  if (answer->success && call.type != CriuRequest::kPreDump && (status.signal || status.code))
    return base::make_error(Kind::kInternal, "run", call.program,
                            fmt::format("ended with {}", status.signal ? status.signal : status.code));
  return answer;
}

}  // namespace runtime
