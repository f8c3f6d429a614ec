// A store in memory for tests, no kinder than the file: what a round of the loop submits becomes durable
// together and later, acknowledgements come later still and in the order of revisions, compares may fail, the
// disk may be full, and a crash keeps what was acknowledged, and of the rest what it likes. MemoryDisk is
// what lasts; a MemoryStore has it for as long as it lives, and its end is a crash.
#pragma once

#include <deque>
#include <map>
#include <random>

#include "master/store/store.h"

namespace simulated {

struct MemoryDisk {
  explicit MemoryDisk(uint64_t seed = 0) : random(seed) {}
  struct Record {
    std::string value;
    int64_t revision;
  };
  std::map<std::string, Record> records;
  int64_t revision = 0, reserved = 0;       // of the last write; what a start begins behind
  std::deque<master::StoreChange> history;  // since `compacted`
  int64_t compacted = 0;
  bool owned = false;

  // What befalls writes; drawn from `random`.
  std::mt19937_64 random;
  base::Duration slowest =
      std::chrono::milliseconds(5);  // from a submission to its being durable, and to its answer
  double failures = 0;               // of transactions: the disk has an error
  bool full = false;
  int64_t transactions = 0, writes = 0;

  base::Duration delay() {
    return base::Duration(static_cast<int64_t>(random() % static_cast<uint64_t>(slowest.count() + 1)));
  }
  bool chance(double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(random) < p; }
};

class MemoryStore final : public master::Store {
 public:
  // kUnavailable where another store has the disk.
  static base::Result<std::unique_ptr<master::Store>> open(base::Loop& loop,
                                                           std::shared_ptr<MemoryDisk> disk) {
    if (disk->owned)
      return base::make_error(base::Kind::kUnavailable, "open store", "memory", "another master has it");
    disk->owned = true;
    return std::unique_ptr<master::Store>(new MemoryStore(loop, std::move(disk)));
  }
  ~MemoryStore() override {
    // The batch on its way may have arrived, all of it or nothing.
    if (!batch_.empty() && !durable_ && disk_->chance(0.5)) write_batch();
    disk_->owned = false;
  }

  base::Status load(const Each& each, const Damaged&) override {
    for (const auto& [key, record] : disk_->records) each(key, record.value, record.revision);
    loaded_ = revision_ = told_ = std::max(disk_->revision, disk_->reserved);
    disk_->reserved = loaded_ + kReserve;
    leads_ = true;
    return {};
  }

  void submit(master::StoreWrite write, std::function<void(base::Result<int64_t>)> done) override {
    queue_.push_back({std::move(write), std::move(done)});
    begin();
  }

  base::Result<int64_t> next_volatile_revision() override {
    if (revision_ + 1 >= disk_->reserved) {
      if (disk_->full)
        return base::make_error(base::Kind::kExhausted, "reserve revisions in store", "memory",
                                "the disk takes no writes", "free disk space");
      disk_->reserved = revision_ + kReserve;
    }
    return ++revision_;
  }
  int64_t loaded_revision() const override { return loaded_; }

  std::unique_ptr<Watch> watch(int64_t after, Told told, std::function<void(base::Error)> lost) override {
    auto watcher = std::make_shared<Watcher>(Watcher{after, std::move(told), std::move(lost)});
    watchers_.push_back(watcher);
    loop_.post([this, alive = std::weak_ptr<bool>(alive_), weak = std::weak_ptr<Watcher>(watcher)] {
      if (auto watcher = weak.lock(); watcher && !alive.expired()) catch_up(*watcher);
    });
    return std::make_unique<Watching>(std::move(watcher));
  }
  void compact(int64_t revision) override {
    disk_->compacted = std::max(disk_->compacted, std::min(revision, told_));
    std::erase_if(disk_->history,
                  [&](const master::StoreChange& change) { return change.revision <= disk_->compacted; });
  }
  void campaign(std::function<void(bool)> told) override {
    loop_.post([told = std::move(told), alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) told(true);
    });
  }
  bool leads() const override { return leads_; }

  bool quiet() const { return queue_.empty() && batch_.empty(); }

 private:
  static constexpr int64_t kReserve = 1000;
  static constexpr size_t kMaxBatch = 64;
  struct Pending {
    master::StoreWrite write;
    std::function<void(base::Result<int64_t>)> done;
    base::Result<int64_t> result = int64_t{0};
  };
  struct Watcher {
    int64_t after;  // the last that it was told
    Told told;
    std::function<void(base::Error)> lost;
    bool caught_up = false, ended = false;
  };
  struct Watching final : Watch {
    explicit Watching(std::shared_ptr<Watcher> w) : watcher(std::move(w)) {}
    std::shared_ptr<Watcher> watcher;
  };

  MemoryStore(base::Loop& loop, std::shared_ptr<MemoryDisk> disk) : loop_(loop), disk_(std::move(disk)) {}

  // One transaction at a time: what waits when the one before is through goes into the next.
  void begin() {
    if (busy_) return;
    busy_ = true;
    timer_ = loop_.after(disk_->delay(), [this] {
      const size_t count = std::min(queue_.size(), kMaxBatch);
      batch_.assign(std::make_move_iterator(queue_.begin()),
                    std::make_move_iterator(queue_.begin() + static_cast<long>(count)));
      queue_.erase(queue_.begin(), queue_.begin() + static_cast<long>(count));
      durable_ = false;
      timer_ = loop_.after(disk_->delay(), [this] {
        write_batch();
        timer_ = loop_.after(disk_->delay(), [this] { acknowledge(); });
      });
    });
  }
  void write_batch() {
    durable_ = true;
    ++disk_->transactions;
    if (disk_->full || disk_->chance(disk_->failures)) {
      const base::Kind kind = disk_->full ? base::Kind::kExhausted : base::Kind::kUnavailable;
      for (Pending& each : batch_)
        each.result = base::make_error(kind, "commit to store", "memory", "the disk takes no writes");
      return;
    }
    for (Pending& each : batch_) {
      auto at = disk_->records.find(each.write.key);
      const int64_t is = at == disk_->records.end() ? 0 : at->second.revision;
      if (is != each.write.expected_revision || (is == 0 && each.write.value.empty())) {
        each.result = base::make_error(base::Kind::kConflict, "write", each.write.key, "changed meanwhile");
        continue;
      }
      ++disk_->writes;
      const int64_t next = disk_->revision = ++revision_;
      if (each.write.value.empty()) disk_->records.erase(at);
      else disk_->records[each.write.key] = {each.write.value, next};
      disk_->history.push_back({each.write.key, each.write.value, next});
      each.result = next;
    }
    disk_->reserved = std::max(disk_->reserved, revision_ + kReserve);
    while (disk_->history.size() > 20'000) {
      disk_->compacted = disk_->history.front().revision;
      disk_->history.pop_front();
    }
  }
  void acknowledge() {
    std::vector<Pending> batch = std::exchange(batch_, {});
    busy_ = false;
    if (!queue_.empty()) begin();
    std::weak_ptr<bool> alive = alive_;
    for (Pending& each : batch) {
      if (each.result.ok()) {
        const master::StoreChange change{each.write.key, each.write.value, *each.result};
        const auto watchers = watchers_;
        for (const auto& weak : watchers)
          if (auto watcher = weak.lock(); watcher && !alive.expired()) {
            catch_up(*watcher);
            tell(*watcher, change);
          }
        told_ = change.revision;
      }
      if (alive.expired()) return;
      each.done(std::move(each.result));
      if (alive.expired()) return;
    }
  }
  // What was told before the watch began, from where it begins.
  void catch_up(Watcher& watcher) {
    if (std::exchange(watcher.caught_up, true)) return;
    if (watcher.after < disk_->compacted) {
      watcher.ended = true;
      return watcher.lost(
          base::make_error(base::Kind::kConflict, "watch store", {},
                           "changes after revision " + std::to_string(watcher.after) + " are forgotten"));
    }
    const std::deque<master::StoreChange> known = disk_->history;
    for (const master::StoreChange& change : known)
      if (change.revision <= told_) tell(watcher, change);
  }
  static void tell(Watcher& watcher, const master::StoreChange& change) {
    if (watcher.ended || change.revision <= watcher.after) return;
    watcher.after = change.revision;
    watcher.told(change);
  }

  base::Loop& loop_;
  std::shared_ptr<MemoryDisk> disk_;
  std::deque<Pending> queue_;
  std::vector<Pending> batch_;
  bool busy_ = false, durable_ = false, leads_ = false;
  int64_t revision_ = 0, loaded_ = 0, told_ = 0;
  std::vector<std::weak_ptr<Watcher>> watchers_;
  base::Loop::Handle timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace simulated
