"""nlohmann-json (headers only) from Debian's nlohmann-json3-dev."""

load("//third_party/debian:debian_package.bzl", "debian_package")

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "json",
    hdrs = glob(["include/**/*.hpp"]),
    includes = ["include"],
)
"""

def nlohmann_json():
    if not native.existing_rule("nlohmann_json"):
        debian_package(
            name = "nlohmann_json",
            package = "nlohmann-json3-dev",
            files = {"/usr/include/nlohmann": "include/nlohmann"},
            build = _BUILD,
        )
