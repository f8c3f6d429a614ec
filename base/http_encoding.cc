#include "base/http_encoding.h"

#include <strings.h>
#include <zlib.h>

namespace base::http {
namespace {
constexpr int kGzipWindow = 15 + 16;  // zlib writes the gzip wrapper itself
Bytef* raw(std::string_view text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}
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

Bytes gzip(const std::vector<Bytes>& parts) {
  z_stream z{};
  SAMPAN_CHECK(deflateInit2(&z, 1, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  size_t total = 0;
  for (const Bytes& part : parts) total += part ? part->size() : 0;
  std::string out(deflateBound(&z, total) + 64, '\0');
  z.next_out = raw(out);
  z.avail_out = static_cast<uInt>(out.size());
  for (const Bytes& part : parts) {
    if (!part || part->empty()) continue;  // nothing in and nothing out is an error to zlib
    z.next_in = raw(*part);
    z.avail_in = static_cast<uInt>(part->size());
    SAMPAN_CHECK(deflate(&z, Z_NO_FLUSH) == Z_OK);
  }
  SAMPAN_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.erase(z.total_out);
  deflateEnd(&z);
  out.shrink_to_fit();
  return bytes(std::move(out));
}

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
    return make_error(Kind::kExhausted, "gunzip", "",
                      "more than " + std::to_string(limit_bytes) + " bytes");
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
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(parts), std::move(done)});
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
    Bytes made = http::gzip(job->parts);
    loop_.post([job = std::move(job), made = std::move(made)] { job->done(made); });
  }
}

}  // namespace base::http
