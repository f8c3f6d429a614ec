#include "base/http/feed.h"

namespace base::http {
namespace {
constexpr auto kTurn = std::chrono::milliseconds(4);  // then the loop's other work comes
}  // namespace

std::shared_ptr<Feed> Feed::make(Loop& loop, const std::shared_ptr<Exchange>& exchange,
                                 std::function<bool()> next) {
  std::shared_ptr<Feed> feed(new Feed(loop, exchange, std::move(next)));
  exchange->on_drain([feed] { feed->run(); });
  return feed;
}

bool Feed::has_room() const {
  auto exchange = exchange_.lock();
  return exchange && exchange->queued_bytes() < kFedBytes;
}

void Feed::run() {
  again_ = true;
  if (running_) return;
  auto keep = shared_from_this();
  auto exchange = exchange_.lock();
  if (!exchange) return;
  running_ = true;
  auto end = steady_now() + kTurn;
  while (!exchange->closed() && exchange->queued_bytes() < kFedBytes) {
    if (steady_now() > end) {
      if (!std::exchange(posted_, true))
        loop_.post([keep] {  // where nothing queues, nobody else holds it
          keep->posted_ = false;
          keep->run();
        });
      break;
    }
    again_ = false;
    if (!next_() && !again_) break;
  }
  running_ = false;
}

}  // namespace base::http
