#include "cli/container_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/json_limits.h"
#include "base/sys.h"
#include "runtime/runtime.h"

namespace cli {

namespace sys = base::sys;
using base::Kind;
using base::make_error;

namespace {

constexpr const char* kManner[] = {
    "brisk",  "calm",  "clear",  "eager",  "fair",  "fleet", "gentle", "hardy",  "jolly", "keen",
    "lively", "mild",  "nimble", "plucky", "quiet", "ready", "sharp",  "smooth", "snug",  "spry",
    "steady", "stout", "sturdy", "sunny",  "swift", "tidy",  "trim",   "trusty", "warm",  "wide"};
constexpr const char* kThing[] = {
    "anchor",  "bay",  "beacon", "boom",    "bow",  "breeze", "buoy",  "cleat", "compass", "cove",
    "current", "deck", "dinghy", "harbour", "helm", "hull",   "jetty", "jib",   "keel",    "lagoon",
    "mast",    "oar",  "plank",  "quay",    "reef", "rudder", "sail",  "shoal", "tide",    "tiller"};

bool is_id(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// A link's text is replaced whole or not at all, and making one fails when the name is taken.
base::Result<std::string> read_link(const std::string& path) {
  char text[128];
  ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  if (n < 0) return sys::last_error("read link", path);
  return std::string(text, static_cast<size_t>(n));
}

base::Result<base::UniqueFd> lock_file(const std::string& path) {
  base::UniqueFd fd = TRY(sys::open(path, O_RDWR | O_CREAT, 0600));
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return sys::last_error("lock", path);
  return fd;
}

}  // namespace

base::Result<base::UniqueFd> lock_container(const Places& places, const std::string& id) {
  auto fd = lock_file(places.container(id) + "/lock");
  if (!fd.ok() && fd.error().kind == Kind::kNotFound)
    return make_error(Kind::kNotFound, "find container", short_id(id), "no such container");
  return fd;
}

std::string new_id() {
  unsigned char bytes[32];
  SAMPAN_CHECK(::getrandom(bytes, sizeof bytes, 0) == static_cast<ssize_t>(sizeof bytes));
  std::string id;
  for (unsigned char b : bytes) id += fmt::format("{:02x}", b);
  return id;
}
std::string short_id(const std::string& id) { return id.substr(0, 12); }
std::string random_name(const std::string& id) {
  unsigned long seed = std::stoul(id.substr(0, 8), nullptr, 16);
  return fmt::format("{}_{}", kManner[seed % std::size(kManner)],
                     kThing[seed / std::size(kManner) % std::size(kThing)]);
}
base::Status check_name(const std::string& name) {
  auto alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  bool good = !name.empty() && name.size() <= 128 && alnum(name[0]) &&
              std::all_of(name.begin(), name.end(),
                          [&](char c) { return alnum(c) || c == '_' || c == '.' || c == '-'; });
  if (good) return {};
  return make_error(Kind::kInvalid, "name container", name,
                    "names are made of letters, digits, '_', '.' and '-', and begin with a letter or digit");
}

base::Status create_container(const Places& places, const Record& record, bool durable) {
  TRY(sys::mkdir_all(places.containers(), 0700));
  TRY(sys::mkdir_all(places.names(), 0700));
  base::UniqueFd lock = TRY(lock_file(places.names() + "/.lock"));
  std::string link = places.names() + "/" + record.name;
  auto owner = read_link(link);
  if (owner.ok() && sys::exists(places.container(*owner)))
    return make_error(Kind::kExists, "create container", record.name,
                      "the name is in use by container " + short_id(*owner),
                      "remove that one or choose another name");
  if (owner.ok() && ::unlink(link.c_str()) != 0)
    return sys::last_error("unlink", link);  // of a creation cut off
  if (::symlink(record.id.c_str(), link.c_str()) != 0) return sys::last_error("symlink", link);
  std::string directory = places.container(record.id);
  if (::mkdir(directory.c_str(), 0700) != 0) return sys::last_error("mkdir", directory);
  std::string text = base::to_json(encode(record)), path = directory + "/record.json";
  return durable ? sys::write_file_atomic(path, text, 0600) : sys::replace_file(path, text, 0600);
}

base::Result<std::string> find_container(const Places& places, const std::string& word) {
  if (is_id(word) && sys::exists(places.container(word))) return word;
  if (check_name(word).ok())
    if (auto id = read_link(places.names() + "/" + word); id.ok()) return *id;
  std::string found;
  if (!word.empty())
    for (const std::string& id : TRY(list_containers(places))) {
      if (!id.starts_with(word)) continue;
      if (!found.empty())
        return make_error(Kind::kConflict, "find container", word, "several ids begin with it",
                          "write more of the id");
      found = id;
    }
  if (!found.empty()) return found;
  return make_error(Kind::kNotFound, "find container", word, "no such container", "sampan ps -a shows them");
}

base::Result<std::vector<std::string>> list_containers(const Places& places) {
  auto names = sys::list_dir(places.containers());
  if (!names.ok() && names.error().kind == Kind::kNotFound) return std::vector<std::string>();
  if (!names.ok() && names.error().kind == Kind::kDenied)
    return make_error(Kind::kDenied, "list containers", places.containers(), "they are root's",
                      "run it as root, or give a --root of your own");
  if (!names.ok()) return names.error();
  std::erase_if(*names, [](const std::string& name) { return !is_id(name); });
  return *names;
}

base::Result<Record> read_record(const Places& places, const std::string& id) {
  std::string path = places.container(id) + "/record.json";
  auto text = sys::read_file(path);
  if (!text.ok() && text.error().kind == Kind::kNotFound)
    return make_error(Kind::kNotFound, "find container", short_id(id), "no such container");
  if (!text.ok()) return text.error();
  return TRY_WRAP(decode_record(TRY_WRAP(base::parse_json_carrier(*text), "read", path)), "read", path);
}

State read_state(const Places& places, const std::string& id) {
  auto text = sys::read_file(places.container(id) + "/state.json");
  auto value =
      text.ok() ? base::parse_json_carrier(*text) : base::Result<base::json::value>(base::json::value());
  return value.ok() ? decode_state(*value) : State{};
}
base::Status write_state(const Places& places, const std::string& id, const State& state) {
  return sys::replace_file(places.container(id) + "/state.json", base::to_json(encode(state)), 0600);
}

base::Status drop_name(const Places& places, const std::string& id) {
  auto names = sys::list_dir(places.names());
  if (!names.ok()) return {};
  for (const std::string& name : *names) {
    std::string link = places.names() + "/" + name;
    auto owner = read_link(link);
    if (owner.ok() && *owner == id && ::unlink(link.c_str()) != 0 && errno != ENOENT)
      return sys::last_error("unlink", link);
  }
  return {};
}

base::Status remove_container(const Places& places, const std::string& id) {
  auto record = read_record(places, id);
  if (record.ok()) {
    for (const std::string& volume : record->anonymous_volumes)
      TRY(sys::remove_all(places.volumes() + "/" + volume));
    std::string link = places.names() + "/" + record->name;
    if (auto owner = read_link(link);
        owner.ok() && *owner == id && ::unlink(link.c_str()) != 0 && errno != ENOENT)
      return sys::last_error("unlink", link);
  } else {
    TRY(drop_name(places, id));
  }
  TRY(runtime::unpin_image(places.image_root(), id));
  TRY(sys::remove_all(places.container(id) + "/work"));
  return sys::remove_all(places.container(id));
}

}  // namespace cli
