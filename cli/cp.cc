// sampan cp: files into a container and out of it, whether it runs or not. Paths in a container are
// resolved below its root by the kernel (openat2), never as strings of the host.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/process.h"
#include "base/sys.h"
#include "cli/container_commands.h"
#include "cli/container_life.h"
#include "cli/container_store.h"
#include "cli/copy_tree.h"

namespace cli {

namespace sys = base::sys;
using base::Kind;
using base::make_error;

namespace {

struct End {
  std::string container, path;  // container "": the host, or "-"
  base::UniqueFd root;
  bool stream() const { return container.empty() && path == "-"; }
  std::string text() const { return container.empty() ? path : container + ":" + path; }
};

End parse_end(const std::string& text) {
  size_t colon = text.find(':');
  End out;
  // "./a:b" and "/a:b" are the host's.
  if (colon == std::string::npos || colon == 0 || text[0] == '/' || text[0] == '.') out.path = text;
  else out.container = text.substr(0, colon), out.path = text.substr(colon + 1);
  return out;
}

// The root of a container that does not run: mounted where nobody else sees it, gone with us.
base::Result<base::UniqueFd> mount_stopped(const Places& places, const Record& record) {
  std::string work = places.container(record.id) + "/work", lower;
  for (const char* name : {"/upper", "/work", "/merged"}) TRY(sys::mkdir_all(work + name));
  for (auto layer = record.layers.rbegin(); layer != record.layers.rend(); ++layer)
    lower += (lower.empty() ? "" : ":") + *layer;
  if (::unshare(CLONE_NEWNS) != 0) return sys::last_error("unshare", "mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return sys::last_error("make private", "/");
  std::string data = "lowerdir=" + lower + ",upperdir=" + work + "/upper,workdir=" + work + "/work";
  if (::mount("overlay", (work + "/merged").c_str(), "overlay", MS_NODEV | MS_NOSUID, data.c_str()) != 0)
    return sys::last_error("mount overlay", work + "/merged", "start the container first");
  return sys::open(work + "/merged", O_PATH | O_DIRECTORY);
}

base::Status open_root(base::Loop& loop, const Places& places, End& end) {
  if (end.container.empty()) {
    end.root = TRY(sys::open("/", O_PATH | O_DIRECTORY));
    return {};
  }
  std::string id = TRY(find_container(places, end.container));
  Seen seen = TRY(observe_container(loop, places, id));
  end.root = seen.runs() ? TRY(sys::open(fmt::format("/proc/{}/root", seen.state.pid), O_PATH | O_DIRECTORY))
                         : TRY(mount_stopped(places, TRY(read_record(places, id))));
  return {};
}

// The host's paths are the caller's own; a container's stay below its root.
base::Result<base::UniqueFd> open_path(const End& end, const std::string& path) {
  if (end.container.empty()) return sys::open(path.empty() ? "." : path, O_PATH);
  return sys::openat2(end.root.get(), path.empty() ? "/" : path, O_PATH | O_CLOEXEC, 0,
                      RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}
std::string reopened(const base::UniqueFd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

bool is_directory(const base::UniqueFd& fd) {
  struct stat st {};
  return ::fstat(fd.get(), &st) == 0 && S_ISDIR(st.st_mode);
}

struct Parts {
  std::string parent, name;             // "/a/b/" -> "/a", "b"
  bool slash = false, content = false;  // it ended so: "/", "/."
};
Parts split(std::string path) {
  Parts out;
  if (path.ends_with("/.") || path == ".") out.content = true, path.pop_back();
  while (path.size() > 1 && path.back() == '/') out.slash = true, path.pop_back();
  size_t slash = path.rfind('/');
  out.parent = slash == std::string::npos ? "" : slash == 0 ? "/" : path.substr(0, slash);
  out.name = slash == std::string::npos ? path : path.substr(slash + 1);
  return out;
}

base::Status run_tar(const std::vector<std::string>& words, int directory) {
  base::Command command;
  command.argv = {"tar", "-C", "/proc/self/fd/3"};
  command.argv.insert(command.argv.end(), words.begin(), words.end());
  command.extra_fds = {{directory, 3}};
  command.stdin_fd = 0;
  base::ExitStatus status = TRY(base::wait_child(TRY(base::spawn(command))));
  if (status.signal == 0 && status.code == 0) return {};
  return make_error(Kind::kInvalid, "run tar", words.back(),
                    fmt::format("it ended with code {}", status.signal ? 128 + status.signal : status.code));
}

// What comes as a tar is unpacked aside and then copied as everything else: tar would follow the
// container's links.
base::Status copy_stream_in(const End& to, const CopyOptions& options) {
  base::UniqueFd target = TRY_WRAP(open_path(to, to.path), "open", to.text());
  if (!is_directory(target))
    return make_error(Kind::kInvalid, "copy to", to.text(), "a tar is unpacked into a directory");
  char aside[] = "/var/tmp/sampan-cp-XXXXXX";
  if (!::mkdtemp(aside)) return sys::last_error("mkdtemp", aside);
  auto done = [&]() -> base::Status {
    base::UniqueFd fd = TRY(sys::open(aside, O_RDONLY | O_DIRECTORY));
    TRY(run_tar({"-x", "-p", "-f", "-"}, fd.get()));
    base::UniqueFd into = TRY(sys::open(reopened(target), O_RDONLY | O_DIRECTORY));
    return copy_content(fd.get(), into.get(), options);
  }();
  base::ignore(sys::remove_all(aside), "the first error counts");
  return done;
}

base::Status copy(const Places& places, const std::string& source, const std::string& destination,
                  const CopyOptions& options) {
  End from = parse_end(source), to = parse_end(destination);
  if (from.container.empty() == to.container.empty())
    return make_error(Kind::kInvalid, "copy", source, "one end is a container: CONTAINER:PATH");
  base::Loop loop;
  TRY(open_root(loop, places, from.container.empty() ? to : from));
  if (from.stream()) return copy_stream_in(to, options);

  Parts what = split(from.path);
  base::UniqueFd parent =
      TRY_WRAP(open_path(from, what.parent.empty() ? (from.container.empty() ? "." : "/") : what.parent),
               "open", from.text());
  // A link itself is copied, as a link; with a slash behind it, what it leads to.
  bool itself = !what.name.empty() && !what.slash && !what.content;
  base::UniqueFd found = TRY_WRAP(
      itself ? sys::openat(parent.get(), what.name, O_PATH | O_NOFOLLOW) : open_path(from, from.path), "open",
      from.text());
  bool directory = is_directory(found);
  if (what.slash && !directory)
    return make_error(Kind::kInvalid, "copy", from.text(), "it is not a directory");
  if (to.stream()) {
    if (what.name.empty() || what.name == ".") return run_tar({"-c", "-f", "-", "."}, found.get());
    return run_tar({"-c", "-f", "-", "--", what.name}, parent.get());
  }
  base::UniqueFd into;
  std::string as = what.name;
  auto there = open_path(to, to.path);
  if (there.ok() && is_directory(*there)) {
    into = TRY(sys::open(reopened(*there), O_RDONLY | O_DIRECTORY));
    if (directory && (what.content || what.name.empty())) {
      base::UniqueFd all = TRY(sys::open(reopened(found), O_RDONLY | O_DIRECTORY));
      return copy_content(all.get(), into.get(), options);
    }
  } else {
    Parts target = split(to.path);
    if (there.ok() && directory)
      return make_error(Kind::kExists, "copy", to.text(), "a directory would replace a file");
    if (!there.ok() && target.slash && !directory)
      return make_error(Kind::kNotFound, "copy to", to.text(), "the directory is not there");
    as = target.name;
    base::UniqueFd above =
        TRY_WRAP(open_path(to, target.parent.empty() ? (to.container.empty() ? "." : "/") : target.parent),
                 "copy to", to.text());
    into = TRY(sys::open(reopened(above), O_RDONLY | O_DIRECTORY));
  }
  if (what.name.empty())
    return make_error(Kind::kInvalid, "copy", from.text(),
                      "the root can only be copied into a directory that is there");
  return copy_tree(parent.get(), what.name, into.get(), as, options);
}

}  // namespace

void add_cp(CLI::App& app, Outcome& outcome, Places& places) {
  struct Words {
    std::string from, to;
    CopyOptions options;
  };
  auto words = std::make_shared<Words>();
  CLI::App* command = app.add_subcommand("cp", "Copy files between a container and the host");
  command->add_flag("-a,--archive", words->options.keep_owner, "Owners as they are, not root");
  command->add_option("from", words->from, "CONTAINER:PATH, PATH, or - for a tar")->required();
  command->add_option("to", words->to, "CONTAINER:PATH, PATH, or - for a tar")->required();
  command->callback([=, &outcome, &places] {
    if (auto done = copy(places, words->from, words->to, words->options); !done.ok())
      fail(outcome, done.error());
  });
}

}  // namespace cli
