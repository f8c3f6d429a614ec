// Sets of completion indexes as a Job's status writes them: "1,3-5,7". Pure. What is no such text reads as
// far as it is one: it came from a status that others may write.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace master::controllers {

class IndexSet {
 public:
  // Numbers below `limit`, in any order; what is not a number or a range ends the reading.
  static IndexSet parse(std::string_view text, int limit);
  void add(int index);  // >= 0
  bool contains(int index) const;
  int count() const;
  bool empty() const { return ranges_.empty(); }
  std::string text() const;  // ascending; three and more in a row as a range, as Kubernetes writes them
  bool operator==(const IndexSet&) const = default;

 private:
  struct Range {
    int first, last;
    bool operator==(const Range&) const = default;
  };
  std::vector<Range> ranges_;  // ascending, apart from each other
};

}  // namespace master::controllers
