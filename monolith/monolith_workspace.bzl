"""Everything that a workspace needs in order to build Monolith.

A workspace that embeds this one writes:

    local_repository(name = "org_monolith", path = "...")

    load("@org_monolith//monolith:monolith_workspace.bzl", "monolith_workspace")

    monolith_workspace()
"""

load("//third_party/bazel_rules:workspace.bzl", "bazel_rules")
load("//third_party/google_benchmark:workspace.bzl", "google_benchmark")
load("//third_party/googletest:workspace.bzl", "googletest")
load("//third_party/nlohmann_json:workspace.bzl", "nlohmann_json")
load("//third_party/pybind11:workspace.bzl", "pybind11")
load("//third_party/python:workspace.bzl", "monolith_python")
load("//third_party/tensorflow:workspace.bzl", "tensorflow")

def monolith_workspace():
    """Declares the repositories that Monolith's targets use.

    A repository that the calling workspace has already declared under the same
    name is left alone. Nothing is downloaded but Python packages.
    """
    bazel_rules()
    google_benchmark()
    googletest()
    nlohmann_json()
    monolith_python()
    pybind11()
    tensorflow()

    native.register_toolchains("@monolith_python//:toolchain")
