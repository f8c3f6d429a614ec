#include "base/http/transport.h"

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

// Clients that poll the socket for their next message never see one that shares a record with another.
TEST(ByteStream, EachWriteIsATlsRecordOfItsOwn) {
  Loop loop;
  auto ca = tls::make_ca("test", std::chrono::hours(1)).value();
  tls::CertificateRequest wanted;
  wanted.common_name = "server";
  wanted.dns_names = {"server"};
  wanted.server = true;
  auto server_side = tls::Context::server(tls::sign(ca, wanted).value(), "").value();
  auto client_side = tls::Context::client(ca.certificate_pem, {}).value();
  auto sockets = sys::socketpair(SOCK_STREAM | SOCK_NONBLOCK).value();
  auto server = std::make_unique<Transport>(loop, std::move(sockets.read), server_side.get(), true);
  auto client =
      std::make_unique<Transport>(loop, std::move(sockets.write), client_side.get(), false, "server");
  bool server_done = false, client_done = false;
  ASSERT_TRUE(run_until(loop, [&] {
    client_done = client_done || client->handshake() == Transport::Io::kOk;
    server_done = server_done || server->handshake() == Transport::Io::kOk;
    return client_done && server_done;
  }));
  auto far = make_stream(std::move(server), {}), near = make_stream(std::move(client), {});
  std::vector<std::string> seen;
  near->on_data([&](std::string_view data) { seen.emplace_back(data); }, [](Status) {});
  for (const char* one : {"one", "two", "three"}) far->write(one);
  ASSERT_TRUE(run_until(loop, [&] { return seen.size() == 3; }));
  EXPECT_EQ(seen, (std::vector<std::string>{"one", "two", "three"}));
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
