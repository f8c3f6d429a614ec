// Messages that come in pieces of every size.
#include "base/http/parser.h"

#include <gtest/gtest.h>

namespace base::http {
namespace {

// Gives what was not consumed again, with one byte more behind it, as the connections do.
template <typename Parser>
void byte_by_byte(Parser& parser, std::string_view message) {
  std::string waiting;
  for (char c : message) {
    waiting.push_back(c);
    size_t used = parser.put(waiting);
    waiting.erase(0, used);
  }
  EXPECT_EQ(waiting, "");
}

TEST(HttpParser, AnEmptyChunkedBodyInPieces) {
  RequestParser request(1024, 1024);
  byte_by_byte(request, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  EXPECT_TRUE(request.done());
  EXPECT_EQ(request.error_status(), 0);
  EXPECT_EQ(request.request.body, "");

  ResponseParser response(false, [](std::string_view) { FAIL(); });
  byte_by_byte(response, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  EXPECT_TRUE(response.done());
  EXPECT_FALSE(response.failed());
}

TEST(HttpParser, ChunksWithTrailersInPieces) {
  RequestParser request(1024, 1024);
  byte_by_byte(
      request,
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nSum: 1\r\n\r\n");
  EXPECT_TRUE(request.done());
  EXPECT_EQ(request.request.body, "abc");
}

TEST(HttpParser, ALastChunkThatIsNoneIsRefused) {
  RequestParser request(1024, 1024);
  std::string_view head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(request.put(head), head.size());
  for (std::string_view piece : {"0\r\n", "0\r\n\r", "0\r\n\rx", "0\r\n\rx\r\n\r\n"}) request.put(piece);
  EXPECT_FALSE(request.done());
  EXPECT_EQ(request.error_status(), 400);
}

}  // namespace
}  // namespace base::http
