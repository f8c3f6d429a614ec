// A client's TLS without proof of who answers: only for what its user said so of (an APIService with
// insecureSkipTLSVerify).
#pragma once

#include "base/tls.h"

namespace base::tls {

Result<std::shared_ptr<Context>> unverified_client(const KeyPair& certificate);

}  // namespace base::tls
