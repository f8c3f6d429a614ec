// Writes into the status of ValidatingAdmissionPolicies what checking their types found. Asks the API server
// which kinds they are about and, of custom ones, their definitions. Never keeps a policy from working.
#pragma once

#include <string>

#include "master/controllers/policy_type_plan.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class PolicyTypeController {
 public:
  explicit PolicyTypeController(Hub& hub);

 private:
  struct Round;
  void sync(const std::string& key, Reconciler::Finish finish);
  // Adds the kinds of one group version that the round wants, with their schemas.
  Step look_up(std::shared_ptr<Round> round, const std::string& group, const std::string& version);
  Step read_custom(std::shared_ptr<Round> round, TypedKind kind, const std::string& plural, bool is_params);
  void publish(std::shared_ptr<Round> round, base::Status looked_up);

  Hub& hub_;
  Hub::Account& account_;
  api::Client reader_;  // as all controllers read
  Store<ValidatingPolicy>& policies_;
  Reconciler reconciler_;
  StatusWriter status_;
};

}  // namespace master::controllers
