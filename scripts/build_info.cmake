# cmake -DSOURCE=… -DOUT=….cc -P build_info.cmake: writes what /version tells about the build: the commit
# that the sources are at and its time. Without git (an unpacked archive): what the environment says.
execute_process(COMMAND ${CMAKE_COMMAND} -E env TZ=UTC git -C ${SOURCE} log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ "--format=%H %cd"
                OUTPUT_VARIABLE answer OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR NOT answer MATCHES "^([0-9a-f]+) (.+)$")
  set(CMAKE_MATCH_1 "$ENV{SAMPAN_COMMIT}")
  set(CMAKE_MATCH_2 "$ENV{SAMPAN_BUILD_DATE}")
endif()
if(CMAKE_MATCH_1 STREQUAL "")
  set(CMAKE_MATCH_1 "unknown")
endif()
if(CMAKE_MATCH_2 STREQUAL "")
  set(CMAKE_MATCH_2 "1970-01-01T00:00:00Z")
endif()
file(WRITE ${OUT} "#include \"master/server/build_info.h\"\n\nnamespace master {\nconst char* const kBuiltCommit = \"${CMAKE_MATCH_1}\";\nconst char* const kBuiltDate = \"${CMAKE_MATCH_2}\";\n}  // namespace master\n")
