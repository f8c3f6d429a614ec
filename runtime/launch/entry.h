// What a program that launches tells runtime/launch/entry.cc, which runs before its main.
#pragma once

namespace runtime {

// The commands, null at the end, that must run from a read-only mount; empty: all.
extern const char* const kProtectedCommands[];

}  // namespace runtime
