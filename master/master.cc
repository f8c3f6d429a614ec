#include "master/master.h"

#include "base/log.h"
#include "master/admission/service_address_admission.h"

namespace master {

struct Master::Acting {
  Acting(Master& master, controllers::Options options)
      : controllers(master.loop_, master.client({"system:kube-controller-manager", {"system:authenticated"}}),
                    std::move(options)),
        scheduler(master.loop_, master.client({"system:kube-scheduler", {"system:authenticated"}}),
                  master.options_.scheduling) {}
  controllers::Controllers controllers;
  scheduler::Scheduler scheduler;
};

Master::Master(base::Loop& loop, std::unique_ptr<Store> store, MasterOptions options)
    : loop_(loop), options_(std::move(options)),
      api_(std::make_unique<ApiServer>(loop, std::move(store), options_.server)) {}
Master::~Master() = default;

base::Status Master::start(std::function<void()> ready) {
  TRY(api_->start());
  // The rights of who acts come from the default roles.
  api_->when_bootstrapped([this, ready = std::move(ready)] {
    api_->registry().store().campaign([this, ready, told = false](bool leads) mutable {
      act(leads);
      if (std::exchange(told, true)) return;
      api_->set_ready();
      ready();
    });
  });
  return {};
}

std::shared_ptr<api::Transport> Master::client(User user) {
  auto straight = api_->local_transport(std::move(user));
  return options_.around_transport ? options_.around_transport(std::move(straight)) : straight;
}

void Master::act(bool leads) {
  acting_.reset();
  if (!leads) return base::log::info("another master acts");
  controllers::Options options = options_.controllers;
  options.reserved_addresses = reserved_addresses(api_->registry());
  options.issue_account_token = [this](const std::string& ns, const std::string& account,
                                       const std::string& uid, const std::string& secret) {
    return api_->tokens().issue_for_secret(ns, {account, uid}, secret);
  };
  options.transport_of = [this](const std::string& account) {
    constexpr const char* kGroup = "system:serviceaccounts";
    return client({"system:serviceaccount:kube-system:" + account,
                   {kGroup, std::string(kGroup) + ":kube-system", "system:authenticated"}});
  };
  acting_ = std::make_unique<Acting>(*this, std::move(options));
  acting_->controllers.start();
  acting_->scheduler.start();
}

}  // namespace master
