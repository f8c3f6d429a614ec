// `pull`: manifest, config and layers from a registry. Layers come in on a few threads, each
// unpacked by the thread that fetched it, so that network and disk work at the same time.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "runtime/image.h"
#include "runtime/image_download.h"
#include "runtime/image_install.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
constexpr auto kProgressEvery = std::chrono::milliseconds(200);

struct Resolved {
  ToInstall image;
  std::unique_ptr<RegistryClient> registry;
};

base::Result<Resolved> resolve(StoreWriter& writer, HttpClient& http, const ImageReference& reference,
                               const Registries& registries, const Registries::Endpoint& endpoint) {
  Resolved out;
  out.registry = std::make_unique<RegistryClient>(registries, endpoint, reference.path);
  auto fetched = TRY(out.registry->manifest(http, reference.digest.empty() ? reference.tag : reference.digest));
  for (int depth = 0; is_index(fetched.text); ++depth) {
    if (depth == 2) return make_error(Kind::kInvalid, "read image index of", reference.text(), "indexes nested too deep");
    if (depth == 0) out.image.index_digest = fetched.digest;
    TRY(writer.put(fetched.text));
    Descriptor chosen = TRY(choose_platform(TRY(parse_index(fetched.text, reference.text())), host_platform(), reference.text()));
    fetched = TRY(out.registry->manifest(http, chosen.digest));
  }
  out.image.manifest = TRY(parse_manifest(fetched.text, reference.text()));
  out.image.manifest_digest = fetched.digest;
  out.image.manifest_bytes = fetched.text.size();
  TRY(writer.put(fetched.text));
  return out;
}

// From the mirrors in their order, then the registry: the first that has it.
base::Result<Resolved> resolve_somewhere(StoreWriter& writer, HttpClient& http, const ImageReference& reference,
                                         const Registries& registries) {
  std::optional<base::Error> failure;
  for (const auto& endpoint : registries.endpoints(reference)) {
    auto resolved = resolve(writer, http, reference, registries, endpoint);
    if (resolved.ok()) return resolved;
    base::Error error = resolved.error();
    // Our own disk or a broken image: another registry does not help.
    if (error.kind == Kind::kExhausted || error.kind == Kind::kInvalid) return error;
    if (failure) error.hint += (error.hint.empty() ? "" : "; ") + ("before that: " + failure->message());
    failure = std::move(error);
  }
  return *failure;
}

class Layers {
 public:
  Layers(StoreWriter& writer, RegistryClient& registry, const Manifest& manifest, const Config& config)
      : writer_(writer), registry_(registry), manifest_(manifest), config_(config) {}

  base::Status run(const PullOptions& options) {
    PullProgress progress;
    progress.layers = manifest_.layers.size();
    for (const Descriptor& layer : manifest_.layers) progress.bytes += static_cast<int64_t>(layer.size);
    unsigned count = std::clamp<unsigned>(options.parallel, 1, 16);
    count = std::min<unsigned>(count, static_cast<unsigned>(manifest_.layers.size()));
    running_ = count;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    std::unique_lock hold(mutex_);
    auto report = [&] {
      progress.layers_done = done_;
      progress.bytes_done = arrived_;
      if (options.progress) options.progress(progress);
    };
    while (!ended_.wait_for(hold, kProgressEvery, [this] { return running_ == 0; })) report();
    report();
    hold.unlock();
    for (std::thread& thread : threads) thread.join();
    return status_;
  }

 private:
  void work() {
    HttpClient http;
    for (size_t i; !stop_ && (i = next_.fetch_add(1)) < manifest_.layers.size();) {
      const Descriptor& layer = manifest_.layers[i];
      auto done = download_blob(writer_, registry_, http, layer, arrived_, stop_);
      if (done.ok()) done = writer_.unpack(layer.digest, config_.diff_ids[i]);
      std::lock_guard hold(mutex_);
      if (done.ok()) {
        ++done_;
      } else {
        if (status_.ok()) status_ = done;  // the first failure stops the others: theirs is ours
        stop_ = true;
      }
    }
    std::lock_guard hold(mutex_);
    if (--running_ == 0) ended_.notify_one();
  }

  StoreWriter& writer_;
  RegistryClient& registry_;
  const Manifest& manifest_;
  const Config& config_;
  std::atomic<size_t> next_{0};
  std::atomic<int64_t> arrived_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards what follows
  std::condition_variable ended_;
  unsigned running_ = 0;
  size_t done_ = 0;
  base::Status status_;
};

base::Result<StoredImage> pull(StoreWriter& writer, const ImageReference& reference, const PullOptions& options) {
  HttpClient http;
  Resolved resolved = TRY(resolve_somewhere(writer, http, reference, *options.registries));
  std::atomic<int64_t> ignored{0};
  const std::atomic<bool> never{false};
  TRY(download_blob(writer, *resolved.registry, http, resolved.image.manifest.config, ignored, never));
  Config config = TRY(read_config(writer, resolved.image));
  TRY(Layers(writer, *resolved.registry, resolved.image.manifest, config).run(options));
  TRY(list_image(writer, resolved.image, {reference.text()}));
  return StoredImage{reference.text(), resolved.image.manifest_digest};
}

}  // namespace

base::Result<StoredImage> pull_image(const std::string& image_root, std::string_view name, const PullOptions& options) {
  SAMPAN_CHECK(options.registries);
  ImageReference reference = TRY(parse_image_reference(name));
  StoreWriter writer = TRY(StoreWriter::open(image_root));
  return TRY_WRAP(explain_disk_full(image_root, pull(writer, reference, options)), "pull image", reference.text());
}

}  // namespace runtime
