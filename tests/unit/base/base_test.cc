#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/instant.h"
#include "base/json.h"
#include "base/json_limits.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sys.h"

namespace base {
namespace {

TEST(Error, SaysWhatOnWhatWhyAndWhatToDo) {
  Error e = sys::error_from_errno(ENOENT, "mount overlay on", "/merged", "pull the image again");
  e.reason = "lowerdir missing";
  EXPECT_EQ(e.message(), "mount overlay on /merged: lowerdir missing (ENOENT): pull the image again");
  EXPECT_EQ(e.kind, Kind::kNotFound);
  EXPECT_EQ(wrap(e, "start container", "web").message(),
            "start container web: mount overlay on /merged: lowerdir missing (ENOENT): pull the image again");
}

// Names and messages of strangers stand in our logs: one record is one line, and moves no cursor.
TEST(Log, ARecordIsOneLine) {
  log::init("test", log::Level::kInfo);
  ::testing::internal::CaptureStderr();
  log::info("pod {}: \tfine ä", "a\nb\r\x1b[2J\x7f");
  log::info("{}", std::string(100'000, 'x'));
  const std::string out = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(out.find("pod a\\nb\\r\\x1b[2J\\x7f: \tfine ä\n"), std::string::npos) << out.substr(0, 200);
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2);
  EXPECT_LT(out.size(), 17'000u);
}

TEST(Json, FindsDuplicateKeysWithTheirPaths) {
  std::vector<std::string> duplicates;
  auto v = parse_json(R"({"a":1,"b":[{"c":1},{"c":{"d":1,"d":2}}],"a":2})", &duplicates);
  ASSERT_TRUE(v.ok());
  EXPECT_EQ(duplicates, (std::vector<std::string>{"b[1].c.d", "a"}));
  duplicates.clear();
  EXPECT_TRUE(parse_json(R"({"a:b":"c:d","\"e\\":["\\\"f:","g\\"],"h":{"a:b":":"}})", &duplicates).ok());
  EXPECT_TRUE(duplicates.empty());
  EXPECT_TRUE(parse_json(R"({"a:b":"c:d","x":{"y":"\\","y":":"}})", &duplicates).ok());
  EXPECT_EQ(duplicates, (std::vector<std::string>{"x.y"}));
}
TEST(Json, RefusesWhatIsNotJson) {
  EXPECT_FALSE(parse_json("{").ok());
  EXPECT_FALSE(parse_json("{} x").ok());
  EXPECT_FALSE(parse_json("\"\xff\"").ok());
}
TEST(Json, OneLimitOfDepth) {
  auto lists = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  auto objects = [](size_t depth) {
    std::string out = "{}";
    for (size_t i = 1; i < depth; ++i) out = R"({"a":)" + out + "}";
    return out;
  };
  for (const auto& text : {lists(kMaxJsonDepth), objects(kMaxJsonDepth)}) {
    auto parsed = parse_json(text);
    ASSERT_TRUE(parsed.ok());
    EXPECT_TRUE(nests_within(*parsed));
    EXPECT_FALSE(nests_within(*parsed, kMaxJsonDepth - 1));
    EXPECT_EQ(to_json(parse_checked_json(text).value()), text);
  }
  for (const auto& text : {lists(kMaxJsonDepth + 1), objects(kMaxJsonDepth + 1)}) {
    EXPECT_EQ(parse_json(text).error().reason, kTooDeep);
    EXPECT_EQ(parse_checked_json(text).error().reason, kTooDeep);
    EXPECT_FALSE(nests_within(parse_json_carrier(text).value()));
  }
  EXPECT_TRUE(parse_json_carrier(lists(kMaxCarrierDepth)).ok());
  EXPECT_EQ(parse_json_carrier(lists(kMaxCarrierDepth + 1)).error().reason, kTooDeep);
  EXPECT_EQ(parse_json_carrier(std::string(3 << 20, '[')).error().reason, kTooDeep);
  EXPECT_TRUE(nests_within(1, 0));
  EXPECT_FALSE(nests_within(json::array(), 0));
}
TEST(Json, CheckedTextMayStillBeDamaged) {
  for (const char* text : {"", "{", "{\"a\":\"\xff\"}", "{} {}"})
    EXPECT_EQ(parse_checked_json(text).error().kind, Kind::kInvalid) << text;
  json::monotonic_resource arena;
  auto parsed = parse_checked_json(R"({"a":[1]})", &arena);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->storage().get(), &arena);
}

TEST(Clock, RoundTrips) {
  for (const char* text : {"2026-01-02T03:04:05Z", "1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z"})
    EXPECT_EQ(format_time(*parse_time(text)), text);
  EXPECT_EQ(format_micro_time(*parse_time("2026-01-02T03:04:05.123456Z")), "2026-01-02T03:04:05.123456Z");
  EXPECT_EQ(format_time(*parse_time("2026-01-02T03:04:05+01:00")), "2026-01-02T02:04:05Z");
  for (const char* text :
       {"", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05.Z"})
    EXPECT_FALSE(parse_time(text)) << text;
}

// base::Time ends in 2262; what the API writes does not.
TEST(Clock, AllYearsOfTheCalendar) {
  for (const char* text : {"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1677-09-21T00:12:43Z",
                           "2262-04-11T23:47:17Z", "2600-02-28T00:00:00Z", "9999-12-31T23:59:59Z"}) {
    auto instant = parse_instant(text);
    ASSERT_TRUE(instant) << text;
    EXPECT_EQ(format_instant(*instant, 0), text);
  }
  EXPECT_EQ(format_instant(*parse_instant("2300-01-01T00:00:00.123456789+05:30"), 6),
            "2299-12-31T18:30:00.123456Z");
  for (const char* text :
       {"2023-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01t00:00:00z",
        "10000-01-01T00:00:00Z", "0000-01-01T00:00:00+01:00", "2026-1-01T00:00:00Z", " 026-01-01T00:00:00Z"})
    EXPECT_FALSE(parse_instant(text)) << text;
  // As far away as base::Time reaches, on the right side.
  EXPECT_GT(*parse_time("9999-12-31T23:59:59Z"), *parse_time("2200-01-01T00:00:00Z"));
  EXPECT_LT(*parse_time("0001-01-01T00:00:00Z"), *parse_time("1700-01-01T00:00:00Z"));
}

TEST(Process, FeedsAndReads) {
  auto result = run_command({"sh", "-c", "cat; echo err >&2; exit 3"}, "hello");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->out, "hello");
  EXPECT_EQ(result->err, "err\n");
  EXPECT_EQ(result->status.code, 3);
  EXPECT_FALSE(run_command({"/no/such/program"}).ok());
}

TEST(Sys, PassesFds) {
  auto pair = sys::socketpair(SOCK_SEQPACKET).value();
  auto pipe = sys::pipe().value();
  int fd = pipe.write.get();
  ASSERT_TRUE(sys::send_with_fds(pair.read.get(), "x", {&fd, 1}).ok());
  auto message = sys::recv_with_fds(pair.write.get()).value();
  ASSERT_EQ(message.fds.size(), 1u);
  ASSERT_TRUE(sys::write_all(message.fds[0].get(), "through").ok());
  message.fds.clear();
  pipe.write.reset();
  EXPECT_EQ(sys::read_all(pipe.read.get()).value(), "through");
}

TEST(Sys, ReplacesFilesWhole) {
  std::string dir = ::testing::TempDir() + "sampan-base-test";
  ASSERT_TRUE(sys::mkdir_all(dir + "/a/b").ok());
  ASSERT_TRUE(sys::write_file_atomic(dir + "/a/b/f", "one").ok());
  ASSERT_TRUE(sys::write_file_atomic(dir + "/a/b/f", "two").ok());
  EXPECT_EQ(sys::read_file(dir + "/a/b/f").value(), "two");
  EXPECT_EQ(sys::list_dir(dir + "/a/b").value(), std::vector<std::string>{"f"});
  EXPECT_EQ(sys::read_file(dir + "/none").error().kind, Kind::kNotFound);
  EXPECT_TRUE(sys::remove_all(dir).ok());
  EXPECT_TRUE(sys::remove_all(dir).ok());
  EXPECT_FALSE(sys::exists(dir));
}
TEST(Sys, TheHardLimitOfOpenFilesIsMadeUseOf) {
  struct rlimit limit {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max / 2;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  auto raised = sys::raise_open_files();
  ASSERT_TRUE(raised.ok());
  EXPECT_EQ(*raised, limit.rlim_max);
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
}

}  // namespace
}  // namespace base
