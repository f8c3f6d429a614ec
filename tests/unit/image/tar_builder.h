// Writes tar archives byte by byte, also such as no honest tool makes. For tests only.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace runtime {

struct TarEntry {
  std::string name, link, data;
  char type = '0';  // '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo
  unsigned mode = 0644, uid = 0, gid = 0, major = 0, minor = 0;
  long mtime = 1'600'000'000;
  std::string xattr_name, xattr_value;
};

class TarBuilder {
 public:
  TarBuilder& add(const TarEntry& entry) {
    std::string pax;
    if (!entry.xattr_name.empty()) pax += record("SCHILY.xattr." + entry.xattr_name, entry.xattr_value);
    if (entry.name.size() > 99) pax += record("path", entry.name);
    if (entry.link.size() > 99) pax += record("linkpath", entry.link);
    if (!pax.empty()) {
      TarEntry header;
      header.name = "pax";
      header.type = 'x';
      header.data = pax;
      raw(header);
    }
    raw(entry);
    return *this;
  }
  TarBuilder& file(std::string name, std::string data, unsigned mode = 0644) {
    TarEntry entry;
    entry.name = std::move(name);
    entry.data = std::move(data);
    entry.mode = mode;
    return add(entry);
  }
  TarBuilder& dir(std::string name, unsigned mode = 0755) { return typed('5', std::move(name), {}, mode); }
  TarBuilder& symlink(std::string name, std::string to) {
    return typed('2', std::move(name), std::move(to), 0777);
  }
  TarBuilder& hardlink(std::string name, std::string to) {
    return typed('1', std::move(name), std::move(to), 0644);
  }
  TarBuilder& device(std::string name, char type, unsigned major, unsigned minor) {
    TarEntry entry;
    entry.name = std::move(name);
    entry.type = type;
    entry.major = major;
    entry.minor = minor;
    return add(entry);
  }
  std::string finish() const { return bytes_ + std::string(1024, '\0'); }

 private:
  TarBuilder& typed(char type, std::string name, std::string link, unsigned mode) {
    TarEntry entry;
    entry.name = std::move(name);
    entry.link = std::move(link);
    entry.type = type;
    entry.mode = mode;
    return add(entry);
  }
  static std::string record(const std::string& key, const std::string& value) {
    size_t rest = key.size() + value.size() + 3, length = rest + 1;
    while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
    return std::to_string(length) + " " + key + "=" + value + "\n";
  }
  void raw(const TarEntry& entry) {
    char header[512] = {};
    std::strncpy(header, entry.name.c_str(), 100);
    std::snprintf(header + 100, 8, "%07o", entry.mode);
    std::snprintf(header + 108, 8, "%07o", entry.uid);
    std::snprintf(header + 116, 8, "%07o", entry.gid);
    std::snprintf(header + 124, 12, "%011zo", entry.data.size());
    std::snprintf(header + 136, 12, "%011lo", entry.mtime);
    std::memset(header + 148, ' ', 8);
    header[156] = entry.type;
    std::strncpy(header + 157, entry.link.c_str(), 100);
    std::memcpy(header + 257,
                "ustar\0"
                "00",
                8);
    std::snprintf(header + 329, 8, "%07o", entry.major);
    std::snprintf(header + 337, 8, "%07o", entry.minor);
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    std::snprintf(header + 148, 8, "%06o", sum);
    bytes_.append(header, sizeof header);
    bytes_ += entry.data;
    bytes_.append((512 - entry.data.size() % 512) % 512, '\0');
  }
  std::string bytes_;
};

}  // namespace runtime
