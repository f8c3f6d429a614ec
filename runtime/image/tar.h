// A tar stream, plain or compressed with gzip or zstd (told by its first bytes, as media types
// lie), read in one pass and hashed after decompression. Over libarchive; only the tar format and
// these two filters are switched on. One thread at a time per object.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct archive_entry;

namespace runtime {

struct TarLimits {
  uint64_t max_bytes = 64ull << 30;  // after decompression
  uint64_t max_entries = 4'000'000;
};

class TarReader {
 public:
  // Reads from `fd`'s position to its end; the fd stays the caller's. `name` stands in errors.
  static base::Result<std::unique_ptr<TarReader>> open(int fd, std::string name, TarLimits limits);
  ~TarReader();

  // Null at the end of the archive. Valid until the next call. kCorrupt for what is no tar,
  // kExhausted past a limit.
  base::Result<archive_entry*> next();
  struct Block {
    std::string_view data;  // empty at the end of the entry
    int64_t offset = 0;     // holes of sparse files are skipped
  };
  base::Result<Block> next_block();
  // Reads what follows the last entry and returns the digest of the whole uncompressed stream.
  base::Result<std::string> finish();

 private:
  struct Impl;
  explicit TarReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// For messages: control characters and invalid bytes become "\xNN"; at most 200 characters.
std::string printable(std::string_view text);

}  // namespace runtime
