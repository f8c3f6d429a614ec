// How a controller replaces an object of which it keeps only a projection: what is there is read, changed if
// it is still what was judged, and put back. Decides nothing. Single-threaded.
#pragma once

#include <functional>
#include <string_view>

#include "master/controllers/hub.h"

namespace master::controllers {

// `done` gets the object as it was written, kNotFound when it is gone, kConflict when somebody wrote it
// since `judged` was seen.
void rewrite(Hub::Account& account, const api::Resource& resource, const Meta& judged,
             std::function<void(json::object& object)> change, api::Client::Done done,
             std::string_view subresource = {});

}  // namespace master::controllers
