#include "base/http_transport.h"

#include "base/sys.h"
#include "tests/unit/base/http_fixture.h"

namespace base::http {
namespace {

TEST(ByteStream, FinishWritesALongQueueIntoAPipeThatNobodyReadsYet) {
  Loop loop;
  auto pipe = sys::pipe().value();
  auto in = make_stream(loop, std::move(pipe.write));
  in->write(std::string(1 << 20, 'x'));
  in->finish();
  in.reset();  // goes on by itself
  loop.run_once(std::chrono::milliseconds(1));
  auto out = make_stream(loop, std::move(pipe.read));
  size_t seen = 0;
  bool ended = false;
  out->on_data([&](std::string_view data) { seen += data.size(); }, [&](Status) { ended = true; });
  ASSERT_TRUE(run_until(loop, [&] { return ended; }));
  EXPECT_EQ(seen, 1u << 20);
}

TEST(ByteStream, WritingIntoABrokenPipeIsNoSignal) {
  Loop loop;
  auto pipe = sys::pipe().value();
  auto in = make_stream(loop, std::move(pipe.write));
  pipe.read.reset();
  in->write("x");
  ASSERT_TRUE(run_until(loop, [&] { return in->queued_bytes() == 0; }));
}

TEST(ByteStream, HalfClosedItStillReads) {
  Loop loop;
  auto sockets = sys::socketpair(SOCK_STREAM).value();
  auto a = make_stream(loop, std::move(sockets.read)), b = make_stream(loop, std::move(sockets.write));
  std::string at_a, at_b;
  bool a_ended = false, b_ended = false;
  a->on_data([&](std::string_view data) { at_a += data; }, [&](Status) { a_ended = true; });
  b->on_data([&](std::string_view data) { at_b += data; }, [&](Status) { b_ended = true; });
  a->write("question");
  a->half_close();
  // b hears the end of a's direction as the end of the stream, and may have been faster to answer.
  ASSERT_TRUE(run_until(loop, [&] { return b_ended; }));
  EXPECT_EQ(at_b, "question");
  ASSERT_TRUE(run_until(loop, [&] { return a_ended; }));
}

TEST(ByteStream, HalfClosedItGetsALateAnswer) {
  Loop loop;
  auto sockets = sys::socketpair(SOCK_STREAM).value();
  auto a = make_stream(loop, std::move(sockets.read));
  std::string seen;
  bool ended = false;
  a->on_data([&](std::string_view data) { seen += data; }, [&](Status) { ended = true; });
  a->write("question");
  a->half_close();
  loop.run_once(std::chrono::milliseconds(1));
  EXPECT_EQ(sys::read_all(sockets.write.get()).value(), "question");
  ASSERT_TRUE(sys::write_all(sockets.write.get(), "answer").ok());
  sockets.write.reset();
  ASSERT_TRUE(run_until(loop, [&] { return ended; }));
  EXPECT_EQ(seen, "answer");
}
}  // namespace
}  // namespace base::http
