// gzip for large answers, as kube-apiserver does it: level 1, bodies from 128 KiB, only when the
// client asks. A list of 100,000 objects takes seconds to compress: a Compressor does it beside the loop.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/http/http.h"

namespace base::http {

constexpr size_t kGzipThresholdBytes = 128 << 10;
// Accept-Encoding names gzip (or *) and does not refuse it with q=0.
bool accepts_gzip(const Headers& request_headers);
Bytes gzip(const std::vector<Bytes>& parts);
Result<std::string> gunzip(std::string_view data, size_t limit_bytes);

// One gzip body in pieces.
class GzipStream {
 public:
  GzipStream();
  ~GzipStream();
  GzipStream(const GzipStream&) = delete;
  Bytes put(const std::vector<Bytes>& parts, bool last);  // what is ready of it; empty while there is little

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// gzip() on one thread of its own, which the first job starts. Jobs are done in order; `done` comes on
// the loop. Destroying it drops what waits and joins the thread after the piece it is at.
class Compressor {
 public:
  explicit Compressor(Loop& loop) : loop_(loop) {}
  ~Compressor();
  void gzip(std::vector<Bytes> parts, std::function<void(Bytes)> done);
  void put(std::shared_ptr<GzipStream> stream, std::vector<Bytes> parts, bool last,
           std::function<void(Bytes)> done);

 private:
  struct Job {
    std::function<Bytes()> work;
    std::function<void(Bytes)> done;
  };
  void add(Job job);
  void run();
  Loop& loop_;
  std::mutex mutex_;  // guards the next two
  std::vector<Job> jobs_;
  bool stopping_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace base::http
