#include "master/controllers/deployment_controller.h"

#include "base/log.h"
#include "master/controllers/rewrite.h"

namespace master::controllers {
using base::as_int;
using base::find;
using base::find_path;
using base::string_at;

struct DeploymentController::Round {
  std::string key;
  std::shared_ptr<const Deployment> deployment;
  DeploymentPlan plan;
  Reconciler::Finish finish;
};

DeploymentController::DeploymentController(Hub& hub)
    : hub_(hub), deployments_(hub.follow<Deployment>(api::resources::deployments)),
      replica_sets_(hub.follow<ReplicaOwner>(api::resources::replica_sets)),
      pods_(hub.follow<Pod>(api::resources::pods)), account_(hub.account("deployment-controller")),
      reconciler_(
          hub, {&deployments_, &replica_sets_, &pods_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, api::resources::deployments, deployments_, reconciler_) {
  deployments_.on_change([this](const auto& before, const auto& after) {
    const std::string key = (after ? after : before)->meta.key();
    if (!after) reconciler_.gate.forget(key);
    reconciler_.add(key);
  });
  replica_sets_.on_change([this](const auto& before, const auto& after) {
    if (before) replica_set_changed(*before);
    if (after) replica_set_changed(*after);
  });
  // Recreate waits for the last old Pod to be gone, which no ReplicaSet's status tells.
  pods_.on_change([this](const auto& before, const auto& after) {
    if (!before || before->owner_kind != "ReplicaSet" || (after && !after->finished())) return;
    auto rs = replica_sets_.get(key_of(before->meta.ns, before->owner_name));
    if (!rs || rs->controller.kind != "Deployment") return;
    const std::string key = key_of(rs->meta.ns, rs->controller.name);
    if (auto deployment = deployments_.get(key); deployment && deployment->recreate) reconciler_.add(key);
  });
}

void DeploymentController::replica_set_changed(const ReplicaOwner& rs) {
  if (!rs.controller.uid.empty()) {
    if (rs.controller.kind == "Deployment") reconciler_.add(key_of(rs.meta.ns, rs.controller.name));
    return;
  }
  for (const auto& deployment : deployments_.in_namespace(rs.meta.ns))
    if (deployment->selector.matches(rs.labels)) reconciler_.add(deployment->meta.key());
}

void DeploymentController::sync(const std::string& key, Reconciler::Finish finish) {
  auto deployment = deployments_.get(key);
  if (!deployment) return finish(Reconciler::Outcome::kDone);
  DeploymentView view{deployment, replica_sets_.find(owned_by(deployment->meta.uid)), {}};
  auto orphans = replica_sets_.find(orphans_of(deployment->meta.ns));
  view.replica_sets.insert(view.replica_sets.end(), orphans.begin(), orphans.end());
  if (deployment->recreate)
    for (const auto& rs : view.replica_sets)
      for (const auto& pod : pods_.find(owned_by(rs->meta.uid)))
        if (!pod->finished()) view.running_pods_of.insert(rs->meta.uid);
  auto round = std::make_shared<Round>();
  round->key = key;
  round->deployment = deployment;
  round->plan = plan_deployment(view, hub_.now());
  round->finish = std::move(finish);
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("Deployment {}: {}", key, round->plan.text());
  if (round->plan.again) reconciler_.add_after(key, *round->plan.again);
  act(std::move(round));
}

void DeploymentController::act(std::shared_ptr<Round> round) {
  const DeploymentPlan& plan = round->plan;
  std::vector<Step> steps;
  for (const std::string& name : plan.adopt) steps.push_back(own(round, name, true));
  for (const std::string& name : plan.release) steps.push_back(own(round, name, false));
  const bool claiming = !steps.empty();
  if (plan.create) steps.push_back(create(round));
  for (const DeploymentPlan::Change& c : plan.changes) steps.push_back(change(round, c));
  for (const std::string& name : plan.remove) steps.push_back(remove(round, name));
  if (plan.rollback) steps.push_back(roll_back(round));
  if (!plan.revision.empty() && !plan.rollback)  // one write of the Deployment a round
    steps.push_back([this, round](auto done) {
      account_.client.patch(
          api::resources::deployments, round->deployment->meta.ns, round->deployment->meta.name, "merge",
          json::object{
              {"metadata",
               {{"uid", round->deployment->meta.uid}, {"annotations", {{kRevision, round->plan.revision}}}}}},
          [this, round, done](base::Result<json::value> result) {
            if (!result.ok()) return done(result.error());
            reconciler_.gate.wrote(round->key, deployments_, revision_of(*result), hub_.now());
            done({});
          });
    });
  all(std::move(steps), [this, round, claiming](base::Status status) {
    if (!status.ok()) {
      if (status.error().kind != base::Kind::kConflict && status.error().kind != base::Kind::kNotFound)
        base::log::warning("Deployment {}: {}", round->key, status.error().message());
      return round->finish(Reconciler::Outcome::kRetry);
    }
    if (claiming) return round->finish(Reconciler::Outcome::kDone);  // the watch brings us back
    publish(round);
  });
}

Step DeploymentController::roll_back(std::shared_ptr<Round> round) {
  return [this, round](auto done) {
    rewrite(
        account_, api::resources::deployments, round->deployment->meta,
        [round](json::object& object) {
          base::object_at(object, "spec")["template"] = round->plan.rollback->pod_template;
        },
        [this, round, done](base::Result<json::value> result) {
          if (!result.ok()) return done(result.error());
          reconciler_.gate.wrote(round->key, deployments_, revision_of(*result), hub_.now());
          const Deployment& d = *round->deployment;
          account_.events.record({"apps/v1", "Deployment", d.meta.ns, d.meta.name, d.meta.uid}, "Normal",
                                 "DeploymentRollback",
                                 fmt::format("Rolled back deployment \"{}\" to revision {}", d.meta.name,
                                             round->plan.rollback->revision),
                                 "deployment-controller");
          done({});
        });
  };
}

Step DeploymentController::own(std::shared_ptr<Round> round, const std::string& name, bool adopt) {
  return [this, round, name, adopt](auto done) {
    const Deployment& d = *round->deployment;
    auto rs = replica_sets_.get(key_of(d.meta.ns, name));
    if (!rs) return done({});
    json::object reference{{"uid", d.meta.uid}};
    if (adopt)
      reference = {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", d.meta.name},
                   {"uid", d.meta.uid},       {"controller", true},   {"blockOwnerDeletion", true}};
    else reference["$patch"] = "delete";
    account_.client.patch(
        api::resources::replica_sets, d.meta.ns, name, "strategic-merge",
        json::object{
            {"metadata", {{"uid", rs->meta.uid}, {"ownerReferences", json::array{std::move(reference)}}}}},
        [this, round, done](base::Result<json::value> result) {
          if (!result.ok()) return done(result.error());
          reconciler_.gate.wrote(round->key, replica_sets_, revision_of(*result), hub_.now());
          done({});
        });
  };
}

void DeploymentController::tell(const Round& round, const char* direction, const std::string& name, int from,
                                int to) {
  const Deployment& d = *round.deployment;
  account_.events.record({"apps/v1", "Deployment", d.meta.ns, d.meta.name, d.meta.uid}, "Normal",
                         "ScalingReplicaSet",
                         fmt::format("Scaled {} replica set {} from {} to {}", direction, name, from, to),
                         "deployment-controller");
}

Step DeploymentController::create(std::shared_ptr<Round> round) {
  return [this, round](auto done) {
    const std::string name(string_at(json::value(*round->plan.create), "metadata", "name"));
    const int size = static_cast<int>(as_int(find(round->plan.create->at("spec"), "replicas")));
    account_.client.create(
        api::resources::replica_sets, round->deployment->meta.ns, *round->plan.create,
        [this, round, name, size, done](base::Result<json::value> result) {
          if (result.ok()) {
            reconciler_.gate.wrote(round->key, replica_sets_, revision_of(*result), hub_.now());
            if (size > 0) tell(*round, "up", name, 0, size);
            return done({});
          }
          if (result.error().kind == base::Kind::kExists) {
            auto other = replica_sets_.get(key_of(round->deployment->meta.ns, name));
            // Ours, made by a request whose answer was lost: the watch will show it. Otherwise two
            // templates hash alike, and the count makes the next name another.
            if (other && !(other->controller.uid == round->deployment->meta.uid &&
                           same_template(other->pod_template, round->deployment->pod_template)))
              round->plan.status["collisionCount"] =
                  as_int(find(round->deployment->status, "collisionCount")) + 1,
              round->plan.status_changed = true;
            return done({});
          }
          const Deployment& d = *round->deployment;
          account_.events.record(
              {"apps/v1", "Deployment", d.meta.ns, d.meta.name, d.meta.uid}, "Warning",
              "ReplicaSetCreateError",
              fmt::format("Failed to create new replica set \"{}\": {}", name, result.error().message()),
              "deployment-controller");
          done(result.error());
        });
  };
}

Step DeploymentController::change(std::shared_ptr<Round> round, const DeploymentPlan::Change& change) {
  return [this, round, change](auto done) {
    account_.client.patch(
        api::resources::replica_sets, round->deployment->meta.ns, change.name, "merge", change.patch,
        [this, round, change, done](base::Result<json::value> result) {
          if (!result.ok()) return done(result.error());
          reconciler_.gate.wrote(round->key, replica_sets_, revision_of(*result), hub_.now());
          if (change.from != change.to)
            tell(*round, change.to > change.from ? "up" : "down", change.name, change.from, change.to);
          done({});
        });
  };
}

Step DeploymentController::remove(std::shared_ptr<Round> round, const std::string& name) {
  return [this, round, name](auto done) {
    const std::string key = key_of(round->deployment->meta.ns, name);
    auto rs = replica_sets_.get(key);
    if (!rs) return done({});
    account_.client.remove(
        api::resources::replica_sets, rs->meta.ns, name,
        json::object{{"preconditions", {{"uid", rs->meta.uid}}}, {"propagationPolicy", "Background"}},
        [this, round, key, done](base::Result<json::value> result) {
          if (!result.ok() && result.error().kind != base::Kind::kNotFound) return done(result.error());
          reconciler_.gate.deleted(
              round->key,
              [this, key] {
                auto now = replica_sets_.get(key);
                return !now || now->meta.deleting;
              },
              hub_.now());
          done({});
        });
  };
}

void DeploymentController::publish(std::shared_ptr<Round> round) {
  if (!round->plan.status_changed) return round->finish(Reconciler::Outcome::kDone);
  status_.write(round->deployment->meta, round->plan.status, [round](base::Status written) {
    if (is_gone(written)) return round->finish(Reconciler::Outcome::kDone);
    Reconciler::end("Deployment", round->key, written, round->finish);
  });
}

}  // namespace master::controllers
