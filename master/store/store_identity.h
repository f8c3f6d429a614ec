// What is known of a store outside of it: who it is and the last revision that it acknowledged, in
// a file beside it ("store.identity" for "store.db"). A store that was removed, emptied, exchanged
// or cut short is noticed by it before anything is written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace master {

struct StoreIdentity {
  int64_t id = 0;        // random, of the store's making
  int64_t revision = 0;  // of the last write that was acknowledged
  int64_t reserved = 0;  // none that was ever told is greater
  friend bool operator==(const StoreIdentity&, const StoreIdentity&) = default;
};
std::string to_text(const StoreIdentity& identity);  // always of the same length
std::optional<StoreIdentity> parse_identity(std::string_view text);

// What stands in the directory before the store is opened.
struct StoreFacts {
  std::optional<int64_t> bytes;        // of the store's file; none: it is not there
  bool has_log = false;                // writes that are not in that file yet
  std::optional<StoreIdentity> known;  // none: no file, or an unreadable one
};
StoreFacts observe_store(const std::string& path);

// Pure: what was lost, as far as that can be told before the store is opened; and after it was
// read. kCorrupt, with what to do.
base::Status check_present(const std::string& path, const StoreFacts& facts);
base::Status check_whole(const std::string& path, const StoreIdentity& found,
                         const std::optional<StoreIdentity>& known);

// The second place. note() is called after each commit by the thread that commits; it waits for no
// disk: what it wrote survives the process, and after a power cut an older revision is no loss.
class IdentityFile {
 public:
  static std::string path_of(const std::string& store_path);
  base::Status open(const std::string& store_path,
                    const StoreIdentity& identity);  // written durably
  void note(int64_t revision, int64_t reserved);

 private:
  base::UniqueFd fd_;
  StoreIdentity identity_;
};

}  // namespace master
