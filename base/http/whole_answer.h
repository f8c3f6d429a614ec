// The exchange of a request that no connection carries and that is answered in one piece: what the
// server asks itself. Whoever derives from it says what happens with the answer.
#pragma once

#include "base/http/server.h"

namespace base::http {

class WholeAnswerExchange : public Exchange {
 public:
  explicit WholeAnswerExchange(Request request) : request_(std::move(request)) {}
  const Request& request() const final { return request_; }
  void start(int, Headers) override {}
  void write(Bytes) override {}
  void finish() override {}
  size_t queued_bytes() const override { return 0; }
  std::unique_ptr<ByteStream> upgrade(Headers) override { return nullptr; }
  bool closed() const override { return false; }
  void on_close(std::function<void()>) override {}

 private:
  Request request_;
};

}  // namespace base::http
