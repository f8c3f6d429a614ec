#include "master/controllers/account_secret_plan.h"

#include <gtest/gtest.h>

namespace master::controllers {
namespace {

std::string plan(const char* type, const char* annotations, const char* data, const char* account_uid,
                 const char* more = "") {
  auto object = base::parse_json(fmt::format(
      R"({{"metadata":{{"namespace":"a","name":"t","uid":"s1"{},"annotations":{}}},"type":"{}","data":{}}})",
      more, annotations, type, data));
  auto secret = Secret::reader({})(object.value());
  const ServiceAccount account{{"a", "robot", account_uid ? account_uid : "", 1, 1, {}, false}};
  return plan_account_secret(*secret, account_uid ? &account : nullptr).text();
}
constexpr const char* kToken = "kubernetes.io/service-account-token";
constexpr const char
    *kNamed = R"({"kubernetes.io/service-account.name":"robot"})",
    *kBound = R"({"kubernetes.io/service-account.name":"robot","kubernetes.io/service-account.uid":"u1"})";
constexpr const char* kWhole = R"({"token":"dA==","ca.crt":"Yw==","namespace":"YQ=="})";

TEST(AccountSecretPlan, ANewOneIsFilledOnceItsAccountIsThere) {
  EXPECT_EQ(plan(kToken, kNamed, "null", nullptr), "") << "it may come before its account";
  EXPECT_EQ(plan(kToken, kNamed, "null", "u1"), "fill for u1 with a token\n");
  EXPECT_EQ(plan(kToken, kNamed, kWhole, "u1"), "fill for u1\n") << "whose it is was not said yet";
}
TEST(AccountSecretPlan, WhatIsMissingComesBackAndAWholeOneIsLeft) {
  EXPECT_EQ(plan(kToken, kBound, kWhole, "u1"), "");
  EXPECT_EQ(plan(kToken, kBound, R"({"token":"dA==","namespace":"YQ=="})", "u1"), "fill for u1\n");
  EXPECT_EQ(plan(kToken, kBound, R"({"token":"","ca.crt":"Yw==","namespace":"YQ=="})", "u1"),
            "fill for u1 with a token\n");
  EXPECT_EQ(plan(kToken, kBound, R"(["token"])", "u1"), "fill for u1 with a token\n");
}
TEST(AccountSecretPlan, ItGoesWithItsAccount) {
  EXPECT_EQ(plan(kToken, kBound, kWhole, nullptr), "remove\n");
  EXPECT_EQ(plan(kToken, kBound, kWhole, "u2"), "remove\n") << "another of its name is another";
  EXPECT_EQ(plan(kToken, kBound, kWhole, nullptr, R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")"), "");
}
TEST(AccountSecretPlan, OtherSecretsAreNobodysConcern) {
  EXPECT_EQ(plan("Opaque", kBound, kWhole, nullptr), "");
  EXPECT_TRUE(Secret::terms(*Secret::reader({})(base::parse_json(R"({"type":"Opaque"})").value())).empty());
}

}  // namespace
}  // namespace master::controllers
