// A Job lived through with crashes at every point: rounds whose acts are cut off anywhere, Pods that fail,
// succeed and are deleted by others. In the end the counters say what happened, and nothing is left held.
#include "master/controllers/job_plan.h"

#include "tests/prop/draw.h"
#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;
using prop::Draw;
using prop::each_seed;

namespace {

struct World {
  Draw& draw;
  json::value job;
  base::Time now = kNow;
  std::map<std::string, Pod> pods;
  int born = 0, succeeded = 0, failed = 0;  // what really happened

  World(Draw& drawn, const std::string& spec) : draw(drawn) {
    job = base::parse_json(
              R"({"metadata":{"namespace":"default","name":"j","uid":"u1"},"status":{},"spec":)" + spec + "}")
              .value();
    json::object& in = job.get_object()["spec"].get_object();
    in["template"] =
        base::parse_json(
            R"({"metadata":{"labels":{"app":"j"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c"}]}})")
            .value();
    in["selector"] = base::parse_json(R"({"matchLabels":{"app":"j"}})").value();
  }
  JobPod& part(Pod& pod) { return const_cast<JobPod&>(*pod.job); }
  void end(Pod& pod, const char* phase) {
    pod.phase = phase;
    part(pod).finished_at = now;
  }
  // What kubelets and users do between two rounds.
  void live() {
    now += std::chrono::seconds(draw.upto(300));
    for (auto at = pods.begin(); at != pods.end();) {
      Pod& pod = at->second;
      if (!pod.finished() && pod.meta.deleting) end(pod, "Failed");
      else if (!pod.finished() && draw.chance(50)) end(pod, draw.chance(60) ? "Succeeded" : "Failed");
      else if (draw.chance(5)) pod.meta.deleting = true;
      if (pod.meta.deleting && !pod.job->tracked && (pod.finished() || draw.chance(50))) at = pods.erase(at);
      else ++at;
    }
  }
  // One round; each act may be the last before a crash. Returns whether there was anything to do.
  bool round() {
    std::vector<std::shared_ptr<const Pod>> view;
    for (const auto& [name, pod] : pods) view.push_back(std::make_shared<Pod>(pod));
    const JobPlan plan = plan_job(*Job::reader(kJobs)(job), view, now);
    auto crash = [&] { return draw.chance(5); };
    if (crash()) return true;
    if (plan.status_changed) {
      json::object& status = job.get_object()["status"].get_object();
      for (const auto& item : plan.status) {
        if (item.value().is_null()) status.erase(item.key());
        else status[item.key()] = item.value();
      }
      if (json::value* uncounted = status.if_contains("uncountedTerminatedPods"))
        for (const char* key : {"succeeded", "failed"})
          if (json::value* list = uncounted->get_object().if_contains(key); list && list->is_null())
            uncounted->get_object().erase(key);
    }
    for (const std::string& name : plan.untrack) {
      if (crash()) return true;
      Pod& pod = pods.at(name);
      EXPECT_TRUE(pod.job->tracked) << name;
      part(pod).tracked = false;
      // A Pod that is let go while it runs was too many; all others are counted by now, or ever.
      if (pod.phase == "Succeeded") ++succeeded;
      else if (pod.phase == "Failed" || pod.meta.deleting) ++failed;
    }
    for (const std::string& name : plan.remove) {
      if (crash()) return true;
      if (auto at = pods.find(name); at != pods.end()) at->second.meta.deleting = true;
    }
    for (const JobPlan::Create& create : plan.create) {
      if (crash()) return true;
      Pod pod = *golden::pod(fmt::format("p{} app=j owner=u1 phase=Pending", born++));
      auto job_part = std::make_shared<JobPod>();
      job_part->tracked = true;
      job_part->index = create.index;
      job_part->index_failures = create.failures;
      pod.job = job_part;
      pods.emplace(pod.meta.name, pod);
    }
    return plan.status_changed || !plan.untrack.empty() || !plan.remove.empty() || !plan.create.empty() ||
           plan.again;
  }
  int64_t status(const char* key) { return base::as_int(base::find_path(job, "status", key)); }
};

}  // namespace

TEST(PropJobs, CrashesNeverMiscount) {
  each_seed(400, [](Draw& draw) {
    const bool indexed = draw.chance(50), per_index = indexed && draw.chance(50);
    const int completions = 1 + draw.upto(6), limit = draw.upto(3);
    std::string spec = fmt::format(R"("parallelism":{},"completions":{})", 1 + draw.upto(4), completions);
    if (indexed) spec += R"(,"completionMode":"Indexed")";
    if (per_index) spec += fmt::format(R"(,"backoffLimitPerIndex":{},"backoffLimit":2147483647)", limit);
    else spec += fmt::format(R"(,"backoffLimit":{})", draw.chance(50) ? 1000 : limit);
    if (draw.chance(50)) spec += R"(,"podReplacementPolicy":"Failed")";
    World world(draw, "{" + spec + "}");
    bool ended = false;
    int at_most_running = 0;
    for (int i = 0; i < 3000 && !ended; ++i) {
      world.round();
      int running = 0;
      for (const auto& [name, pod] : world.pods) running += pod.active();
      at_most_running = std::max(at_most_running, running);
      world.live();
      ended = Job::reader(kJobs)(world.job)->finished();
    }
    ASSERT_TRUE(ended) << base::to_json(world.job);
    const auto job = Job::reader(kJobs)(world.job);
    EXPECT_LE(at_most_running, job->parallelism);
    for (int i = 0; i < 100; ++i) world.round();
    for (const auto& [name, pod] : world.pods) EXPECT_FALSE(pod.job->tracked) << name << " is held for ever";
    EXPECT_TRUE(!job->condition("Complete") || world.status("succeeded") >= completions);
    if (indexed) {
      const IndexSet done = IndexSet::parse(base::string_at(job->status, "completedIndexes"), completions);
      EXPECT_EQ(done.count(), world.status("succeeded"));
    } else {
      EXPECT_EQ(world.status("succeeded"), world.succeeded) << base::to_json(world.job);
    }
    EXPECT_EQ(world.status("failed"), world.failed) << base::to_json(world.job);
    EXPECT_FALSE(job->condition("Failed") && world.failed == 0);
  });
}

}  // namespace master::controllers
