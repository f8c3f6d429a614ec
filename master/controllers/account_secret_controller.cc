#include "master/controllers/account_secret_controller.h"

#include "base/base64.h"
#include "master/controllers/rewrite.h"

namespace master::controllers {

AccountSecretController::AccountSecretController(Hub& hub)
    : hub_(hub), account_(hub.transport, hub.options), secrets_(hub.follow<Secret>(api::resources::secrets)),
      accounts_(hub.follow<ServiceAccount>(api::resources::service_accounts)),
      reconciler_(hub, {&secrets_, &accounts_}, [this](const std::string& key, Reconciler::Finish finish) {
        sync(key, std::move(finish));
      }) {
  secrets_.on_change([this](const auto& before, const auto& after) {
    if (!after) return reconciler_.gate.forget(before->meta.key());
    if (after->is_token) reconciler_.add(after->meta.key());
  });
  accounts_.on_change([this](const auto& before, const auto& after) {
    if (before && after) return;
    for (const auto& secret : secrets_.find((after ? after : before)->meta.key()))
      reconciler_.add(secret->meta.key());
  });
}

// Whether its account is there the API server has to say, not what was seen last.
void AccountSecretController::sync(const std::string& key, Reconciler::Finish finish) {
  auto secret = secrets_.get(key);
  if (!secret || !hub_.options.issue_account_token) return finish(Reconciler::Outcome::kDone);
  auto known = accounts_.get(key_of(secret->meta.ns, secret->account));
  if (plan_account_secret(*secret, known.get()).kind == AccountSecretPlan::Kind::kNothing)
    return finish(Reconciler::Outcome::kDone);
  account_.client.get(api::resources::service_accounts, secret->meta.ns, secret->account,
                      [this, key, secret, finish](base::Result<json::value> read) {
                        if (!read.ok() && read.error().kind != base::Kind::kNotFound)
                          return Reconciler::end("token Secret", key, read.error(), finish);
                        const ServiceAccount account{read.ok() ? read_meta(*read) : Meta()};
                        act(secret, plan_account_secret(*secret, read.ok() ? &account : nullptr),
                            [key, finish](base::Status status) {
                              if (!status.ok() && status.error().kind == base::Kind::kNotFound) status = {};
                              Reconciler::end("token Secret", key, status, finish);
                            });
                      });
}

void AccountSecretController::act(std::shared_ptr<const Secret> secret, const AccountSecretPlan& plan,
                                  std::function<void(base::Status)> done) {
  const Meta& meta = secret->meta;
  if (plan.kind == AccountSecretPlan::Kind::kFill) return fill(secret, plan, std::move(done));
  if (plan.kind == AccountSecretPlan::Kind::kNothing) return done({});
  account_.client.remove(api::resources::secrets, meta.ns, meta.name,
                         json::object{{"preconditions", {{"uid", meta.uid}}}},
                         [done](base::Result<json::value> result) {
                           done(result.ok() ? base::Status() : base::Status(result.error()));
                         });
}

void AccountSecretController::fill(std::shared_ptr<const Secret> secret, const AccountSecretPlan& plan,
                                   std::function<void(base::Status)> done) {
  const Meta& meta = secret->meta;
  std::string token;
  if (plan.needs_token) {
    auto issued = hub_.options.issue_account_token(meta.ns, secret->account, plan.account_uid, meta.name);
    if (!issued.ok()) return done(issued.error());
    token = std::move(*issued);
  }
  rewrite(
      account_, api::resources::secrets, meta,
      [this, secret, uid = plan.account_uid, token = std::move(token)](json::object& object) {
        base::object_at(object, "metadata", "annotations")["kubernetes.io/service-account.uid"] = uid;
        json::object& data = base::object_at(object, "data");
        if (!token.empty()) data["token"] = base::base64_encode(token);
        data["ca.crt"] = base::base64_encode(hub_.options.ca_pem);
        data["namespace"] = base::base64_encode(secret->meta.ns);
      },
      [this, key = meta.key(), done](base::Result<json::value> written) {
        if (!written.ok()) return done(written.error());
        reconciler_.gate.wrote(key, secrets_, revision_of(*written), hub_.now());
        done({});
      });
}

}  // namespace master::controllers
