// API Priority and Fairness (KEP-1040) for a server of one loop thread. FlowSchemas sort requests into
// priority levels and flows; a level has seats (requests that wait for the store, a webhook or a node)
// and a share of the loop's time. What may not run at once waits in its flow's queue; levels take turns
// by the time they used over their shares, flows of a level in round-robin. A full level answers 429.
// No I/O; loop thread only. Nothing waits, and nothing costs, while the server keeps up.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/loop.h"
#include "master/registry/request.h"

namespace master {

class FlowControl {
 public:
  // `total_seats` are divided among the levels by their nominalConcurrencyShares.
  FlowControl(base::Loop& loop, int total_seats);

  // The objects of flowcontrol.apiserver.k8s.io/v1 as they are now; what is missing of the mandatory
  // ones stands as by default. Queued requests stay where they are.
  void configure(const std::vector<base::json::value>& schemas, const std::vector<base::json::value>& levels);
  // The mandatory and suggested objects of Kubernetes, to be created at start.
  static std::vector<base::json::value> default_schemas();
  static std::vector<base::json::value> default_levels();

  struct Level;
  // How a request was sorted; uids are "" where the objects were never stored.
  struct Flow {
    std::shared_ptr<Level> level;
    std::string schema, schema_uid, distinguisher;
  };
  Flow classify(const RequestInfo& request) const;
  static std::string_view level_name(const Flow& flow);
  static std::string_view level_uid(const Flow& flow);

  // A seat is held until it is dropped.
  using Seat = std::shared_ptr<void>;
  // Calls `run` now or later, or `refuse` now: answer 429.
  void admit(const Flow& flow, std::function<void(Seat)> run, const std::function<void()>& refuse);

  struct Counts {
    std::string level;
    int seats = 0, executing = 0;
    size_t queued = 0;
    uint64_t dispatched = 0, rejected = 0;
  };
  std::vector<Counts> counts() const;

 private:
  struct Rule;
  struct Schema;
  using Clock = std::chrono::steady_clock;
  void run_one(const std::shared_ptr<Level>& level, std::function<void(Seat)> run);
  void pump();
  void pump_later();
  bool spent() const;

  base::Loop& loop_;
  const int total_seats_;
  std::vector<std::shared_ptr<Schema>> schemas_;  // by precedence
  std::map<std::string, std::shared_ptr<Level>, std::less<>> levels_;
  double virtual_time_ = 0;  // of the level that ran last
  Clock::duration used_{};   // by this turn of the loop
  Clock::time_point turn_{};
  bool pumping_ = false, pump_posted_ = false, turn_posted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace master
