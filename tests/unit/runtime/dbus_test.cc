// Messages as bytes, and a connection to a server that says what the test wants.
#include "runtime/cgroup/dbus.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

namespace {

using runtime::DbusBody;
using runtime::DbusProperty;

std::string hex(const std::string& bytes) {
  std::string out;
  for (unsigned char c : bytes) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", c);
    out += text;
  }
  return out;
}
// What a server sends: type, the serial it answers, an error's name, a member, the body.
std::string message(uint8_t type, uint32_t reply_serial, const std::string& name, const DbusBody& body) {
  std::string call =
      runtime::dbus_call_bytes({"", type == 4 ? "/o" : "", "", type == 4 ? name : "", body}, 7);
  auto parsed = runtime::parse_dbus_message(call);
  EXPECT_TRUE(parsed.ok());
  // Rebuilt with the fields that only servers send: reply serial (5, u), error name (4, s).
  std::string fields = call.substr(16, call.size() - 16 - body.bytes().size());
  uint32_t length;
  std::memcpy(&length, call.data() + 12, 4);
  fields.resize(length);
  auto align = [&] { fields.resize((fields.size() + 7) / 8 * 8, '\0'); };
  if (reply_serial) {
    align();
    fields += std::string("\5\1u\0", 4) + std::string(reinterpret_cast<char*>(&reply_serial), 4);
  }
  if (type == 3) {
    align();
    uint32_t size = static_cast<uint32_t>(name.size());
    fields += std::string("\4\1s\0", 4) + std::string(reinterpret_cast<char*>(&size), 4) + name + '\0';
  }
  length = static_cast<uint32_t>(fields.size());
  std::string out = call.substr(0, 12) + std::string(reinterpret_cast<char*>(&length), 4) + fields;
  out[1] = static_cast<char>(type);
  out.resize((out.size() + 7) / 8 * 8, '\0');
  return out + body.bytes();
}

TEST(DbusBody, AlignsAsTheSpecificationHasIt) {
  DbusBody body;
  body.add(std::string("ab")).add(true).add(uint64_t{5});
  EXPECT_EQ(body.signature(), "sbt");
  EXPECT_EQ(hex(body.bytes()),
            "02000000616200"
            "00"
            "01000000"
            "00000000"
            "0500000000000000");
}
TEST(DbusBody, PropertiesAreStructsOfNameAndVariant) {
  DbusBody body;
  body.add_properties({{"A", uint32_t{1}}, {"B", std::vector<uint8_t>{1, 2}}}).add_no_units();
  EXPECT_EQ(body.signature(), "a(sv)a(sa(sv))");
  EXPECT_EQ(hex(body.bytes()),
            "22000000"
            "00000000"  // length, padding to the first struct
            "01000000"
            "4100"
            "017500"
            "000000"
            "01000000"  // "A", signature u, 1
            "01000000"
            "4200"
            "0261"
            "7900"
            "0000"
            "02000000"
            "0102"
            "0000"
            "00000000");
}
TEST(DbusMessage, ComesBackAsItWasWritten) {
  DbusBody body;
  body.add(uint32_t{9}).add_object("/job/9").add(std::string("a.scope")).add(std::string("done"));
  auto parsed =
      runtime::parse_dbus_message(runtime::dbus_call_bytes({"d.e", "/p", "i.f", "JobRemoved", body}, 3));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->path, "/p");
  EXPECT_EQ(parsed->interface, "i.f");
  EXPECT_EQ(parsed->member, "JobRemoved");
  EXPECT_EQ(parsed->serial, 3u);
  EXPECT_EQ(parsed->strings(), (std::vector<std::string>{"9", "/job/9", "a.scope", "done"}));
}
TEST(DbusMessage, DamageIsAnErrorNotARead) {
  DbusBody body;
  body.add(std::string("text"));
  std::string good = runtime::dbus_call_bytes({"d.e", "/p", "i.f", "M", body}, 1);
  for (size_t cut = 0; cut < good.size(); ++cut)
    EXPECT_FALSE(runtime::parse_dbus_message(good.substr(0, cut)).ok()) << cut;
  for (size_t at = 0; at < good.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      if (auto parsed = runtime::parse_dbus_message(bad); parsed.ok()) (void)parsed->strings();
    }
}

class DbusServer {
 public:
  explicit DbusServer(std::vector<std::string> replies) {
    char pattern[] = "/tmp/dbus-test-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    listener_ = base::UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path().c_str());
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, replies] {
      base::UniqueFd fd(::accept(listener_.get(), nullptr, nullptr));
      char buffer[4096];
      for (const std::string& reply : replies) {
        ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
        if (n <= 0) return;
        received_.append(buffer, static_cast<size_t>(n));
        if (::send(fd.get(), reply.data(), reply.size(), MSG_NOSIGNAL) < 0) return;
      }
      while (::recv(fd.get(), buffer, sizeof buffer, 0) > 0) {
      }
    });
  }
  ~DbusServer() {
    thread_.join();
    std::filesystem::remove_all(directory_);
  }
  std::string path() const { return directory_ + "/bus"; }
  std::string received_;

 private:
  std::string directory_;
  base::UniqueFd listener_;
  std::thread thread_;
};
constexpr const char* kWelcome = "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n";

TEST(DbusConnection, NamesNoIdentityAndKeepsSignalsThatComeBeforeTheReply) {
  DbusBody job, done;
  job.add_object("/job/1");
  done.add(uint32_t{1}).add_object("/job/1").add(std::string("a.scope")).add(std::string("done"));
  DbusServer server({kWelcome, message(4, 0, "JobRemoved", done) + message(2, 1, "", job)});
  auto connection = runtime::DbusConnection::connect(server.path(), false);
  ASSERT_TRUE(connection.ok()) << connection.error().message();
  auto reply = connection->call({"d.e", "/p", "i.f", "Start"});
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  EXPECT_EQ(reply->strings(), std::vector<std::string>{"/job/1"});
  auto signal = connection->next_signal();
  ASSERT_TRUE(signal.ok());
  EXPECT_EQ(signal->member, "JobRemoved");
  EXPECT_TRUE(server.received_.starts_with(std::string("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", 29)));
}
TEST(DbusConnection, ErrorsHaveTheirNameAndText) {
  DbusBody text;
  text.add(std::string("Unit a.scope not loaded."));
  DbusServer server({kWelcome, message(3, 1, "org.freedesktop.systemd1.NoSuchUnit", text)});
  auto connection = runtime::DbusConnection::connect(server.path(), false);
  ASSERT_TRUE(connection.ok());
  auto reply = connection->call({"d.e", "/p", "i.f", "StopUnit"});
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().kind, base::Kind::kNotFound);
  EXPECT_EQ(reply.error().message(),
            "StopUnit org.freedesktop.systemd1.NoSuchUnit: Unit a.scope not loaded.");
}
TEST(DbusConnection, ARefusedOrSilentPeerIsAnError) {
  {
    DbusServer server({"REJECTED EXTERNAL\r\n"});
    auto connection = runtime::DbusConnection::connect(server.path(), false);
    ASSERT_FALSE(connection.ok());
    EXPECT_EQ(connection.error().kind, base::Kind::kDenied);
  }
  auto nobody = runtime::DbusConnection::connect("/nonexistent/bus", true);
  ASSERT_FALSE(nobody.ok());
  EXPECT_EQ(nobody.error().kind, base::Kind::kNotFound);
}

}  // namespace
