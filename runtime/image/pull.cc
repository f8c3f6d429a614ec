// `pull`: manifest, config and layers from a registry. Layers come in on a few threads, each
// unpacked by the thread that fetched it, so that network and disk work at the same time.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "runtime/image/download.h"
#include "runtime/image/image.h"
#include "runtime/image/install.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
constexpr int kManifestTries = 4;
constexpr auto kFirstRetry = std::chrono::milliseconds(50);
constexpr auto kProgressEvery = std::chrono::milliseconds(200);

struct Resolved {
  ToInstall image;
  std::unique_ptr<RegistryClient> registry;
};

// A registry that is busy (429, 503) is asked again when it says, or after a moment.
base::Result<RegistryClient::Fetched> fetch_manifest(RegistryClient& registry, HttpClient& http,
                                                     const std::string& reference) {
  auto fetched = registry.manifest(http, reference);
  for (int tries = 1; !fetched.ok() && registry.busy() && tries < kManifestTries; ++tries) {
    registry.wait_until_asked_again(kFirstRetry * (1 << tries));
    fetched = registry.manifest(http, reference);
  }
  return fetched;
}

base::Result<Resolved> resolve(StoreWriter& writer, HttpClient& http, const ImageReference& reference,
                               const Registries& registries, const Registries::Endpoint& endpoint) {
  Resolved out;
  out.registry = std::make_unique<RegistryClient>(registries, endpoint, reference.path);
  auto fetched =
      TRY(fetch_manifest(*out.registry, http, reference.digest.empty() ? reference.tag : reference.digest));
  for (int depth = 0; is_index(fetched.text); ++depth) {
    if (depth == 2)
      return make_error(Kind::kInvalid, "read image index of", reference.text(), "indexes nested too deep");
    if (depth == 0) out.image.index_digest = fetched.digest;
    TRY(writer.put(fetched.text));
    Descriptor chosen = TRY(
        choose_platform(TRY(parse_index(fetched.text, reference.text())), host_platform(), reference.text()));
    fetched = TRY(fetch_manifest(*out.registry, http, chosen.digest));
  }
  out.image.manifest = TRY(parse_manifest(fetched.text, reference.text()));
  out.image.manifest_digest = fetched.digest;
  out.image.manifest_bytes = fetched.text.size();
  TRY(writer.put(fetched.text));
  return out;
}

// From the mirrors in their order, then the registry: the first that has it.
base::Result<Resolved> resolve_somewhere(StoreWriter& writer, HttpClient& http,
                                         const ImageReference& reference, const Registries& registries) {
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
      : writer_(writer), registry_(registry), manifest_(manifest), config_(config),
        arrived_(manifest.layers.size()), step_(manifest.layers.size()) {}

  base::Status run(const PullOptions& options) {
    PullProgress progress;
    progress.layers = manifest_.layers.size();
    for (const Descriptor& layer : manifest_.layers) {
      progress.bytes += static_cast<int64_t>(layer.size);
      progress.layer.push_back(
          {layer.digest, 0, static_cast<int64_t>(layer.size), PullProgress::Layer::Step::kWaits});
    }
    unsigned count = std::clamp<unsigned>(options.parallel, 1, 16);
    count = std::min<unsigned>(count, static_cast<unsigned>(manifest_.layers.size()));
    running_ = count;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    std::unique_lock hold(mutex_);
    auto report = [&] {
      progress.layers_done = done_;
      progress.bytes_done = 0;
      for (size_t i = 0; i < arrived_.size(); ++i) {
        progress.layer[i].bytes_done = arrived_[i];
        progress.layer[i].step = step_[i];
        progress.bytes_done += arrived_[i];
      }
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
      step_[i] = PullProgress::Layer::Step::kDownloads;
      auto done = download_blob(writer_, registry_, http, layer, arrived_[i], stop_);
      step_[i] = PullProgress::Layer::Step::kUnpacks;
      if (done.ok()) done = writer_.unpack(layer.digest, config_.diff_ids[i]);
      if (done.ok()) step_[i] = PullProgress::Layer::Step::kDone;
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
  std::vector<std::atomic<int64_t>> arrived_;  // bytes on disk, by layer
  std::vector<std::atomic<PullProgress::Layer::Step>> step_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards what follows
  std::condition_variable ended_;
  unsigned running_ = 0;
  size_t done_ = 0;
  base::Status status_;
};

base::Result<StoredImage> pull(StoreWriter& writer, const ImageReference& reference,
                               const PullOptions& options) {
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

base::Result<StoredImage> pull_image(const std::string& image_root, std::string_view name,
                                     const PullOptions& options) {
  SAMPAN_CHECK(options.registries);
  ImageReference reference = TRY(parse_image_reference(name));
  StoreWriter writer = TRY(StoreWriter::open(image_root));
  return TRY_WRAP(explain_disk_full(image_root, pull(writer, reference, options)), "pull image",
                  reference.text());
}

}  // namespace runtime
