// Files copied between two trees neither of which is trusted: by descriptor, never following a
// symbolic link, so that a container that changes its tree meanwhile leads us nowhere.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace cli {

struct CopyOptions {
  bool keep_owner = false;  // else root's
};
// `name` in the directory `from` becomes `as` in the directory `to`: files, directories with all in
// them, links, devices, pipes; modes and times of modification. What is there is replaced, but
// a directory never by something else.
base::Status copy_tree(int from, const std::string& name, int to, const std::string& as,
                       const CopyOptions& options);
// What is in the directory `from` into the directory `to`.
base::Status copy_content(int from, int to, const CopyOptions& options);

}  // namespace cli
