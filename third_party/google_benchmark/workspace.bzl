"""Google Benchmark from Debian's libbenchmark-dev."""

load("//third_party/debian:debian_package.bzl", "debian_package")

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "benchmark",
    hdrs = glob(["include/**/*.h"]),
    includes = ["include"],
    linkopts = [
        "-lbenchmark",
        "-pthread",
    ],
)

cc_library(
    name = "benchmark_main",
    srcs = ["lib/libbenchmark_main.a"],
    deps = [":benchmark"],
)
"""

def google_benchmark():
    if not native.existing_rule("google_benchmark"):
        lib = "/usr/lib/x86_64-linux-gnu/"
        debian_package(
            name = "google_benchmark",
            package = "libbenchmark-dev",
            files = {
                "/usr/include/benchmark": "include/benchmark",
                # Debian has the library itself only as a shared one, which the
                # linker finds by name; linked here so that its absence is told.
                lib + "libbenchmark.so": "lib/libbenchmark.so",
                lib + "libbenchmark_main.a": "lib/libbenchmark_main.a",
            },
            build = _BUILD,
        )
