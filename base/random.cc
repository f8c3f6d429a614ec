#include "base/random.h"

#include <sys/random.h>

#include "base/result.h"
#include "base/simulated.h"

namespace base {

void random_bytes(void* bytes, size_t count) {
  if (Simulated* simulated = Simulated::current()) return simulated->fill(bytes, count);
  // Up to 256 bytes come at once and whole (getrandom(2)).
  SAMPAN_CHECK(count <= 256 && ::getrandom(bytes, count, 0) == static_cast<ssize_t>(count));
}

}  // namespace base
