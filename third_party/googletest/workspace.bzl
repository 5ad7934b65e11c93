"""GoogleTest and GoogleMock from Debian's libgtest-dev and libgmock-dev."""

load("//third_party/debian:debian_package.bzl", "debian_package")

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "gtest",
    srcs = [
        "lib/libgmock.a",
        "lib/libgtest.a",
    ],
    hdrs = glob(["include/**/*.h"]),
    includes = ["include"],
    linkopts = ["-pthread"],
)

cc_library(
    name = "gtest_main",
    srcs = ["lib/libgmock_main.a"],
    deps = [":gtest"],
)
"""

def googletest():
    if not native.existing_rule("googletest"):
        lib = "/usr/lib/x86_64-linux-gnu/"
        debian_package(
            name = "googletest",
            package = "libgmock-dev",
            files = {
                "/usr/include/gmock": "include/gmock",
                "/usr/include/gtest": "include/gtest",
                lib + "libgmock.a": "lib/libgmock.a",
                lib + "libgmock_main.a": "lib/libgmock_main.a",
                lib + "libgtest.a": "lib/libgtest.a",
            },
            build = _BUILD,
        )
