// Who a container runs as: "user[:group]" looked up in /etc/passwd and /etc/group of the image.
// Walks the layers as overlayfs would merge them, component by component with O_NOFOLLOW: a
// symlink is resolved inside the image and can never lead to the host's files.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <charconv>
#include <deque>

#include "base/number.h"
#include "base/sys.h"
#include "runtime/runtime.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
using base::UniqueFd;
constexpr size_t kMaxAccountFile = 4u << 20;
constexpr int kMaxSymlinks = 40;  // the kernel's MAXSYMLINKS

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t at = 0;;) {
    size_t end = text.find(separator, at);
    parts.push_back(text.substr(at, end == std::string_view::npos ? end : end - at));
    if (end == std::string_view::npos) return parts;
    at = end + 1;
  }
}

bool is_opaque(int fd) {
  char value = 0;
  std::string path = "/proc/self/fd/" + std::to_string(fd);  // getxattr refuses O_PATH fds
  return ::getxattr(path.c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

// A directory of the merged tree: its parts in the layers, highest first.
using Merged = std::vector<UniqueFd>;

base::Result<Merged> open_root(const std::vector<std::string>& layers) {
  Merged root;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
    root.push_back(TRY(base::sys::open(*layer, O_PATH | O_DIRECTORY)));
  return root;
}

struct LookupStep {
  Merged directory;     // set when the name is a directory
  UniqueFd file;        // set when it is a regular file; O_PATH
  std::string symlink;  // set when it is a symlink
};
// Nothing set: absent.
base::Result<LookupStep> step_into(const Merged& parents, const std::string& name) {
  LookupStep step;
  for (const UniqueFd& parent : parents) {
    auto opened = base::sys::openat(parent.get(), name, O_PATH | O_NOFOLLOW);
    if (!opened.ok()) {
      if (opened.error().errno_value == ENOENT) continue;
      return std::move(opened).error();
    }
    struct stat info;
    if (::fstat(opened->get(), &info) != 0) return base::sys::last_error("stat", name);
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0)) return step;  // whiteout
    if (S_ISDIR(info.st_mode)) {
      bool opaque = is_opaque(opened->get());
      step.directory.push_back(std::move(*opened));
      if (opaque) return step;
      continue;
    }
    if (!step.directory.empty()) return step;  // a directory above hides what is not one below
    if (S_ISLNK(info.st_mode)) {
      char target[4096];
      ssize_t n = ::readlinkat(opened->get(), "", target, sizeof target);
      if (n < 0) return base::sys::last_error("readlink", name);
      step.symlink.assign(target, static_cast<size_t>(n));
    } else if (S_ISREG(info.st_mode)) {
      step.file = std::move(*opened);
    }
    return step;
  }
  return step;
}

// The text of a file of the merged tree; kNotFound when it is absent or no regular file.
base::Result<std::string> read_merged(const std::vector<std::string>& layers, std::string_view path) {
  auto absent = [&] { return make_error(Kind::kNotFound, "read", std::string(path), "not in the image"); };
  std::vector<Merged> at;  // from the root down to where we are: ".." pops
  at.push_back(TRY(open_root(layers)));
  std::deque<std::string> left;
  for (std::string_view part : split(path, '/')) left.emplace_back(part);
  int symlinks = 0;
  while (!left.empty()) {
    std::string name = std::move(left.front());
    left.pop_front();
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (at.size() > 1) at.pop_back();
      continue;
    }
    LookupStep step = TRY(step_into(at.back(), name));
    if (!step.directory.empty()) {
      at.push_back(std::move(step.directory));
    } else if (!step.symlink.empty()) {
      if (++symlinks > kMaxSymlinks) return absent();
      if (step.symlink.front() == '/') at.resize(1);
      auto parts = split(step.symlink, '/');
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) left.emplace_front(*part);
    } else if (step.file.valid() && left.empty()) {
      auto fd = TRY(base::sys::open("/proc/self/fd/" + std::to_string(step.file.get()), O_RDONLY));
      return base::sys::read_all(fd.get(), kMaxAccountFile);
    } else {
      return absent();
    }
  }
  return absent();
}

using base::parse_id;

// The lines of passwd or group with at least `fields` fields.
std::vector<std::vector<std::string_view>> account_lines(std::string_view text, size_t fields) {
  std::vector<std::vector<std::string_view>> lines;
  for (std::string_view line : split(text, '\n')) {
    if (line.empty() || line.front() == '#') continue;
    auto parts = split(line, ':');
    if (parts.size() >= fields) lines.push_back(std::move(parts));
  }
  return lines;
}

base::Result<std::string> read_accounts(const Image& image, std::string_view path) {
  auto text = read_merged(image.layers, path);
  if (!text.ok() && text.error().kind == Kind::kNotFound) return std::string();
  return text;
}

}  // namespace

base::Result<User> resolve_user(const Image& image, std::string_view text) {
  User user;
  size_t colon = text.find(':');
  std::string_view name = text.substr(0, colon);
  std::string_view group = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (name.empty()) name = "0";
  std::string passwd = TRY_WRAP(read_accounts(image, "/etc/passwd"), "resolve user", std::string(text));
  std::string groups = TRY_WRAP(read_accounts(image, "/etc/group"), "resolve user", std::string(text));
  auto unknown = [&](const char* what, std::string_view which, const char* file) {
    return make_error(
        Kind::kNotFound, "resolve user", "'" + std::string(text) + "'",
        std::string("no ") + what + " '" + std::string(which) + "' in " + file + " of image " + image.name,
        "set a numeric id (runAsUser), or add it to the image");
  };
  std::string login(name);
  auto id = parse_id(name);
  bool found = false;
  for (const auto& line : account_lines(passwd, 4)) {
    auto uid = parse_id(line[2]);
    auto gid = parse_id(line[3]);
    if (!uid || !gid || (line[0] != name && (!id || *uid != *id))) continue;
    user.uid = *uid;
    user.gid = *gid;
    login = line[0];
    if (line.size() > 5 && !line[5].empty()) user.home = line[5];
    found = true;
    break;
  }
  if (!found && !id) return unknown("user", name, "/etc/passwd");
  if (!found) user.uid = *id;
  if (group.empty()) {
    for (const auto& line : account_lines(groups, 4)) {
      auto gid = parse_id(line[2]);
      if (!gid || *gid == user.gid) continue;
      for (std::string_view member : split(line[3], ','))
        if (found && member == login) {
          user.groups.push_back(*gid);
          break;
        }
    }
    return user;
  }
  auto gid = parse_id(group);
  bool group_found = false;
  for (const auto& line : account_lines(groups, 3)) {
    auto line_gid = parse_id(line[2]);
    if (!line_gid || (line[0] != group && (!gid || *line_gid != *gid))) continue;
    user.gid = *line_gid;
    group_found = true;
    break;
  }
  if (!group_found && !gid) return unknown("group", group, "/etc/group");
  if (!group_found) user.gid = *gid;
  return user;
}

}  // namespace runtime
