#include "runtime/oci/listener.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "base/sys.h"
#include "runtime/spec/config.h"

namespace runtime {

namespace json = base::json;
namespace sys = base::sys;

bool has_listener(const json::value& profile) {
  if (!profile.is_object()) return false;
  const json::value* calls = base::find(profile, "syscalls");
  if (!calls || !calls->is_array()) return false;
  for (const json::value& entry : calls->get_array())
    if (base::string_at(entry, "action") == "SCMP_ACT_NOTIFY") return true;
  return false;
}

base::Status send_listener(const json::value& profile, const std::string& state, pid_t pid, int fd) {
  json::object document{{"ociVersion", kOciVersion},
                        {"fds", json::array{"seccompFd"}},
                        {"pid", pid},
                        {"metadata", base::string_at(profile, "listenerMetadata")},
                        {"state", TRY(base::parse_json(state))}};
  return send_fd(std::string(base::string_at(profile, "listenerPath")), json::serialize(document), fd,
                 "seccomp agent (linux.seccomp.listenerPath)");
}

base::Status send_fd(const std::string& path, const std::string& text, int fd, const char* what) {
  base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return base::make_error(base::Kind::kInvalid, std::string("connect ") + what, path,
                            "the path is too long");
  std::copy(path.begin(), path.end(), address.sun_path);
  if (!socket.valid() || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return sys::last_error(std::string("failed to connect with ") + what, path);
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ssize_t n = ::sendmsg(socket.get(), &message, MSG_NOSIGNAL);
  if (n < 0) return sys::last_error(std::string("send to ") + what, path);
  return sys::write_all(socket.get(), std::string_view(text).substr(static_cast<size_t>(n)));
}

}  // namespace runtime
