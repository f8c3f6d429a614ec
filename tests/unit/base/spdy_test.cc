#include "base/http/spdy.h"

#include <random>

#include "base/http/transport.h"
#include "base/sys.h"
#include "tests/unit/base/http_fixture.h"

namespace base::spdy {
namespace {

struct Ends {
  std::unique_ptr<http::ByteStream> a, b;
};
Ends pair(Loop& loop) {
  auto sockets = sys::socketpair(SOCK_STREAM).value();
  return {http::make_stream(loop, std::move(sockets.read)),
          http::make_stream(loop, std::move(sockets.write))};
}

TEST(Spdy, DictionaryIsThatOfTheDraft) { EXPECT_EQ(dictionary_id(), 0xe3c6a7c2u); }

TEST(Spdy, StreamsWithHeadersDataAndFin) {
  Loop loop;
  auto ends = pair(loop);
  std::vector<std::shared_ptr<Stream>> opened;
  Session server(
      std::move(ends.a), Role::kServer, {},
      [&](std::shared_ptr<Stream> stream) {
        stream->reply();
        opened.push_back(stream);
        Stream* raw = stream.get();
        raw->on_data([raw](std::string_view data) { raw->write(data); },
                     [raw](Status status) {
                       if (status.ok()) raw->finish();
                     });
      },
      [](Status) {});
  Session client(std::move(ends.b), Role::kClient, {}, {}, [](Status) {});
  std::string seen[3];
  int ends_seen = 0, replies = 0;
  std::vector<std::shared_ptr<Stream>> streams;
  std::string big(1'000'000, 'x');
  for (int i = 0; i < 3; ++i) {
    http::Headers headers;
    headers.add("streamType", "stdin" + std::to_string(i));
    headers.add("X-Many", "one");
    headers.add("X-Many", "two");
    headers.add("X-Empty", "");
    auto stream = client.open(headers, [&] { ++replies; });
    stream->on_data([&, i](std::string_view data) { seen[i] += data; },
                    [&](Status status) {
                      EXPECT_TRUE(status.ok());
                      ++ends_seen;
                    });
    stream->write(i == 1 ? big : "hello");
    stream->finish();
    streams.push_back(stream);
  }
  client.ping(7);
  ASSERT_TRUE(http::run_until(loop, [&] { return ends_seen == 3; }));
  EXPECT_EQ(replies, 3);
  EXPECT_EQ(seen[0], "hello");
  EXPECT_EQ(seen[1], big);
  EXPECT_EQ(opened[2]->headers().get("streamtype"), "stdin2");
  EXPECT_EQ(opened[2]->headers().list.size(), 4u);
  EXPECT_EQ(client.streams(), 0u);
  EXPECT_EQ(server.streams(), 0u);
  ASSERT_TRUE(http::run_until(loop, [&] { return client.last_pong() == 7; }));
}

TEST(Spdy, ResetsAndTheEndOfTheSessionAreErrors) {
  Loop loop;
  auto ends = pair(loop);
  std::optional<Status> at_server[2], session_end;
  std::vector<std::shared_ptr<Stream>> opened;
  Session server(
      std::move(ends.a), Role::kServer, {},
      [&](std::shared_ptr<Stream> stream) {
        stream->reply();
        size_t i = opened.size();
        stream->on_data([](std::string_view) {}, [&, i](Status s) { at_server[i] = std::move(s); });
        opened.push_back(std::move(stream));
      },
      [&](Status status) { session_end = std::move(status); });
  auto client = std::make_unique<Session>(std::move(ends.b), Role::kClient, Options{}, Session::OnStream{},
                                          [](Status) {});
  auto one = client->open({}), two = client->open({});
  one->reset();
  ASSERT_TRUE(http::run_until(loop, [&] { return at_server[0].has_value(); }));
  EXPECT_EQ(at_server[0]->error().kind, Kind::kCanceled);
  client->close();
  ASSERT_TRUE(http::run_until(loop, [&] { return session_end.has_value(); }));
  EXPECT_TRUE(session_end->ok());
  ASSERT_TRUE(at_server[1].has_value());
  EXPECT_FALSE(at_server[1]->ok());
}

TEST(Spdy, HoldsDataOfAPausedStreamAndThenTheConnection) {
  Loop loop;
  auto ends = pair(loop);
  std::shared_ptr<Stream> slow;
  std::string seen;
  bool ended = false;
  Session server(
      std::move(ends.a), Role::kServer, {},
      [&](std::shared_ptr<Stream> stream) {
        stream->reply();
        stream->pause(true);
        slow = std::move(stream);
        slow->on_data([&](std::string_view data) { seen += data; }, [&](Status) { ended = true; });
      },
      [](Status) {});
  Session client(std::move(ends.b), Role::kClient, {}, {}, [](Status) {});
  auto stream = client.open({});
  std::string big(8 << 20, 'y');
  stream->write(big);
  stream->finish();
  ASSERT_TRUE(http::run_until(loop, [&] { return static_cast<bool>(slow); }));
  for (int i = 0; i < 50; ++i) loop.run_once(std::chrono::milliseconds(1));
  EXPECT_TRUE(seen.empty());
  EXPECT_GT(client.queued_bytes(), 4u << 20);  // it waits at the sender
  slow->pause(false);
  ASSERT_TRUE(http::run_until(loop, [&] { return ended; }));
  EXPECT_EQ(seen, big);
}

TEST(Spdy, RefusesWhatIsNotSpdy) {
  const std::string cases[] = {
      std::string("\x80\x02\x00\x01\x01\x00\x00\x0a", 8) + std::string(10, '\0'),    // version 2
      std::string("\x80\x03\x00\x01\x01\x00\x00\x04", 8) + std::string(4, '\0'),     // too short
      std::string("\x80\x03\x00\x01\x01\xff\xff\xff", 8),                            // too long
      std::string("\x80\x03\x00\x01\x01\x00\x00\x14", 8) + std::string(20, '\x01'),  // not zlib
  };
  for (const std::string& sent : cases) {
    Loop loop;
    auto ends = pair(loop);
    std::optional<Status> end;
    Session server(
        std::move(ends.a), Role::kServer, {}, [](auto stream) { stream->reply(); },
        [&](Status status) { end = std::move(status); });
    std::string answer;
    ends.b->on_data([&](std::string_view data) { answer += data; }, [](Status) {});
    ends.b->write(sent);
    ASSERT_TRUE(http::run_until(loop, [&] { return end.has_value() && answer.size() >= 16; }));
    EXPECT_FALSE(end->ok());
    EXPECT_EQ(answer.substr(0, 4), std::string("\x80\x03\x00\x07", 4));  // GOAWAY
  }
}

TEST(Spdy, SurvivesMutatedSessions) {
  // A recorded session, with bytes changed.
  std::string recorded;
  {
    Loop loop;
    auto ends = pair(loop);
    ends.a->on_data([&](std::string_view data) { recorded += data; }, [](Status) {});
    Session client(std::move(ends.b), Role::kClient, {}, {}, [](Status) {});
    std::vector<std::shared_ptr<Stream>> streams;
    for (int i = 0; i < 8; ++i) {
      http::Headers headers;
      headers.add("streamType", "data");
      headers.add("port", "80");
      headers.add("requestID", std::to_string(i));
      streams.push_back(client.open(headers));
      streams.back()->write("some data");
      client.ping(static_cast<uint32_t>(2 * i + 1));
      if (i % 2) streams.back()->finish();
      else streams.back()->reset();
    }
    client.close();
    ASSERT_TRUE(http::run_until(loop, [&] { return recorded.size() > 400; }));
  }
  for (unsigned seed = 1; seed <= 500; ++seed) {
    std::mt19937 random(seed);
    std::string noise = recorded;
    for (unsigned i = 0, n = 1 + random() % 6; i < n; ++i)
      noise[random() % noise.size()] = static_cast<char>(random());
    if (random() % 4 == 0) noise.resize(random() % noise.size());
    Loop loop;
    auto ends = pair(loop);
    bool over = false;
    std::vector<std::shared_ptr<Stream>> held;
    Session server(
        std::move(ends.a), Role::kServer, {},
        [&](std::shared_ptr<Stream> stream) {
          stream->reply();
          stream->on_data([stream = stream.get()](std::string_view data) { stream->write(data); },
                          [](Status) {});
          held.push_back(std::move(stream));
        },
        [&](Status) { over = true; });
    ends.b->on_data([](std::string_view) {}, [](Status) {});
    ends.b->write(noise);
    ends.b->finish();
    ASSERT_TRUE(http::run_until(loop, [&] { return over; })) << "seed " << seed;
  }
}
}  // namespace
}  // namespace base::spdy
