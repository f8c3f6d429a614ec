#include "kubelet/node/pull_secrets.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/base64.h"
#include "kubelet/node/pull_records.h"

namespace kubelet {
namespace {

SecretRef ref(const std::string& name) { return {.ns = "team", .name = name, .uid = "uid-" + name}; }
std::string entry(const std::string& place, const std::string& user) {
  return "\"" + place + "\":{\"username\":\"" + user + "\",\"password\":\"p\"}";
}
base::Status add(PullKeyring& keyring, const std::string& name, const std::string& entries) {
  return keyring.add(ref(name), "kubernetes.io/dockerconfigjson",
                     {{".dockerconfigjson", "{\"auths\":{" + entries + "}}"}});
}
std::string users(const PullKeyring& keyring, const std::string& repository) {
  std::string out;
  for (const auto& one : keyring.find(repository)) out += (out.empty() ? "" : " ") + one.username;
  return out;
}

TEST(PullKeyring, HostsPortsPathsAndWildcards) {
  PullKeyring keyring;
  ASSERT_TRUE(
      add(keyring, "a",
          entry("registry.example", "host") + "," + entry("registry.example/team", "team") + "," +
              entry("registry.example/team/app", "app") + "," + entry("*.wild.example", "wild") + "," +
              entry("*.*.wild.example:5000", "port") + "," + entry("https://schemed.example/v2/", "schemed") +
              "," + entry("r*istry-[ab].example", "glob") + "," + entry("https://index.docker.io/v1/", "hub"))
          .ok());
  EXPECT_EQ(users(keyring, "registry.example/team/app"), "app team host");  // the most specific first
  EXPECT_EQ(users(keyring, "registry.example/team/other"), "team host");
  EXPECT_EQ(users(keyring, "registry.example/x"), "host");
  EXPECT_EQ(users(keyring, "registry.example:443/x"), "");
  EXPECT_EQ(users(keyring, "a.wild.example/x"), "wild");
  EXPECT_EQ(users(keyring, "a.b.wild.example/x"), "");  // one star is one part
  EXPECT_EQ(users(keyring, "a.b.wild.example:5000/x"), "port");
  EXPECT_EQ(users(keyring, "wild.example/x"), "");
  EXPECT_EQ(users(keyring, "schemed.example/x"), "schemed");
  EXPECT_EQ(users(keyring, "registry-b.example/x"), "glob");
  EXPECT_EQ(users(keyring, "registry-c.example/x"), "");
  EXPECT_EQ(users(keyring, "docker.io/library/nginx"), "hub");
  EXPECT_EQ(users(keyring, "evil.example/registry.example/x"), "");
}

TEST(PullKeyring, SeveralSecretsForOnePlaceInOrder) {
  PullKeyring keyring;
  ASSERT_TRUE(add(keyring, "one", entry("r.example", "first")).ok());
  ASSERT_TRUE(add(keyring, "two", entry("r.example", "second")).ok());
  EXPECT_EQ(users(keyring, "r.example/x"), "first second");
  EXPECT_EQ(keyring.find("r.example/x")[1].secret.name, "two");
  EXPECT_NE(keyring.find("r.example/x")[0].hash, keyring.find("r.example/x")[1].hash);
}

TEST(PullKeyring, FormsOfASecret) {
  PullKeyring keyring;
  const std::string packed = base::base64_encode("user:pass:word");
  ASSERT_TRUE(
      keyring
          .add(ref("a"), "kubernetes.io/dockercfg",
               {{".dockercfg", "{\"old.example\":{\"auth\":\"" + packed + "\",\"username\":\"not\"}}"}})
          .ok());
  auto found = keyring.find("old.example/x");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].username, "user");
  EXPECT_EQ(found[0].password, "pass:word");
  std::string bare = packed;
  while (bare.ends_with('=')) bare.pop_back();
  ASSERT_TRUE(add(keyring, "b", "\"bare.example\":{\"auth\":\"" + bare + "\"}").ok());
  EXPECT_EQ(users(keyring, "bare.example/x"), "user");
  // Of another type it is no credential, whatever it holds.
  ASSERT_TRUE(keyring
                  .add(ref("c"), "Opaque",
                       {{".dockerconfigjson", "{\"auths\":{" + entry("opaque.example", "u") + "}}"}})
                  .ok());
  EXPECT_EQ(users(keyring, "opaque.example/x"), "");
}

TEST(PullKeyring, WhatIsBrokenIsSaidWithoutQuotingIt) {
  for (const std::string& text :
       {std::string("s3cret"), std::string("{\"auths\":[\"s3cret\"]}"),
        std::string("{\"auths\":{\"r\":\"s3cret\"}}"),
        std::string("{\"auths\":{\"r\":{\"auth\":\"s3cret\"}}}"), std::string("{\"auths\":\"s3cret\"}")}) {
    PullKeyring keyring;
    auto status = keyring.add(ref("a"), "kubernetes.io/dockerconfigjson", {{".dockerconfigjson", text}});
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_NE(status.error().message().find("team/a"), std::string::npos);
    EXPECT_EQ(status.error().message().find("s3cret"), std::string::npos) << status.error().message();
  }
  PullKeyring keyring;
  EXPECT_TRUE(keyring.add(ref("a"), "kubernetes.io/dockerconfigjson", {}).ok());
  EXPECT_TRUE(keyring.add(ref("a"), "kubernetes.io/dockerconfigjson", {{".dockerconfigjson", "{}"}}).ok());
}

TEST(PullKeyring, Repositories) {
  EXPECT_EQ(repository_of("docker.io/library/nginx:1.2"), "docker.io/library/nginx");
  EXPECT_EQ(repository_of("r.example:5000/app"), "r.example:5000/app");
  EXPECT_EQ(repository_of("r.example:5000/app:v1@sha256:00"), "r.example:5000/app");
}

// ---- who may use an image that is there -------------------------------------------------------------

PullCredential credential(const std::string& secret, const std::string& hash) {
  return {.username = "u", .password = "p", .secret = ref(secret), .hash = hash};
}

TEST(PullRecord, WhoMayUseAnImageThatIsThere) {
  PullRecord record;
  record.digest = "sha256:1";
  std::optional<PullRecord::Access::Login> learned;
  EXPECT_TRUE(must_verify(record, "r/app", {}, &learned));  // nobody is known yet
  const PullCredential mine = credential("a", "h1");
  EXPECT_TRUE(add_access(record, "r/app", &mine));
  EXPECT_FALSE(add_access(record, "r/app", &mine));         // nothing new
  EXPECT_TRUE(must_verify(record, "r/app", {}, &learned));  // without credentials
  EXPECT_TRUE(must_verify(record, "r/app", {credential("b", "h2")}, &learned));
  EXPECT_TRUE(must_verify(record, "r/other", {mine}, &learned));  // the same bytes under another name
  EXPECT_FALSE(must_verify(record, "r/app", {mine}, &learned));
  EXPECT_FALSE(learned);
  EXPECT_FALSE(must_verify(record, "r/app", {credential("b", "h1")}, &learned));  // the same login elsewhere
  ASSERT_TRUE(learned);
  EXPECT_EQ(learned->secret.name, "b");
  learned.reset();
  EXPECT_FALSE(must_verify(record, "r/app", {credential("a", "h9")}, &learned));  // the same secret, rotated
  EXPECT_EQ(learned->hash, "h9");
  EXPECT_TRUE(add_access(record, "r/app", nullptr));  // pulled without any: everybody's
  learned.reset();
  EXPECT_FALSE(must_verify(record, "r/app", {}, &learned));
  EXPECT_FALSE(add_access(record, "r/app", &mine));
}

TEST(PullRecord, LoginsAreBounded) {
  PullRecord record;
  for (int i = 0; i < 500; ++i) {
    const PullCredential one = credential("s" + std::to_string(i), "h" + std::to_string(i));
    EXPECT_TRUE(add_access(record, "r/app", &one));
  }
  EXPECT_EQ(record.by_repository["r/app"].logins.size(), 100u);
}

TEST(PullRecord, ReadsBackWhatItWrote) {
  PullRecord record;
  record.digest = "sha256:1";
  const PullCredential mine = credential("a", "h1");
  add_access(record, "r/app", &mine);
  add_access(record, "r/free", nullptr);
  const auto text = encode_pull_record(record);
  EXPECT_EQ(base::to_json(text).find("\"p\""), std::string::npos);  // no password
  auto back = decode_pull_record(text);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(base::to_json(encode_pull_record(*back)), base::to_json(text));
  for (const char* bad : {"{}", "[]", "1", "{\"imageRef\":3}"})
    EXPECT_FALSE(decode_pull_record(*base::parse_json(bad)).ok()) << bad;
  EXPECT_TRUE(decode_pull_record(
                  *base::parse_json(
                      R"({"imageRef":"x","credentialMapping":{"a":3,"b":{"kubernetesSecrets":[1,{}]}}})"))
                  .ok());
}

// On disk: an intent before, a record after; what a killed kubelet began is nobody's.
class PullRecordsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/pull-records-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
  }
  /// A record's work may still be removing its own file: one that vanished under the walk is no fault.
  void TearDown() override {
    std::error_code error;
    for (int i = 0; i < 100 && std::filesystem::exists(directory); ++i)
      std::filesystem::remove_all(directory, error);
    EXPECT_FALSE(std::filesystem::exists(directory)) << error.message();
  }
  void wait(bool& done) {
    for (int i = 0; i < 1000 && !done; ++i) loop.run_once(std::chrono::milliseconds(10));
    EXPECT_TRUE(done);
  }
  void load(PullRecords& records) {
    auto left = PullRecords::read(directory, present);
    ASSERT_TRUE(left.ok());
    records.know(std::move(*left));
  }
  void begin(PullRecords& records, const std::string& image) {
    bool done = false;
    records.begin(image, [&](base::Status status) {
      EXPECT_TRUE(status.ok());
      done = true;
    });
    wait(done);
  }
  base::Loop loop;
  Background background{loop};
  std::string directory;
  const std::function<std::optional<std::string>(const std::string&)> present = [](const std::string&) {
    return std::optional<std::string>("sha256:1");
  };
};

TEST_F(PullRecordsTest, PreloadedImagesAreEverybodys) {
  PullRecords records(background, directory);
  load(records);
  EXPECT_FALSE(records.must_pull("r/app:1", "sha256:1", {}));
}

TEST_F(PullRecordsTest, APulledOneIsNotAndSurvivesARestart) {
  const PullCredential mine = credential("a", "h1");
  {
    PullRecords records(background, directory);
    load(records);
    begin(records, "r/app:1");
    EXPECT_TRUE(records.must_pull("r/app:1", "sha256:1", {}));  // under way
    bool done = false;
    records.pulled("r/app:1", "sha256:1", &mine, [&](base::Status status) {
      EXPECT_TRUE(status.ok());
      done = true;
    });
    wait(done);
  }
  PullRecords again(background, directory);
  load(again);
  EXPECT_TRUE(again.must_pull("r/app:1", "sha256:1", {}));
  EXPECT_FALSE(again.must_pull("r/app:1", "sha256:1", {mine}));
  again.prune({});
  EXPECT_FALSE(again.must_pull("r/app:1", "sha256:1", {}));
}

TEST_F(PullRecordsTest, AKilledKubeletsPullIsVerified) {
  {
    PullRecords records(background, directory);
    load(records);
    begin(records, "r/app:1");
  }
  PullRecords again(background, directory);
  load(again);
  EXPECT_TRUE(again.must_pull("r/app:1", "sha256:1", {}));
}

TEST_F(PullRecordsTest, DamagedFilesStopNoStart) {
  std::filesystem::create_directories(directory + "/pulled");
  std::filesystem::create_directories(directory + "/pulling");
  for (const char* name : {"/pulled/sha256-1", "/pulled/x", "/pulling/sha256-2"}) {
    std::ofstream(directory + name) << "{\"imageRef\":";
  }
  PullRecords records(background, directory);
  load(records);
}

}  // namespace
}  // namespace kubelet
