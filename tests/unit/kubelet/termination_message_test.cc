#include "kubelet/pod/termination_message.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"
#include "kubelet/node/utf8.h"

namespace kubelet {
namespace {

class TerminationMessage : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/termination-XXXXXX";
    dir_ = ::mkdtemp(path);
    path_ = dir_ + "/file";
  }
  void TearDown() override { EXPECT_TRUE(base::sys::remove_all(dir_).ok()); }
  void write(const std::string& text) { ASSERT_TRUE(base::sys::write_file_atomic(path_, text, 0644).ok()); }
  static std::string line(const std::string& text, char tag = 'F') {
    return std::string("2026-01-02T15:04:05.123456789Z stdout ") + tag + " " + text + "\n";
  }
  std::string dir_, path_;
};

TEST_F(TerminationMessage, IsTheEndOfTheFile) {
  EXPECT_EQ(termination_file(path_), "");
  write("done");
  EXPECT_EQ(termination_file(path_), "done");
  write(std::string(3000, 'a') + std::string(3000, 'b'));
  EXPECT_EQ(termination_file(path_), std::string(1096, 'a') + std::string(3000, 'b'));
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0666), 0);
  EXPECT_EQ(termination_file(path_), "") << "nobody waits for a FIFO's writer";
}

TEST_F(TerminationMessage, OfALogIsItsLastLines) {
  EXPECT_EQ(termination_log(path_), "");
  write(line("one") + line("two", 'P'));
  EXPECT_EQ(termination_log(path_), "one\ntwo") << "a last line without a line break gets none";
  std::string log, expected;
  for (int i = 0; i < 200; ++i) {
    log += line(std::to_string(i));
    if (i >= 120) expected += std::to_string(i) + "\n";
  }
  write(log);
  EXPECT_EQ(termination_log(path_), expected) << "80 lines";
  write(line(std::string(16 << 10, 'x'), 'P') + line(std::string(16 << 10, 'y'), 'P') + line("end"));
  EXPECT_EQ(termination_log(path_), std::string(2044, 'y') + "end\n") << "2,048 bytes";
}

TEST(ValidUtf8, ReplacesWhatJsonCantCarry) {
  EXPECT_EQ(valid_utf8("grüße 舢板 \xF0\x9F\x9B\xB6"), "grüße 舢板 \xF0\x9F\x9B\xB6");
  EXPECT_EQ(valid_utf8("a\xFF"
                       "b\xC3"),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_EQ(valid_utf8("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD") << "overlong";
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD") << "a surrogate";
  EXPECT_EQ(first_bytes("aü", 2), "a");
  EXPECT_EQ(first_bytes("aü", 3), "aü");
}

}  // namespace
}  // namespace kubelet
