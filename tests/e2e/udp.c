/* A UDP echo for tests, static, with no name look-ups: `udp serve PORT NAME` answers each datagram with
 * NAME; `udp ask ADDRESS PORT` prints the answer, or exits with 1 after three seconds. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

int main(int argc, char** argv) {
  int serve = argc == 4 && !strcmp(argv[1], "serve"), ask = argc == 4 && !strcmp(argv[1], "ask");
  if (!serve && !ask) return 2;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_port = htons((unsigned short)atoi(argv[serve ? 2 : 3]));
  char text[512];
  if (serve) {
    if (bind(fd, (struct sockaddr*)&address, sizeof address)) return perror("bind"), 1;
    for (;;) {
      struct sockaddr_in from;
      socklen_t size = sizeof from;
      if (recvfrom(fd, text, sizeof text, 0, (struct sockaddr*)&from, &size) >= 0)
        sendto(fd, argv[3], strlen(argv[3]), 0, (struct sockaddr*)&from, size);
    }
  }
  struct timeval limit = {.tv_sec = 3};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (!inet_aton(argv[2], &address.sin_addr)) return 2;
  if (connect(fd, (struct sockaddr*)&address, sizeof address) || send(fd, "?", 1, 0) != 1)
    return perror("send"), 1;
  ssize_t size = recv(fd, text, sizeof text - 1, 0);
  if (size < 0) return perror("recv"), 1;
  text[size] = 0;
  puts(text);
  return 0;
}
