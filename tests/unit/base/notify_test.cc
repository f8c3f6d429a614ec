#include "base/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/fd.h"

namespace {

TEST(Notify, ReadyArrivesOnce) {
  std::string path = "/tmp/sampan-notify-" + std::to_string(getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  base::UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ASSERT_EQ(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  setenv("NOTIFY_SOCKET", path.c_str(), 1);
  base::notify_ready();
  unsetenv("NOTIFY_SOCKET");
  base::notify_ready();
  unlink(path.c_str());
  char text[64];
  ssize_t size = recv(socket.get(), text, sizeof text, 0);
  ASSERT_GT(size, 0);
  EXPECT_EQ(std::string(text, static_cast<size_t>(size)), "READY=1");
  EXPECT_LT(recv(socket.get(), text, sizeof text, 0), 0);
}

}  // namespace
