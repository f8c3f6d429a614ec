// gzip for large answers, as kube-apiserver does it: level 1, bodies from 128 KiB, only when the
// client asks. Pure functions; the caller keeps the compressed bytes where many clients share them.
#pragma once

#include "base/http.h"

namespace base::http {

constexpr size_t kGzipThresholdBytes = 128 << 10;
// Accept-Encoding names gzip (or *) and does not refuse it with q=0.
bool accepts_gzip(const Headers& request_headers);
Bytes gzip(const std::vector<Bytes>& parts);
Result<std::string> gunzip(std::string_view data, size_t limit_bytes);

}  // namespace base::http
