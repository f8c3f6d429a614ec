#include "master/controllers/reconciler.h"

#include <algorithm>

#include "base/log.h"

namespace master::controllers {

void Gate::wrote(const std::string& key, const StoreBase& store, uint64_t revision, base::Time now) {
  if (store.revision() < revision) waits_[key].push_back({&store, revision, {}, now + expiry_});
}
void Gate::deleted(const std::string& key, std::function<bool()> gone, base::Time now) {
  if (!gone()) waits_[key].push_back({nullptr, 0, std::move(gone), now + expiry_});
}
bool Gate::open(const std::string& key, base::Time now) {
  auto at = waits_.find(key);
  if (at == waits_.end()) return true;
  std::erase_if(at->second, [&](const Wait& wait) {
    return now >= wait.until || (wait.store ? wait.store->revision() >= wait.revision : wait.gone());
  });
  if (!at->second.empty()) return false;
  waits_.erase(at);
  return true;
}

Reconciler::Reconciler(Hub& hub, std::vector<const StoreBase*> needs, Sync sync)
    : Reconciler(
          hub,
          [needs = std::move(needs)] {
            return std::all_of(needs.begin(), needs.end(),
                               [](const StoreBase* store) { return store->synced; });
          },
          std::move(sync)) {}

Reconciler::Reconciler(Hub& hub, std::function<bool()> ready, Sync sync)
    : hub_(hub), ready_(std::move(ready)), sync_(std::move(sync)),
      queue_(hub.loop, [this](const std::string& key) { work(key); }) {
  hub_.on_synced([this] {
    if (waiting_.empty() || !ready_()) return;
    for (const std::string& key : std::exchange(waiting_, {})) queue_.add(key);
  });
}

void Reconciler::add(const std::string& key) {
  if (!ready_()) waiting_.insert(key);
  else queue_.add(key);
}
void Reconciler::add_after(const std::string& key, base::Duration delay) { queue_.add_after(key, delay); }

void Reconciler::end(const char* kind, const std::string& key, const base::Status& status,
                     const Finish& finish) {
  if (status.ok()) return finish(Outcome::kDone);
  if (status.error().kind != base::Kind::kConflict)
    base::log::warning("{} {}: {}", kind, key, status.error().message());
  finish(Outcome::kRetry);
}

void Reconciler::work(const std::string& key) {
  if (auto at = busy_.find(key); at != busy_.end()) {
    at->second = true;
    return;
  }
  if (!gate.open(key, hub_.now())) {
    add_after(key, gate.expiry());  // the event we wait for comes much earlier
    return;
  }
  busy_[key] = false;
  sync_(key, [this, key](Outcome outcome) {
    bool again = false;
    if (auto at = busy_.find(key); at != busy_.end()) {
      again = at->second;
      busy_.erase(at);
    }
    if (outcome == Outcome::kRetry) {
      queue_.failed(key);
    } else {
      queue_.succeeded(key);
      if (again) queue_.add(key);
    }
  });
}

void all(std::vector<Step> steps, std::function<void(base::Status)> done) {
  struct State {
    size_t left;
    base::Status status;
    std::function<void(base::Status)> done;
  };
  if (steps.empty()) return done({});
  auto state = std::make_shared<State>(State{steps.size(), {}, std::move(done)});
  for (Step& step : steps)
    step([state](base::Status status) {
      if (!status.ok() && state->status.ok()) state->status = std::move(status);
      if (--state->left == 0) state->done(std::move(state->status));
    });
}

}  // namespace master::controllers
