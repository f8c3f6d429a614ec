#include "kubelet/node/image_gc.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/sys.h"
#include "runtime/runtime.h"

namespace kubelet {

namespace {

constexpr auto kPeriod = std::chrono::minutes(5);

base::Result<StoredImages> read_store(const std::string& root) {
  StoredImages out;
  struct statvfs disk {};
  if (::statvfs(root.c_str(), &disk) != 0) return base::sys::last_error("statvfs", root);
  out.capacity_bytes = static_cast<uint64_t>(disk.f_blocks) * disk.f_frsize;
  out.available_bytes = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  for (const auto& image : TRY(runtime::list_images(root))) {
    auto& entry = out.by_digest[image.digest];
    entry.names.push_back(image.name);
    entry.size_bytes = image.size_bytes;
  }
  out.used = TRY(runtime::pinned_images(root));
  return out;
}

base::Status run(std::vector<std::string> argv) {
  base::UniqueFd null = TRY(base::sys::open("/dev/null", O_RDWR));
  base::Command command;
  command.argv = std::move(argv);
  command.stdout_fd = command.stderr_fd = null.get();
  auto child = TRY(base::spawn(command));
  const base::ExitStatus ended = TRY(base::wait_child(child));
  if (ended.code != 0 || ended.signal != 0)
    return base::make_error(
        base::Kind::kUnavailable, "run", command.argv[0] + " " + command.argv[1] + " " + command.argv[2],
        "it ended with " + std::to_string(ended.signal ? 128 + ended.signal : ended.code));
  return {};
}

}  // namespace

void ImageGc::start() { look(Stage::kLook); }

void ImageGc::look(Stage stage) {
  timer_ = loop_.after(kPeriod, [this] { look(Stage::kLook); });
  background_.call<base::Result<StoredImages>>(
      [root = images_.image_root] { return read_store(root); },
      [this, stage](base::Result<StoredImages> stored) {
        if (stored.ok()) return looked(stage, *stored);
        if (stored.error().kind != base::Kind::kNotFound)  // no image was ever pulled
          base::log::warning("image garbage collection: {}", stored.error().message());
      });
}

// First what no name holds (tags that moved), then names, as far as that was not enough.
void ImageGc::looked(Stage stage, const StoredImages& stored) {
  const base::Time now = base::wall_now();
  note_images(stored, now, sightings_);
  const auto wanted = bytes_to_free(stored, policy_);
  if (!wanted || *wanted == 0) return;
  if (stage == Stage::kLook) {
    base::log::info("image garbage collection: the disk of {} is fuller than {} %: to free: {} bytes",
                    images_.image_root, policy_.high_percent, *wanted);
    return act(Stage::kSwept, {});
  }
  if (stage == Stage::kSwept) {
    ImageGcPlan plan = plan_image_gc(stored, sightings_, policy_, *wanted, now);
    wanted_bytes_ = *wanted;
    eligible_bytes_ = plan.frees_bytes;
    if (!plan.remove.empty()) {
      for (const auto& name : plan.remove) base::log::info("image garbage collection: removes {}", name);
      return act(Stage::kRemoved, std::move(plan.remove));
    }
  }
  if (eligible_bytes_ < wanted_bytes_)
    events_.emit({.kind = "Node", .ns = "", .name = node_name_, .uid = node_name_, .container = ""}, true,
                 "FreeDiskSpaceFailed",
                 "Failed to garbage collect required amount of images. Attempted to free " +
                     std::to_string(wanted_bytes_) + " bytes, but only found " +
                     std::to_string(eligible_bytes_) + " bytes eligible to free.");
}

void ImageGc::act(Stage next, std::vector<std::string> names) {
  background_.call<base::Status>(
      [program = images_.program, root = images_.image_root, names = std::move(names)]() -> base::Status {
        // One by one: a name that somebody took away meanwhile must not keep the others.
        for (const auto& name : names)
          if (auto removed = run({program, "image", "rm", "--image-root", root, name}); !removed.ok())
            base::log::warning("image garbage collection: {}: {}", name, removed.error().message());
        return run({program, "image", "gc", "--image-root", root});
      },
      [this, next](base::Status status) {
        // While an image is being imported nothing goes; the next pass tries again.
        if (!status.ok()) return base::log::warning("image garbage collection: {}", status.error().message());
        look(next);
      });
}

}  // namespace kubelet
