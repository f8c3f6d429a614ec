#include "master/store/store_identity.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/sys.h"

namespace master {

using base::Kind;

namespace {

constexpr char kForm[] = "store {:016x} revision {:020d} reserved {:020d}\n";
constexpr const char* kAdvice =
    "restore the whole directory from a backup, or start once with --accept-data-loss to go on "
    "with what is there";

std::optional<int64_t> size_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? std::optional<int64_t>(status.st_size) : std::nullopt;
}
base::Error lost(const std::string& path, std::string why) {
  return base::make_error(Kind::kCorrupt, "open store", path, std::move(why), kAdvice);
}

}  // namespace

std::string to_text(const StoreIdentity& identity) {
  return fmt::format(kForm, static_cast<uint64_t>(identity.id), identity.revision, identity.reserved);
}

std::optional<StoreIdentity> parse_identity(std::string_view text) {
  StoreIdentity out;
  auto number = [](std::string_view digits, int base) {
    int64_t n = 0;
    for (char c : digits) {
      int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
      if (digit >= base || n > (INT64_MAX - digit) / base) return int64_t{-1};
      n = n * base + digit;
    }
    return n;
  };
  if (text.size() != to_text({}).size()) return std::nullopt;
  out.id = number(text.substr(6, 16), 16);
  out.revision = number(text.substr(32, 20), 10);
  out.reserved = number(text.substr(62, 20), 10);
  return out.id < 0 || out.revision < 0 || out.reserved < 0 || to_text(out) != text ? std::nullopt
                                                                                    : std::optional(out);
}

StoreFacts observe_store(const std::string& path) {
  StoreFacts facts;
  facts.bytes = size_of(path);
  facts.has_log = size_of(path + "-wal").value_or(0) > 0;
  if (auto text = base::sys::read_file(IdentityFile::path_of(path)); text.ok()) {
    facts.known = parse_identity(*text);
    if (!facts.known)
      base::log::warning("{} can't be read and is written again", IdentityFile::path_of(path));
  }
  return facts;
}

base::Status check_present(const std::string& path, const StoreFacts& facts) {
  std::string known =
      facts.known ? fmt::format("a store of revision {} was here", facts.known->revision) : "";
  if (!facts.bytes && facts.known) return lost(path, "the file is missing, but " + known);
  if (!facts.bytes && facts.has_log)
    return lost(path, "the file is missing, but its log " + path + "-wal is there");
  if (facts.bytes && *facts.bytes == 0)
    return lost(path, "the file is empty" + (known.empty() ? ", which no store ever is" : ", but " + known));
  return {};
}

base::Status check_whole(const std::string& path, const StoreIdentity& found,
                         const std::optional<StoreIdentity>& known) {
  if (!known) return {};
  if (found.id != known->id) return lost(path, "it is another store than the one that was here");
  if (found.revision >= known->revision) return {};
  return lost(path, fmt::format("it ends at revision {}, but writes up to {} were acknowledged: "
                                "its log {}-wal was removed or damaged, "
                                "or the file is an older copy",
                                found.revision, known->revision, path));
}

std::string IdentityFile::path_of(const std::string& store_path) {
  std::string_view stem = store_path;
  if (stem.ends_with(".db")) stem.remove_suffix(3);
  return std::string(stem) + ".identity";
}

base::Status IdentityFile::open(const std::string& store_path, const StoreIdentity& identity) {
  std::string path = path_of(store_path);
  TRY(base::sys::write_file_atomic(path, to_text(identity), 0600));
  fd_ = TRY(base::sys::open(path, O_WRONLY));
  identity_ = identity;
  return {};
}

void IdentityFile::note(int64_t revision, int64_t reserved) {
  identity_.revision = std::max(identity_.revision, revision);
  identity_.reserved = std::max(identity_.reserved, reserved);
  std::string text = to_text(identity_);
  // Should it fail, the file tells of an older revision, and less of a loss would be noticed.
  (void)!::pwrite(fd_.get(), text.data(), text.size(), 0);
}

}  // namespace master
