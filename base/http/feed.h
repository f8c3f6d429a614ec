// Feed: a long answer that is made as its reader takes it. `next` writes one piece of it (some KiB at
// most) and says whether there is more; it is called while little is queued, in turns of a few
// milliseconds, and again when the queue is empty. So an answer costs what lies between two calls,
// however long it is, and a slow reader holds up nobody. Loop thread only.
#pragma once

#include "base/http/server.h"

namespace base::http {

constexpr size_t kFedBytes = 256 << 10;  // queued bytes at which nothing more is made

class Feed : public std::enable_shared_from_this<Feed> {
 public:
  // Does nothing before run(). The exchange holds the Feed until the answer's end.
  static std::shared_ptr<Feed> make(Loop& loop, const std::shared_ptr<Exchange>& exchange,
                                    std::function<bool()> next);
  // There is more, or there may be. From inside `next` as well.
  void run();
  bool has_room() const;

 private:
  Feed(Loop& loop, std::weak_ptr<Exchange> exchange, std::function<bool()> next)
      : loop_(loop), exchange_(std::move(exchange)), next_(std::move(next)) {}
  Loop& loop_;
  std::weak_ptr<Exchange> exchange_;
  std::function<bool()> next_;
  bool running_ = false, again_ = false, posted_ = false;
};

}  // namespace base::http
