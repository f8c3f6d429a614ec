# sampan_image_store: reading the image store; what a daemon links.
add_library(sampan_image_store STATIC image_reference.cc image_store.cc image_user.cc)
target_link_libraries(sampan_image_store PUBLIC sampan_base_core)
target_precompile_headers(sampan_image_store REUSE_FROM sampan_base_core)

# sampan_image: writing it: archives, registries. Only the `sampan` command links it.
find_package(CURL REQUIRED)
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive)
file(GLOB image_sources CONFIGURE_DEPENDS image*.cc)
list(FILTER image_sources EXCLUDE REGEX "image_(reference|store|user)\\.cc$")
add_library(sampan_image STATIC ${image_sources})
target_link_libraries(sampan_image PUBLIC sampan_image_store PRIVATE PkgConfig::ARCHIVE CURL::libcurl OpenSSL::Crypto)
target_precompile_headers(sampan_image REUSE_FROM sampan_base_core)
