#include "runtime/oci/state.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/json_limits.h"
#include "base/sys.h"
#include "runtime/oci/notify.h"
#include "runtime/spec/config.h"

namespace runtime {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;
constexpr long kPidFileSystem = 0x50494446;  // PID_FS_MAGIC, kernel 6.9

const char* status_name(OciStatus status) {
  switch (status) {
    case OciStatus::kCreating: return "creating";
    case OciStatus::kCreated: return "created";
    case OciStatus::kRunning: return "running";
    case OciStatus::kPaused: return "paused";
    case OciStatus::kStopped: return "stopped";
  }
  return "unknown";
}

base::Status check_container_id(const std::string& id) {
  bool good = !id.empty() && id.size() <= 1024 && id != "." && id != ".." && id[0] != '.' &&
              id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") ==
                  std::string::npos;
  if (good) return {};
  return base::make_error(Kind::kInvalid, "check container id", id.substr(0, 100), "invalid id format",
                          "use letters, digits, '_', '+', '-', '.'");
}

base::Result<base::UniqueFd> OciStore::make(const std::string& id) const {
  if (::mkdir(root_.c_str(), 0700) != 0 && errno != EEXIST) TRY(sys::mkdir_all(root_, 0700));
  if (::mkdir(directory(id).c_str(), 0711) != 0) {
    base::Error error = sys::last_error("create container", id);
    if (error.kind == Kind::kExists) {
      error.reason = "container with given ID already exists";
      error.hint = "delete it or take another id";
    }
    return error;
  }
  auto held = lock(id);
  if (!held.ok()) ::rmdir(directory(id).c_str());  // nobody else would: there is no state in it yet
  return held;
}
base::Result<base::UniqueFd> OciStore::lock(const std::string& id) const {
  TRY(check_container_id(id));
  auto fd = sys::open(directory(id), O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) {
    base::Error error = fd.error();
    if (error.kind == Kind::kNotFound)
      return base::make_error(Kind::kNotFound, "load container", id, "container does not exist");
    return error;
  }
  while (::flock(fd->get(), LOCK_EX) != 0)
    if (errno != EINTR) return sys::last_error("lock", directory(id));
  return std::move(*fd);
}

base::Status OciStore::write(const OciState& state) const {
  json::object out{{"id", state.id},
                   {"bundle", state.bundle},
                   {"rootfs", state.rootfs},
                   {"cgroup", state.cgroup},
                   {"pid", state.pid},
                   {"pid_identity", state.pid_identity},
                   {"created_ns", state.created_ns},
                   {"namespaces", state.namespaces}};
  if (state.poststop) out["poststop"] = true;
  if (!state.annotations.empty()) out["annotations"] = state.annotations;
  if (!state.unit.empty()) {
    out["unit"] = state.unit;
    out["user_unit"] = state.user_unit;
  }
  // Not fsynced: what it speaks of does not survive a power loss either.
  std::string path = directory(state.id) + "/state.json";
  base::UniqueFd fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_APPEND, 0600));
  TRY_WRAP(sys::write_all(fd.get(), json::serialize(out) + "\n"), "write", path);
  return {};
}
base::Result<OciState> OciStore::read(const std::string& id) const {
  OciState state;
  state.id = id;
  auto text = sys::read_file(directory(id) + "/state.json");
  if (!text.ok()) {
    // Killed before the first word was written: then nothing else was made.
    if (text.error().kind == Kind::kNotFound) return state;
    return text.error();
  }
  std::string_view lines = *text;
  lines = lines.substr(0, lines.rfind('\n') + 1);
  if (lines.empty()) return state;
  lines.remove_suffix(1);
  json::value value =
      TRY_WRAP(base::parse_json_carrier(lines.substr(lines.rfind('\n') + 1)), "read state of", id);
  state.bundle = base::string_at(value, "bundle");
  state.rootfs = base::string_at(value, "rootfs");
  state.cgroup = base::string_at(value, "cgroup");
  state.unit = base::string_at(value, "unit");
  if (const json::value* user = base::find(value, "user_unit"))
    state.user_unit = user->is_bool() && user->get_bool();
  state.pid = static_cast<pid_t>(base::as_int(base::find(value, "pid")));
  state.pid_identity = static_cast<uint64_t>(base::as_int(base::find(value, "pid_identity")));
  state.created_ns = base::as_int(base::find(value, "created_ns"));
  state.namespaces = static_cast<uint64_t>(base::as_int(base::find(value, "namespaces")));
  state.poststop = base::as_bool(base::find(value, "poststop"));
  if (const json::value* a = base::find(value, "annotations"); a && a->is_object())
    state.annotations = a->get_object();
  return state;
}
base::Status OciStore::write_config(const std::string& id, const std::string& text) const {
  base::UniqueFd fd = TRY(sys::open(directory(id) + "/config.json", O_WRONLY | O_CREAT | O_TRUNC, 0600));
  TRY_WRAP(sys::write_all(fd.get(), text), "write", directory(id) + "/config.json");
  return {};
}
base::Result<json::value> OciStore::read_config(const std::string& id) const {
  std::string path = directory(id) + "/config.json";
  return TRY_WRAP(base::parse_json(TRY(sys::read_file(path))), "read", path);
}
base::Status OciStore::remove(const std::string& id) const {
  // Few and known names; the state last, so that a kill in between is found again.
  const std::string dir = directory(id);
  for (const char* name : {"/exec.fifo", "/config.json", "/state.json"})
    if (::unlink((dir + name).c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", dir + name);
  if (::rmdir(dir.c_str()) == 0 || errno == ENOENT) return {};
  if (errno == ENOTEMPTY || errno == EEXIST) {  // the few with a NOTIFY_SOCKET
    const std::string notify = notify_directory(dir);
    if (::unlink((notify + kNotifyName).c_str()) != 0 && errno != ENOENT)
      return sys::last_error("unlink", notify + kNotifyName);
    if (::rmdir(notify.c_str()) != 0 && errno != ENOENT) return sys::last_error("rmdir", notify);
    if (::rmdir(dir.c_str()) == 0) return {};
  }
  return sys::last_error("rmdir", dir);
}
base::Result<std::vector<std::string>> OciStore::list() const {
  std::vector<std::string> out;
  auto names = sys::list_dir(root_);
  if (!names.ok()) {
    if (names.error().kind == Kind::kNotFound) return out;
    return names.error();
  }
  for (std::string& name : *names)
    if (name[0] != '.') out.push_back(std::move(name));
  return out;
}

OciStatus OciStore::status(const OciState& state, const CgroupLayout& layout) const {
  if (state.pid == 0) {
    // Being created by somebody who holds the lock, or left by one who was killed.
    return OciStatus::kCreating;
  }
  uint64_t start = process_identity(state.pid);
  if (start == 0 || start != state.pid_identity) return OciStatus::kStopped;
  if (sys::exists(fifo(state.id))) return OciStatus::kCreated;
  return cgroup_frozen(layout, state.cgroup) ? OciStatus::kPaused : OciStatus::kRunning;
}

namespace {
uint64_t start_time(pid_t pid) {
  auto text = sys::read_file("/proc/" + std::to_string(pid) + "/stat", 64 << 10);
  if (!text.ok()) return 0;
  // "pid (any name) S ppid …"; the start time is the 20th field after the name.
  size_t close = text->rfind(')');
  if (close == std::string::npos || close + 2 >= text->size()) return 0;
  char kind = (*text)[close + 2];
  if (kind == 'Z' || kind == 'X') return 0;
  const char* at = text->c_str() + close + 2;
  for (int field = 0; field < 19 && at; ++field) {
    at = std::strchr(at, ' ');
    if (at) ++at;
  }
  return at ? std::strtoull(at, nullptr, 10) : 0;
}

}  // namespace

uint64_t process_identity(pid_t pid) {
  auto pidfd = sys::pidfd_open(pid);
  if (!pidfd.ok()) return 0;
  pollfd ended{pidfd->get(), POLLIN, 0};
  if (::poll(&ended, 1, 0) != 0) return 0;  // a zombie
  struct statfs file_system;
  struct stat info;
  if (::fstatfs(pidfd->get(), &file_system) != 0 || file_system.f_type != kPidFileSystem)
    return start_time(pid);
  return ::fstat(pidfd->get(), &info) == 0 ? info.st_ino : 0;
}

json::object state_document(const OciState& state, const char* status) {
  json::object out{{"ociVersion", kOciVersion}, {"id", state.id}, {"status", status}};
  if (state.pid != 0) out["pid"] = state.pid;
  out["bundle"] = state.bundle;
  if (!state.annotations.empty()) out["annotations"] = state.annotations;
  return out;
}

}  // namespace runtime
