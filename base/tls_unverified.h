// A client's TLS without proof of who answers: only for what its user said so of (an APIService with
// insecureSkipTLSVerify), and behind the API server's proxy, where nobody could say what is right.
#pragma once

#include "base/tls.h"

namespace base::tls {

Result<std::shared_ptr<Context>> unverified_client(const KeyPair& certificate);

}  // namespace base::tls
