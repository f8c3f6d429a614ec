// Progress as text, exactly.
#include "cli/image_use.h"

#include <gtest/gtest.h>

namespace cli {
namespace {

using Step = runtime::PullProgress::Layer::Step;

TEST(PullBars, OneBarALayer) {
  runtime::PullProgress now;
  now.layer = {{"sha256:" + std::string(64, 'a'), 1000, 1000, Step::kDone},
               {"sha256:" + std::string(64, 'b'), 500, 1000, Step::kDownloads},
               {"sha256:" + std::string(64, 'c'), 2000, 2000, Step::kUnpacks},
               {"sha256:" + std::string(64, 'd'), 0, 0, Step::kWaits}};
  now.layers = 4;
  now.layers_done = 1;
  now.bytes_done = 3500;
  now.bytes = 4000;
  EXPECT_EQ(pull_bars("web:1", now, 2, {24, 65}),
            "web:1: 1/4 layers, 3.5 kB of 4.0 kB, 1.8 kB/s\n"
            "aaaaaaaaaaaa [====================] done\n"
            "bbbbbbbbbbbb [==========>         ] 500 B / 1.0 kB\n"
            "cccccccccccc [====================] unpacks\n"
            "dddddddddddd [>                   ] waits");
  // A small screen shows what is under way, and never a line that would wrap.
  EXPECT_EQ(pull_bars("web:1", now, 2, {5, 30}),
            "web:1: 1/4 layers, 3.5 kB of \n"
            "bbbbbbbbbbbb [=====>    ] 500\n"
            "cccccccccccc [==========] unp");
}

}  // namespace
}  // namespace cli
