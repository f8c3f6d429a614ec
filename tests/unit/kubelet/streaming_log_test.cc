#include "kubelet/streaming/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/sys.h"

namespace kubelet {
namespace {

TEST(LogLine, IsSelectedAndRendered) {
  const char* out = "2026-01-02T15:04:05.123456789Z stdout F hello  world";
  LogOptions all;
  EXPECT_EQ(render_log_line(out, all), "hello  world\n");
  EXPECT_EQ(render_log_line("2026-01-02T15:04:05Z stderr P part", all), "part");
  EXPECT_EQ(render_log_line("2026-01-02T15:04:05Z stdout F ", all), "\n");
  EXPECT_EQ(render_log_line("2026-01-02T15:04:05Z stdout F", all), "\n");
  EXPECT_EQ(render_log_line("not a CRI line", all), "not a CRI line\n");
  EXPECT_EQ(render_log_line("garbage", all), "garbage\n");
  LogOptions stamps = all;
  stamps.timestamps = true;
  EXPECT_EQ(render_log_line(out, stamps), "2026-01-02T15:04:05.123456789Z hello  world\n");
  EXPECT_EQ(render_log_line(out, stamps, false), "hello  world\n") << "the rest of a long line";
  LogOptions since = all;
  since.since = base::parse_time("2026-01-02T15:04:06Z");
  EXPECT_EQ(render_log_line(out, since), "");
  since.since = base::parse_time("2026-01-02T15:04:05.123456789Z");
  EXPECT_EQ(render_log_line(out, since), "hello  world\n");
  LogOptions errors = all;
  errors.out = false;
  EXPECT_EQ(render_log_line(out, errors), "");
}

TEST(TailOffset, CountsFromTheEnd) {
  base::UniqueFd fd(::memfd_create("log", MFD_CLOEXEC));
  std::string text = "one\ntwo\nthree\n";
  ASSERT_TRUE(base::sys::write_all(fd.get(), text).ok());
  auto from = [&](int64_t lines) { return text.substr(tail_offset(fd.get(), text.size(), lines).value()); };
  EXPECT_EQ(from(0), "");
  EXPECT_EQ(from(1), "three\n");
  EXPECT_EQ(from(2), "two\nthree\n");
  EXPECT_EQ(from(3), text);
  EXPECT_EQ(from(4), text);
  EXPECT_EQ(from(-1), text);
  std::string more;
  for (int i = 0; i < 50'000; ++i) more += "line " + std::to_string(i) + "\n";
  more += "open";
  ASSERT_TRUE(base::sys::write_all(fd.get(), more).ok());
  text += more;
  EXPECT_EQ(from(1), "open");
  EXPECT_EQ(from(2), "line 49999\nopen");
  EXPECT_TRUE(from(20'001).starts_with("line 30000\n"));
}
TEST(TailOffset, PiecesOfALineAreOne) {
  const std::string stamp = "2026-01-02T15:04:05.123456789Z ";
  const std::string first = stamp + "stdout F one\n";
  const std::string second =
      stamp + "stdout P " + std::string(70'000, 'x') + "\n" + stamp + "stdout P y\n" + stamp + "stdout F z\n";
  const std::string third = stamp + "stderr P open\n";
  const std::string text = first + second + third;
  base::UniqueFd fd(::memfd_create("log", MFD_CLOEXEC));
  ASSERT_TRUE(base::sys::write_all(fd.get(), text).ok());
  auto from = [&](int64_t lines, size_t size) { return tail_offset(fd.get(), size, lines).value(); };
  EXPECT_EQ(from(1, text.size()), first.size() + second.size());
  EXPECT_EQ(from(2, text.size()), first.size());
  EXPECT_EQ(from(3, text.size()), 0u);
  EXPECT_EQ(from(1, first.size() + second.size()), first.size());
  EXPECT_EQ(from(9, text.size()), 0u);
}
}  // namespace
}  // namespace kubelet
