// sd_notify(3) without its library: tells whoever started this daemon that it serves.
#pragma once

namespace base {

// Sends READY=1 to $NOTIFY_SOCKET; does nothing when there is none. Never fails the daemon: the
// service manager's own time-out reports a message that did not arrive.
void notify_ready();

}  // namespace base
