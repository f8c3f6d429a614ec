#include "master/controllers/replica_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

static ReplicaOwner owner(int replicas, int min_ready = 0) {
  ReplicaOwner out;
  out.meta = {"default", "web", "u1", 1, 3, ago(5000), false};
  out.kind = "ReplicaSet";
  out.api_version = "apps/v1";
  out.selector = api::selector_of(Labels{{"app", "web"}});
  out.pod_template =
      base::parse_json(R"({"metadata":{"labels":{"app":"web","tier":"x"}},"spec":{"containers":[]}})")
          .value();
  out.replicas = replicas;
  out.min_ready_seconds = min_ready;
  return out;
}

TEST(ReplicaPlan, CreatesWhatIsMissing) {
  EXPECT_EQ(plan_replicas(owner(3), pods("a owner=u1 app=web tier=x ready=10"), kNow).text(),
            "create 2\nstatus replicas=1 fullyLabeled=1 ready=1 available=1 observedGeneration=3\n");
}
TEST(ReplicaPlan, DeadAndLeavingPodsDoNotCount) {
  EXPECT_EQ(plan_replicas(owner(2), pods(R"(a owner=u1 app=web phase=Failed
                                            b owner=u1 app=web deleting ready=5
                                            c owner=u1 app=web)"),
                          kNow)
                .text(),
            "create 1\nstatus replicas=1 fullyLabeled=0 ready=0 available=0 observedGeneration=3\n");
}
TEST(ReplicaPlan, AdoptsReleasesAndLeavesOthersAlone) {
  EXPECT_EQ(plan_replicas(owner(2), pods(R"(orphan app=web
                                            stray owner=u1 app=db
                                            foreign owner=u2 app=web
                                            mine owner=u1 app=web)"),
                          kNow)
                .text(),
            "adopt orphan\nrelease stray\nstatus replicas=2 fullyLabeled=0 ready=0 available=0 "
            "observedGeneration=3\n");
}
TEST(ReplicaPlan, DeletesInKubernetesOrder) {
  EXPECT_EQ(
      plan_replicas(owner(1), pods(R"(old owner=u1 app=web node=n1 ready=900 created=1000
                                            young owner=u1 app=web node=n2 ready=900 created=950
                                            unassigned owner=u1 app=web phase=Pending
                                            pending owner=u1 app=web node=n3 phase=Pending
                                            unready owner=u1 app=web node=n4
                                            fresh owner=u1 app=web node=n5 ready=10
                                            cheap owner=u1 app=web node=n6 ready=999 cost=-5
                                            restarted owner=u1 app=web node=n7 ready=900 restarts=3 created=2000
                                            crowded1 owner=u1 app=web node=n8 ready=999 created=1500
                                            crowded2 owner=u1 app=web node=n8 ready=999 created=1400)"),
                    kNow)
          .text(),
      "delete unassigned\ndelete pending\ndelete unready\ndelete cheap\ndelete crowded2\ndelete crowded1\n"
      "delete fresh\ndelete restarted\ndelete young\n"
      "status replicas=10 fullyLabeled=0 ready=7 available=7 observedGeneration=3\n");
}
TEST(ReplicaPlan, AvailableAfterMinReadySeconds) {
  EXPECT_EQ(
      plan_replicas(owner(2, 30), pods("a owner=u1 app=web ready=40\nb owner=u1 app=web ready=10"), kNow)
          .text(),
      "status replicas=2 fullyLabeled=0 ready=2 available=1 observedGeneration=3\nagain in 20000ms\n");
}
TEST(ReplicaPlan, AnOwnerOnItsWayOutOnlyCounts) {
  ReplicaOwner leaving = owner(3);
  leaving.meta.deleting = true;
  EXPECT_EQ(plan_replicas(leaving, pods("a owner=u1 app=web\nb app=web"), kNow).text(),
            "status replicas=1 fullyLabeled=0 ready=0 available=0 observedGeneration=3\n");
}
TEST(ReplicaPlan, ABurstIsBounded) { EXPECT_EQ(plan_replicas(owner(9000), {}, kNow).create, kReplicaBurst); }

TEST(ReplicaPlan, ThePodCarriesItsOwner) {
  EXPECT_EQ(
      base::to_json(pod_from_template(owner(1))),
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","labels":{"app":"web","tier":"x"},)"
      R"("ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web","uid":"u1","controller":true,"blockOwnerDeletion":true}],)"
      R"("generateName":"web-"},"spec":{"containers":[]}})");
}

}  // namespace master::controllers
