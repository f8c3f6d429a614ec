#include "runtime/image/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <cerrno>

#include "base/sys.h"
#include "runtime/image/digest.h"

namespace runtime {
namespace {

using base::Kind;

// libarchive converts names through the thread's locale; in "C" it would lose what is not ASCII.
class Utf8Locale {
 public:
  Utf8Locale() : ours_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (ours_) before_ = ::uselocale(ours_);
  }
  ~Utf8Locale() {
    if (!ours_) return;
    ::uselocale(before_);
    ::freelocale(ours_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t ours_, before_ = nullptr;
};

constexpr size_t kReadBlock = 256 << 10;

}  // namespace

struct TarReader::Impl {
  std::string name;
  TarLimits limits;
  Utf8Locale locale;
  archive* filter = nullptr;  // decompression alone: the "raw" format
  archive* tar = nullptr;
  Sha256 hash;
  uint64_t bytes = 0, entries = 0;
  bool filter_ended = false;
  std::optional<base::Error> failure;  // what made the filter stop, for tar's caller

  ~Impl() {
    if (tar) archive_read_free(tar);
    if (filter) archive_read_free(filter);
  }
  base::Error corrupt(archive* from, const char* what) {
    if (failure) return *failure;
    const char* text = archive_error_string(from);
    int code = archive_errno(from);
    // libarchive's own codes are negative or EILSEQ-like; only real I/O errors keep their errno.
    if (code == EIO || code == ENOMEM) return base::sys::error_from_errno(code, what, name);
    return base::make_error(Kind::kCorrupt, what, name, text ? printable(text) : "damaged archive",
                            "fetch or build the archive again");
  }
  // The next decompressed block; empty at the end.
  base::Result<std::string_view> pull() {
    const void* data = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    while (size == 0) {
      if (filter_ended) return std::string_view();
      int code = archive_read_data_block(filter, &data, &size, &offset);
      if (code == ARCHIVE_EOF) filter_ended = true, size = 0;
      else if (code != ARCHIVE_OK) return corrupt(filter, "decompress");
    }
    bytes += size;
    if (bytes > limits.max_bytes)
      return base::make_error(Kind::kExhausted, "unpack", name,
                              "more than " + std::to_string(limits.max_bytes) + " bytes unpacked");
    std::string_view block(static_cast<const char*>(data), size);
    hash.update(block);
    return block;
  }
  static la_ssize_t read_callback(archive* tar, void* self, const void** out) {
    auto* impl = static_cast<Impl*>(self);
    auto block = impl->pull();
    if (!block.ok()) {
      impl->failure = block.error();
      archive_set_error(tar, EINVAL, "decompression failed");
      return -1;
    }
    *out = block->data();
    return static_cast<la_ssize_t>(block->size());
  }
};

TarReader::TarReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TarReader::~TarReader() = default;

base::Result<std::unique_ptr<TarReader>> TarReader::open(int fd, std::string name, TarLimits limits) {
  auto impl = std::make_unique<Impl>();
  impl->name = std::move(name);
  impl->limits = limits;
  impl->filter = archive_read_new();
  impl->tar = archive_read_new();
  if (!impl->filter || !impl->tar)
    return base::make_error(Kind::kExhausted, "read archive", impl->name, "out of memory");
  archive_read_support_filter_gzip(impl->filter);
  archive_read_support_filter_zstd(impl->filter);
  archive_read_support_format_raw(impl->filter);
  archive_read_support_format_empty(impl->filter);
  if (archive_read_open_fd(impl->filter, fd, kReadBlock) != ARCHIVE_OK)
    return impl->corrupt(impl->filter, "read archive");
  archive_entry* whole = nullptr;
  int code = archive_read_next_header(impl->filter, &whole);
  if (code == ARCHIVE_EOF) impl->filter_ended = true;
  else if (code != ARCHIVE_OK) return impl->corrupt(impl->filter, "read archive");
  archive_read_support_format_tar(impl->tar);
  archive_read_support_format_empty(impl->tar);
  archive_read_set_callback_data(impl->tar, impl.get());
  archive_read_set_read_callback(impl->tar, Impl::read_callback);
  if (archive_read_open1(impl->tar) != ARCHIVE_OK) return impl->corrupt(impl->tar, "read archive");
  return std::unique_ptr<TarReader>(new TarReader(std::move(impl)));
}

base::Result<archive_entry*> TarReader::next() {
  archive_entry* entry = nullptr;
  int code = archive_read_next_header(impl_->tar, &entry);
  if (code == ARCHIVE_EOF) return static_cast<archive_entry*>(nullptr);
  // A warning is about one attribute that could not be converted; the name is checked by the user.
  if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return impl_->corrupt(impl_->tar, "read archive");
  if (++impl_->entries > impl_->limits.max_entries)
    return base::make_error(Kind::kExhausted, "unpack", impl_->name,
                            "more than " + std::to_string(impl_->limits.max_entries) + " entries");
  return entry;
}

base::Result<TarReader::Block> TarReader::next_block() {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  while (size == 0) {
    int code = archive_read_data_block(impl_->tar, &data, &size, &offset);
    if (code == ARCHIVE_EOF) return Block{};
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return impl_->corrupt(impl_->tar, "read archive");
  }
  return Block{{static_cast<const char*>(data), size}, offset};
}

base::Result<std::string> TarReader::finish() {
  for (;;) {
    // Padding after the end mark belongs to the diff id; tar itself does not read it.
    std::string_view block = TRY(impl_->pull());
    if (block.empty()) return impl_->hash.digest();
  }
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 200)) {
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
      continue;
    }
    out += "\\x";
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  if (text.size() > 200) out += "…";
  return out;
}

}  // namespace runtime
