#include "master/controllers/job_indexes.h"

#include <algorithm>
#include <charconv>

namespace master::controllers {

IndexSet IndexSet::parse(std::string_view text, int limit) {
  IndexSet set;
  const char *at = text.data(), *end = at + text.size();
  while (at != end) {
    Range range{};
    auto first = std::from_chars(at, end, range.first);
    if (first.ec != std::errc() || range.first < 0) break;
    at = first.ptr;
    range.last = range.first;
    if (at != end && *at == '-') {
      auto last = std::from_chars(at + 1, end, range.last);
      if (last.ec != std::errc() || range.last < range.first) break;
      at = last.ptr;
    }
    range.last = std::min(range.last, limit - 1);
    if (range.first <= range.last) set.ranges_.push_back(range);
    if (at == end || *at != ',') break;
    ++at;
  }
  std::sort(set.ranges_.begin(), set.ranges_.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<Range> merged;
  for (const Range& range : set.ranges_) {
    if (!merged.empty() && range.first <= merged.back().last + 1)
      merged.back().last = std::max(merged.back().last, range.last);
    else merged.push_back(range);
  }
  set.ranges_ = std::move(merged);
  return set;
}

void IndexSet::add(int index) {
  // The last range that begins at or before the index, if any.
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), index,
                                [](int i, const Range& r) { return i < r.first; });
  if (after != ranges_.begin()) {
    auto before = after - 1;
    if (index <= before->last) return;
    if (index == before->last + 1) {
      before->last = index;
      if (after != ranges_.end() && after->first == index + 1) {
        before->last = after->last;
        ranges_.erase(after);
      }
      return;
    }
  }
  if (after != ranges_.end() && after->first == index + 1) after->first = index;
  else ranges_.insert(after, {index, index});
}

bool IndexSet::contains(int index) const {
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), index,
                                [](int i, const Range& r) { return i < r.first; });
  return after != ranges_.begin() && index <= (after - 1)->last;
}

int IndexSet::count() const {
  int count = 0;
  for (const Range& range : ranges_) count += range.last - range.first + 1;
  return count;
}

std::string IndexSet::text() const {
  std::string out;
  for (const Range& range : ranges_) {
    if (!out.empty()) out += ',';
    out += std::to_string(range.first);
    if (range.last > range.first)
      out += (range.last == range.first + 1 ? "," : "-") + std::to_string(range.last);
  }
  return out;
}

}  // namespace master::controllers
