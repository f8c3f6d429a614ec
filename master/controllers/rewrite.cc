#include "master/controllers/rewrite.h"

namespace master::controllers {

void rewrite(Hub::Account& account, const api::Resource& resource, const Meta& judged,
             std::function<void(json::object& object)> change, api::Client::Done done,
             std::string_view subresource) {
  account.client.get(resource, judged.ns, judged.name,
                     [&account, &resource, judged, change = std::move(change), done = std::move(done),
                      sub = std::string(subresource)](base::Result<json::value> read) {
                       if (!read.ok()) return done(read.error());
                       const Meta now = read->is_object() ? read_meta(*read) : Meta();
                       if (now.uid != judged.uid)
                         return done(base::make_error(base::Kind::kNotFound, "update", judged.key(),
                                                      "another has its name"));
                       if (now.revision != judged.revision)
                         return done(base::make_error(base::Kind::kConflict, "update", judged.key(),
                                                      "it was written since"));
                       change(read->get_object());
                       account.client.update(resource, judged.ns, judged.name, std::move(*read), done, sub);
                     });
}

}  // namespace master::controllers
