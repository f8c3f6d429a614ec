// MutatingAdmissionWebhook and ValidatingAdmissionWebhook: asks the webhooks that the cluster's
// configurations name. Mutating ones one after the other, validating ones all at once; the loop
// never waits. Loop thread only.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "master/admission/webhook_client.h"
#include "master/admission/webhook_plan.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

namespace master {

class Authorizer;
class Registry;

class AdmissionWebhooks final : public AdmissionPlugin {
 public:
  AdmissionWebhooks(Registry& registry, const Authorizer& authorizer, std::shared_ptr<WebhookClient> client,
                    bool mutating);
  std::string_view name() const override {
    return mutating_ ? "MutatingAdmissionWebhook" : "ValidatingAdmissionWebhook";
  }
  bool handles(Operation) const override { return true; }
  void mutate(AttributesPtr attributes, Done done) override;
  void validate(AttributesPtr attributes, Done done) override;

 private:
  // A webhook that a write concerns, and the version in which it sees the objects.
  struct Call {
    std::shared_ptr<const Webhook> hook;
    ResourcePtr shown;
  };
  struct Round;
  std::vector<Call> select(const AdmissionAttributes& attributes);
  const std::vector<std::shared_ptr<const Webhook>>& hooks();
  // `seen` is the object as it was shown; what a patch is for.
  using Answered =
      std::function<void(base::json::value refusal, ReviewAnswer answer, base::json::value seen)>;
  using Taken = std::function<void(base::json::value refusal, bool changed)>;
  void ask(const Call& call, const AttributesPtr& attributes, Answered done);
  void next(std::shared_ptr<Round> round);
  void post(const Call& call, const AttributesPtr& attributes, base::json::value object,
            base::json::value old, Answered done);
  void take_patch(const Call& call, const AttributesPtr& attributes, base::json::value before,
                  const base::json::value& patch, Taken done);

  Registry& registry_;
  const Authorizer& authorizer_;
  std::shared_ptr<WebhookClient> client_;
  bool mutating_;
  std::shared_ptr<ObjectCache> configurations_;
  int64_t read_at_ = -1;  // revision of the configurations that hooks_ were read from
  std::vector<std::shared_ptr<const Webhook>> hooks_;
};

}  // namespace master
