// Memory of sampan-oci, which lives for milliseconds: what `new` takes first comes from one arena that
// is given back by the program's end. Nothing is freed in it, so that the launching parent writes to no
// page that it shares with the child it cloned (each would be copied), and nothing is searched. What the
// arena can't hold is malloc's, so that a command that stays for days does not grow.
#ifdef SAMPAN_STATIC  // sanitizers bring a `new` of their own

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constexpr size_t kArena = 192 << 10, kAlign = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
alignas(kAlign) char arena[kArena];
size_t used = 0;  // one thread

bool in_arena(const void* pointer) { return pointer >= arena && pointer < arena + kArena; }

}  // namespace

void* operator new(size_t size) {
  size_t whole = (std::max<size_t>(size, 1) + kAlign - 1) & ~(kAlign - 1);
  if (whole >= size && whole <= kArena - used) {
    void* out = arena + used;
    used += whole;
    return out;
  }
  if (void* out = std::malloc(size)) return out;
  throw std::bad_alloc();
}
void operator delete(void* pointer) noexcept {
  if (!in_arena(pointer)) std::free(pointer);
}
void operator delete(void* pointer, size_t) noexcept { ::operator delete(pointer); }

#endif
