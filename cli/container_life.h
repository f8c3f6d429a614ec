// A container's life, done: started, observed, settled after its end, removed. What a step leaves is
// recorded before it is made; each function copes with whatever an earlier one, killed half-way,
// left. Those that change something want the container's lock held (lock_container).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "cli/container_record.h"
#include "cli/places.h"
#include "runtime/runtime.h"

namespace cli {

constexpr const char* kContainer = "main";  // its name within its Pod

// How it ended, told by its sampan-pod: listened to from the first moment, since the news may come
// in one go with an answer.
struct Ending {
  std::optional<runtime::ContainerState> exit;
  bool lost = false;  // sampan-pod itself has ended
  bool over() const { return exit || lost; }
};
struct Seen {
  State state;                        // what is true now, whatever state.json says
  std::unique_ptr<runtime::Pod> pod;  // null: no sampan-pod holds it
  std::shared_ptr<Ending> ending;     // with `pod`
  bool runs() const { return state.phase == State::Phase::kRunning || state.phase == State::Phase::kPaused; }
};
base::Result<Seen> observe_container(base::Loop& loop, const Places& places, const std::string& id);

struct Started {
  std::unique_ptr<runtime::Pod> pod;
  std::shared_ptr<Ending> ending;
  runtime::Pod::Attached attached;  // when it was asked for
};
// From nothing or from what a run before left. Undoes all of it when a step fails. While the result
// lives, its holder settles the container; otherwise sampan-pod runs `sampan cleanup` at its end.
base::Result<Started> start_container(base::Loop& loop, const Places& places, const Record& record,
                                      bool attach);
// After the process has ended: no sampan-pod, no network; the state says how it ended.
base::Status settle_container(base::Loop& loop, const Places& places, const Record& record, Seen seen);
// The same, and everything of it goes: --rm.
base::Status remove_ended(base::Loop& loop, const Places& places, const Record& record, Seen seen);
// Its signal, then SIGKILL after `timeout_s` (< 0: never); returns when it is settled, by whomever.
base::Status stop_container(base::Loop& loop, const Places& places, const std::string& id,
                            std::optional<int> timeout_s);
// Kills what runs and removes everything. kConflict when it runs and `force` is not given.
base::Status destroy_container(base::Loop& loop, const Places& places, const std::string& id, bool force);
// `sampan cleanup`: what sampan-pod runs after an exit that nobody watched. Restarts, settles or
// removes, as the record says.
base::Status clean_up_container(base::Loop& loop, const Places& places, const std::string& id);

State with_exit(State state, const runtime::ContainerState& exit);
// 127: the program is not there; 126: it can't be executed; 125: everything else.
int start_exit_code(const base::Error& error);

}  // namespace cli
