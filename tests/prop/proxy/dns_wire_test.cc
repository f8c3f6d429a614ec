// Packets of any bytes are an error or an answer, within the limit and in little time.
#include <gtest/gtest.h>

#include <time.h>

#include <array>
#include <chrono>
#include <random>

#include "proxy/dns_wire.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::dns {
namespace {

// What was worked, not how long others took the processor meanwhile.
struct Clock {
  using duration = std::chrono::nanoseconds;
  static duration now() {
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  }
};

std::string name(std::mt19937& random) {
  std::string out;
  for (unsigned labels = random() % 6 == 0 ? 126 : 1 + random() % 5; labels > 0 && out.size() < 240;
       --labels) {
    unsigned length = 1 + random() % 3;
    out += static_cast<char>(length);
    for (unsigned i = 0; i < length; ++i) out += "abAB-_.\0c"[random() % 9];
  }
  return out + '\0';
}
std::string packet(std::mt19937& random, bool answer) {
  auto u16 = [&](unsigned value) {
    return std::string{static_cast<char>(value >> 8), static_cast<char>(value)};
  };
  unsigned records = answer ? random() % 40 : random() % 3;
  std::string wire = u16(7) + u16(answer ? 0x8180 : 0x0100) + u16(1) + u16(answer ? records : 0) + u16(0) +
                     u16(answer ? 0 : records);
  wire += name(random) + u16(1) + u16(1);
  for (unsigned i = 0; i < records; ++i) {
    wire += random() % 2 ? name(random) : u16(0xc000 | random() % (wire.size() + 4));
    unsigned type = answer ? std::array{1u, 5u, 12u, 6u, 33u, 16u, 39u, 46u}[random() % 8] : 41;
    std::string data = random() % 2 ? name(random) : u16(0xc000 | random() % wire.size());
    wire += u16(type) + u16(1) + u16(0) + u16(60) + u16(static_cast<unsigned>(data.size())) + data;
  }
  for (unsigned flips = random() % 4; flips > 0; --flips)
    wire[random() % wire.size()] = static_cast<char>(random());
  if (random() % 8 == 0) wire.resize(random() % wire.size());
  return wire;
}

TEST(DnsWireProperty, AnyBytesAreAnErrorOrAnAnswerInLittleTime) {
  Config config{"cluster.local", *base::Cidr::parse_v4("10.96.0.0/16"),
                *base::Cidr::parse_v4("10.244.0.0/16")};
  Clock::duration worst{};
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::string wire = packet(random, false), reply = packet(random, true);
    auto began = Clock::now();
    auto query = parse_query(wire);
    if (!query.ok()) {
      ASSERT_LE(encode_format_error(wire).size(), 12u);
      continue;
    }
    ASSERT_LE(encode_error(*query, kRefused).size(), 512u);
    Answer many{true, kNoError, {}, {}, {}};
    for (int i = 0; i < 200; ++i) many.answers.push_back({"", kA, "10.0.0.1", 0});
    size_t limit = query->udp_bytes;
    ASSERT_LE(encode_answer(*query, many, config, limit).size(), limit);
    (void)check_upstream(reply, 7, query->name, query->type, 1);
    ASSERT_LE(adapt_upstream(reply, *query, 1, limit, many.answers).size(), limit);
    ASSERT_LE(adapt_upstream(reply, *query, 1, limit, {}).size(), limit);
    worst = std::max(worst, Clock::now() - began);
  }
  std::printf("longest: %.2f ms\n", std::chrono::duration<double, std::milli>(worst).count());
  EXPECT_LT(worst, std::chrono::milliseconds(100));  // of an unoptimised build
}

// Pointers in a query lead nowhere, and are not followed to see that: a flood of them is as cheap as any
// other.
TEST(DnsWireProperty, PointersInAQueryAreRefusedWithoutBeingFollowed) {
  const std::string head("\0\7\1\0\0\1\0\0\0\0\0", 11), tail("\0\1\0\1", 4);
  const std::string itself("\xc0\x0c", 2), back("\1a\xc0\x0c", 4), opt("\0\0\x29\4\xd0\0\0\0\0\0\0", 11);
  const std::string signature("\xc0\x0c\0\xfa\0\xff\0\0\0\0\0\2\xc0\x0c", 14);
  auto began = Clock::now();
  for (int i = 0; i < 2000; ++i)
    for (const std::string& name : {itself, back}) EXPECT_FALSE(parse_query(head + '\0' + name + tail).ok());
  EXPECT_LT(Clock::now() - began, std::chrono::milliseconds(200));
  // Behind the question only an OPT is looked at.
  auto query = parse_query(head + '\2' + std::string("\1a\0", 3) + tail + opt + signature);
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->name, "a");
  EXPECT_TRUE(query->edns);
  EXPECT_EQ(query->udp_bytes, 1232u);
  query = parse_query(head + '\1' + std::string("\1a\0", 3) + tail + signature);
  ASSERT_TRUE(query.ok());
  EXPECT_FALSE(query->edns);
}

// A chain of compression pointers as long as the packet, followed for every record.
TEST(DnsWireProperty, ChainsOfPointersAreBounded) {
  for (size_t size : {4096u, 16384u, 65535u}) {
    std::string wire("\0\7\x81\x80\0\1\1\xff\0\0\0\0", 12);
    wire += std::string("\1a\0\0\1\0\1", 7);
    while (wire.size() + 2 < std::min<size_t>(size - 5200, 16000)) {
      size_t to = wire.size() < 25 ? 12 : wire.size() - 2;
      wire += {static_cast<char>(0xc0 | to >> 8), static_cast<char>(to)};
    }
    for (int i = 0; i < 400 && wire.size() < size; ++i) {
      size_t to = std::min<size_t>(wire.size() - 2, 15990);
      wire += {static_cast<char>(0xc0 | to >> 8), static_cast<char>(to)};
      wire += std::string("\0\1\0\1\0\0\0\0\0\0", 10);
    }
    auto began = Clock::now();
    (void)check_upstream(wire, 7, "a", kA, 1);
    EXPECT_LT(Clock::now() - began, std::chrono::milliseconds(200)) << size;
  }
}

}  // namespace
}  // namespace proxy::dns
