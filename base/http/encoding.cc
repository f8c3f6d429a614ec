#include "base/http/encoding.h"

#include <strings.h>
#include <zlib.h>

namespace base::http {
namespace {
constexpr int kGzipWindow = 15 + 16;  // zlib writes the gzip wrapper itself
Bytef* raw(std::string_view text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text.data())); }
}  // namespace

bool accepts_gzip(const Headers& request_headers) {
  for (const auto& [name, value] : request_headers.list) {
    if (name.size() != 15 || ::strcasecmp(name.c_str(), "accept-encoding") != 0) continue;
    size_t from = 0;
    while (from <= value.size()) {
      size_t comma = std::min(value.find(',', from), value.size());
      std::string item;
      for (char c : value.substr(from, comma - from))
        if (c != ' ' && c != '\t') item.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
      from = comma + 1;
      size_t semicolon = item.find(';');
      std::string coding = item.substr(0, semicolon);
      if (coding != "gzip" && coding != "*") continue;
      bool refused = false;
      if (semicolon != std::string::npos && item.compare(semicolon, 3, ";q=") == 0)
        refused = item.find_first_not_of("0.", semicolon + 3) == std::string::npos;
      if (!refused) return true;
    }
  }
  return false;
}

struct GzipStream::Impl {
  z_stream z{};
};
GzipStream::GzipStream() : impl_(std::make_unique<Impl>()) {
  SAMPAN_CHECK(deflateInit2(&impl_->z, 1, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) == Z_OK);
}
GzipStream::~GzipStream() { deflateEnd(&impl_->z); }

Bytes GzipStream::put(const std::vector<Bytes>& parts, bool last) {
  z_stream& z = impl_->z;
  size_t total = 0, have = 0;
  for (const Bytes& part : parts) total += part ? part->size() : 0;
  std::string out(deflateBound(&z, total) + 64, '\0');
  auto work = [&](int flush) {
    int result;
    do {  // what lay inside from earlier pieces may be more than this one's bound
      if (out.size() - have < 1024) out.resize(out.size() * 2);
      z.next_out = raw(out) + have;
      z.avail_out = static_cast<uInt>(out.size() - have);
      result = deflate(&z, flush);
      have = out.size() - z.avail_out;
    } while (z.avail_out == 0);
    SAMPAN_CHECK(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
  };
  for (const Bytes& part : parts) {
    if (!part || part->empty()) continue;
    z.next_in = raw(*part);
    z.avail_in = static_cast<uInt>(part->size());
    work(Z_NO_FLUSH);
  }
  if (last) work(Z_FINISH);
  out.resize(have);
  out.shrink_to_fit();
  return bytes(std::move(out));
}

Bytes gzip(const std::vector<Bytes>& parts) { return GzipStream().put(parts, true); }

Result<std::string> gunzip(std::string_view data, size_t limit_bytes) {
  z_stream z{};
  SAMPAN_CHECK(inflateInit2(&z, kGzipWindow) == Z_OK);
  z.next_in = raw(data);
  z.avail_in = static_cast<uInt>(data.size());
  std::string out;
  int result = Z_OK;
  while (result == Z_OK && out.size() <= limit_bytes) {
    char piece[65536];
    z.next_out = reinterpret_cast<Bytef*>(piece);
    z.avail_out = sizeof piece;
    result = inflate(&z, Z_NO_FLUSH);
    out.append(piece, sizeof piece - z.avail_out);
  }
  inflateEnd(&z);
  if (out.size() > limit_bytes)
    return make_error(Kind::kExhausted, "gunzip", "", "more than " + std::to_string(limit_bytes) + " bytes");
  if (result != Z_STREAM_END) return make_error(Kind::kCorrupt, "gunzip", "", "not whole gzip data");
  return out;
}

Compressor::~Compressor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}
void Compressor::gzip(std::vector<Bytes> parts, std::function<void(Bytes)> done) {
  add({[parts = std::move(parts)] { return http::gzip(parts); }, std::move(done)});
}
void Compressor::put(std::shared_ptr<GzipStream> stream, std::vector<Bytes> parts, bool last,
                     std::function<void(Bytes)> done) {
  add({[stream = std::move(stream), parts = std::move(parts), last] { return stream->put(parts, last); },
       std::move(done)});
}
void Compressor::add(Job job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  wake_.notify_one();
}
void Compressor::run() {
  for (;;) {
    std::vector<Job> jobs;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      jobs.push_back(std::move(jobs_.front()));
      jobs_.erase(jobs_.begin());
    }
    // What the job holds is given up on the loop's thread, where it came from.
    auto job = std::make_shared<Job>(std::move(jobs.front()));
    Bytes made = job->work();
    loop_.post([job = std::move(job), made = std::move(made)] { job->done(made); });
  }
}

}  // namespace base::http
