// A watch or a log over WebSocket: an answer that comes in pieces, each of them a message, for
// browsers and others that have no other stream. Source: kube-apiserver's wsstream and its watch
// handler.
#pragma once

#include <memory>
#include <string_view>

#include "base/http/server.h"

namespace master {

enum class MessageForm : uint8_t {
  kLines,  // a watch: a text message an event, whatever protocol the client names
  kBytes,  // a log: binary, or base64 text for base64.binary.k8s.io; an empty message comes first
};
// What stands in for `exchange`: start(200) upgrades it, what is written then goes as messages,
// finish() closes. Any other answer passes as it is. An Error: the handshake can't be (400).
base::Result<std::shared_ptr<base::http::Exchange>> as_messages(
    base::Loop& loop, std::shared_ptr<base::http::Exchange> exchange, MessageForm form);

}  // namespace master
