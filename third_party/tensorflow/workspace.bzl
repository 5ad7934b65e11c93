"""TensorFlow's C++ headers and library, from the wheel in `@monolith_python`.

The headers are split so that code sees what it depends on and nothing else:

    @tensorflow//:absl        Abseil: the wheel's own, the only one in the program
    @tensorflow//:protobuf    Abseil and protobuf
    @tensorflow//:framework   all that a custom op needs
"""

_BUILD = """
package(default_visibility = ["//visibility:public"])

exports_files(["version.txt"])

cc_library(
    name = "absl",
    srcs = ["libtensorflow_framework.so.2"],
    hdrs = glob([
        "absl/absl/**/*.h",
        "absl/absl/**/*.inc",
    ]),
    # The wheel's libstdc++ string layout.
    defines = ["_GLIBCXX_USE_CXX11_ABI=1"],
    includes = ["absl"],
)

cc_library(
    name = "protobuf",
    hdrs = glob(
        [
            "protobuf/google/protobuf/**/*.h",
            "protobuf/google/protobuf/**/*.inc",
        ],
        exclude = ["protobuf/google/protobuf/_virtual_*/**"],
    ),
    includes = ["protobuf"],
    deps = [":absl"],
)

cc_library(
    name = "framework",
    hdrs = glob(
        [
            "framework/Eigen/**",
            "framework/ml_dtypes/**",
            "framework/tensorflow/core/**/*.h",
            "framework/tensorflow/tsl/**/*.h",
            "framework/third_party/eigen3/**",
            "framework/tsl/**/*.h",
            "framework/unsupported/Eigen/**",
            "framework/xla/tsl/**/*.h",
        ],
        exclude = [
            "framework/tensorflow/core/ir/**",
            "framework/tensorflow/core/kernels/**",
            "framework/tensorflow/core/tfrt/**",
            "framework/tensorflow/core/transforms/**",
        ],
    ),
    # Eigen's alignment is part of the layout of tensors, and would otherwise
    # follow -march.
    defines = ["EIGEN_MAX_ALIGN_BYTES=64"],
    includes = ["framework"],
    deps = [":protobuf"],
)
"""

# Folders under the wheel's include/ -> the part that they belong to. A version of
# TensorFlow need not have all of them.
_PARTS = {
    "Eigen": "framework",
    "absl": "absl",
    "google": "protobuf",
    "ml_dtypes": "framework",
    "tensorflow": "framework",
    "third_party": "framework",
    "tsl": "framework",
    "unsupported": "framework",
    "xla": "framework",
}

def _version(site_packages):
    for entry in site_packages.readdir():
        name, separator, suffix = entry.basename.rpartition(".dist-info")
        package, _, version = name.partition("-")
        if separator and not suffix and package in ["tensorflow", "tensorflow_cpu"]:
            return version
    fail("No TensorFlow in %s: is it in third_party/python/requirements.txt?" % site_packages)

def _tensorflow_impl(ctx):
    environment = json.decode(ctx.read(ctx.attr._environment))
    site_packages = ctx.path(environment["site_packages"])
    tensorflow = site_packages.get_child("tensorflow")
    for folder, part in _PARTS.items():
        headers = tensorflow.get_child("include").get_child(folder)
        if headers.exists:
            ctx.symlink(headers, part + "/" + folder)
    library = "libtensorflow_framework.so.2"
    ctx.symlink(tensorflow.get_child(library), library)
    version = _version(site_packages)
    ctx.file("version.bzl", "TENSORFLOW_VERSION = \"%s\"\n" % version)
    ctx.file("version.txt", version)
    ctx.file("BUILD", _BUILD)

_tensorflow = repository_rule(
    implementation = _tensorflow_impl,
    attrs = {
        "_environment": attr.label(default = "@monolith_python//:environment.json"),
    },
    local = True,
)

def tensorflow():
    if not native.existing_rule("tensorflow"):
        _tensorflow(name = "tensorflow")
