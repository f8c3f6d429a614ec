// When a status is sent, and the patch that turns what the API shows into what is wanted. Pure: applying it
// to `have` with the strategic merge gives `want`, and then there is nothing left to send.
#pragma once

#include <optional>

#include "api/schema.h"
#include "base/clock.h"
#include "base/json.h"

namespace kubelet {

// Of a status object, `type` being its type (PodStatus, NodeStatus). Conditions are merged one by
// one, so that those of others stay; every other list is replaced as a whole, since whoever reports
// a status owns it whole: merged by key, an address that is gone would stay for ever. Empty:
// nothing differs.
base::json::object status_patch(const api::Type& type, const base::json::value& have,
                                const base::json::value& want);

// What was sent last and what the API made of it. Somebody there (a webhook, an older server) may
// not take all of a status; sending it again and again would change nothing.
class StatusSent {
 public:
  void answered(const base::json::value& want, const base::json::value& answer);
  // The API answered this very `want` with what it still shows.
  bool settled(const base::json::value& have, const base::json::value& want) const;

 private:
  base::json::value want_, answer_;
};

// How far telling the API has come.
struct StatusSeen {
  bool in_flight = false;
  base::Time since{};     // what it shows is not what is wanted; zero: it is
  base::Time retry_at{};  // after a failure
};
struct StatusStep {
  bool send = false;
  std::optional<base::Time> wake;
};
// One at a time. A Pod that is on its way says more very soon: what lies in between is told only if that
// takes longer than this, as one write instead of three.
constexpr base::Duration kInMotion = std::chrono::milliseconds(30);
StatusStep plan_status(const StatusSeen& seen, bool in_motion, base::Time now);

}  // namespace kubelet
