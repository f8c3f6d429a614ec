#include "master/registry/conversions.h"

#include <gtest/gtest.h>

namespace master {
namespace {

namespace json = base::json;
json::value parsed(std::string_view text) { return base::parse_json(text).value(); }

TEST(Conversions, EventsKeepEveryFieldUnderItsOtherName) {
  json::value shown = parsed(
      R"({"metadata":{"name":"e"},"regarding":{"name":"p"},"note":"n","reason":"R","deprecatedCount":2,)"
      R"("deprecatedSource":{"component":"c"},"deprecatedFirstTimestamp":"2026-01-01T00:00:00Z",)"
      R"("deprecatedLastTimestamp":"2026-01-01T00:00:00Z","reportingController":"x","reportingInstance":"i"})");
  json::value stored = event_to_core(shown);
  EXPECT_EQ(base::to_json(stored),
            R"({"metadata":{"name":"e"},"involvedObject":{"name":"p"},"message":"n","reason":"R","count":2,)"
            R"("source":{"component":"c"},"firstTimestamp":"2026-01-01T00:00:00Z",)"
            R"("lastTimestamp":"2026-01-01T00:00:00Z","reportingComponent":"x","reportingInstance":"i"})");
  EXPECT_EQ(event_from_core(stored), shown);
}

TEST(Conversions, AutoscalersOfV1BecomeAMetric) {
  json::value shown =
      parsed(R"({"metadata":{"name":"h"},"spec":{"maxReplicas":5,"targetCPUUtilizationPercentage":70},)"
             R"("status":{"currentReplicas":1,"currentCPUUtilizationPercentage":30}})");
  json::value stored = autoscaler_to_v2(shown);
  EXPECT_EQ(
      base::to_json(base::find_path(stored, "spec", "metrics") ? stored.at("spec").at("metrics")
                                                               : json::value()),
      R"([{"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":70,"type":"Utilization"}}}])");
  EXPECT_EQ(base::to_json(stored.at("status").at("currentMetrics")),
            R"([{"type":"Resource","resource":{"name":"cpu","current":{"averageUtilization":30}}}])");
  EXPECT_EQ(autoscaler_to_v1(stored), shown);
}

TEST(Conversions, WhatV1CannotSayRidesInAnnotations) {
  json::value stored = parsed(
      R"({"metadata":{"name":"h","annotations":{"mine":"1"}},"spec":{"maxReplicas":5,"behavior":{"scaleUp":{"selectPolicy":"Max"}},"metrics":[)"
      R"({"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":60,"type":"Utilization"}}},)"
      R"({"type":"Pods","pods":{"metric":{"name":"rps"},"target":{"averageValue":"100","type":"AverageValue"}}},)"
      R"({"type":"Object","object":{"describedObject":{"kind":"Ingress","name":"i"},"metric":{"name":"hits"},"target":{"value":"2k","type":"Value"}}}]},)"
      R"("status":{"desiredReplicas":2,"conditions":[{"type":"AbleToScale","status":"True"}]}})");
  json::value shown = autoscaler_to_v1(stored);
  const json::value& annotations = shown.at("metadata").at("annotations");
  EXPECT_EQ(
      base::string_at(annotations, "autoscaling.alpha.kubernetes.io/metrics"),
      R"([{"type":"Pods","pods":{"metricName":"rps","targetAverageValue":"100"}},)"
      R"({"type":"Object","object":{"target":{"kind":"Ingress","name":"i"},"metricName":"hits","targetValue":"2k"}}])");
  EXPECT_EQ(base::as_int(base::find_path(shown, "spec", "targetCPUUtilizationPercentage")), 60);
  EXPECT_EQ(base::find_path(shown, "spec", "behavior"), nullptr);
  EXPECT_EQ(autoscaler_to_v2(shown), stored);
}

TEST(Conversions, AnnotationsOfOtherTypesAreNotOurs) {
  for (const char* metrics :
       {R"([{\"type\":\"Pods\",\"pods\":{\"metricName\":\"rps\",\"targetAverageValue\":{\"a\":[]}}}])", "[7]",
        "7", "[", R"([{\"type\":\"Object\",\"object\":{\"target\":[]}}])"}) {
    json::value sent = parsed(
        R"({"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{"name":"h","annotations":{"autoscaling.alpha.kubernetes.io/metrics":")" +
        std::string(metrics) + R"("}},"spec":{"maxReplicas":5,"targetCPUUtilizationPercentage":70}})");
    json::value stored = autoscaler_to_v2(sent);
    EXPECT_EQ(
        base::to_json(stored.at("spec").at("metrics")),
        R"([{"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":70,"type":"Utilization"}}}])")
        << metrics;
    EXPECT_EQ(base::find_path(stored, "metadata", "annotations"), nullptr) << metrics;
  }
}

}  // namespace
}  // namespace master
