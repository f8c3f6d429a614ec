#include "master/scheduler/pod_writer.h"

namespace master::scheduler {
namespace json = base::json;

PodWriter::PodWriter(std::shared_ptr<api::Transport> transport, std::function<base::Time()> now)
    : now_(std::move(now)), client_(std::move(transport), "kube-scheduler"),
      events_(client_, "default-scheduler", now_) {}

void PodWriter::bind(const controllers::ObjectRef& pod, const std::string& node, Done done) {
  json::object binding{{"apiVersion", "v1"},
                       {"kind", "Binding"},
                       {"metadata", {{"name", pod.name}, {"namespace", pod.ns}, {"uid", pod.uid}}},
                       {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}}}};
  client_.call("POST", api::resources::pods.path(pod.ns, pod.name, "binding"), "application/json",
               base::to_json(json::value(std::move(binding))),
               [done = std::move(done)](base::Result<json::value> result) {
                 if (result.ok()) done(base::Status());
                 else done(result.error());
               });
}
void PodWriter::patch_status(const controllers::ObjectRef& pod, json::object status, Done done) {
  client_.patch(
      api::resources::pods, pod.ns, pod.name, "strategic-merge",
      json::object{{"metadata", {{"uid", pod.uid}}}, {"status", std::move(status)}},
      [done = std::move(done)](base::Result<json::value> result) {
        if (!done) return;
        if (result.ok()) done(base::Status());
        else done(result.error());
      },
      "status");
}
void PodWriter::not_scheduled(const controllers::ObjectRef& pod, const std::string& reason,
                              const std::string& message, const std::string& since,
                              const std::string* nominated, Done done) {
  json::object status{
      {"conditions",
       json::array{json::object{{"type", "PodScheduled"},
                                {"status", "False"},
                                {"reason", reason},
                                {"message", message},
                                {"lastTransitionTime", since.empty() ? base::format_time(now_()) : since}}}}};
  if (nominated) status["nominatedNodeName"] = nominated->empty() ? json::value() : json::value(*nominated);
  patch_status(pod, std::move(status), std::move(done));
}
void PodWriter::select_node(const controllers::Claim& claim, const std::string& node, Done done) {
  client_.patch(controllers::kPersistentVolumeClaims, claim.meta.ns, claim.meta.name, "merge",
                json::object{{"metadata",
                              {{"uid", claim.meta.uid},
                               {"resourceVersion", std::to_string(claim.meta.revision)},
                               {"annotations", json::object{{controllers::kSelectedNode, node}}}}}},
                [done = std::move(done)](base::Result<json::value> result) {
                  done(result.ok() ? base::Status() : base::Status(result.error()));
                });
}
void PodWriter::clear_nomination(const controllers::ObjectRef& pod) {
  patch_status(pod, json::object{{"nominatedNodeName", nullptr}}, {});
}
void PodWriter::evict(const controllers::ObjectRef& victim, const std::string& preemptor_uid,
                      const std::string& scheduler_name, const std::string& node, Done done) {
  const std::string message = scheduler_name + ": preempting to accommodate a higher priority pod";
  json::object status{
      {"conditions", json::array{json::object{{"type", "DisruptionTarget"},
                                              {"status", "True"},
                                              {"reason", "PreemptionByScheduler"},
                                              {"message", message},
                                              {"lastTransitionTime", base::format_time(now_())}}}}};
  patch_status(
      victim, std::move(status),
      [this, victim, preemptor_uid, scheduler_name, node, done](base::Status marked) {
        if (!marked.ok()) return done(marked.error().kind == base::Kind::kNotFound ? base::Status() : marked);
        client_.remove(
            api::resources::pods, victim.ns, victim.name,
            json::object{{"preconditions", {{"uid", victim.uid}}}},
            [this, victim, preemptor_uid, scheduler_name, node, done](base::Result<json::value> result) {
              if (!result.ok())
                return done(result.error().kind == base::Kind::kNotFound ? base::Status()
                                                                         : base::Status(result.error()));
              events_.record(victim, "Normal", "Preempted",
                             fmt::format("Preempted by pod {} on node {}", preemptor_uid, node),
                             scheduler_name);
              done(base::Status());
            });
      });
}

}  // namespace master::scheduler
