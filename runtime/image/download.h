// One blob from a registry into the store: resumed where an earlier try or process stopped,
// retried a bounded number of times, verified before it gets its name. Internal to runtime/.
#pragma once

#include <atomic>

#include "runtime/image/manifest.h"
#include "runtime/image/registry_client.h"
#include "runtime/image/writer.h"

namespace runtime {

// `arrived` counts the bytes on disk for progress (down again when a download starts over).
base::Status download_blob(StoreWriter& writer, RegistryClient& registry, HttpClient& http,
                           const Descriptor& blob, std::atomic<int64_t>& arrived,
                           const std::atomic<bool>& stop);

}  // namespace runtime
