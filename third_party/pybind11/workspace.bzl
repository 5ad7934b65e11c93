"""pybind11 and Python's C headers, of the interpreter in `@monolith_python`."""

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "pybind11",
    hdrs = glob([
        "pybind11/**/*.h",
        "python/**/*.h",
    ]),
    includes = [
        ".",
        "python",
    ],
)
"""

_PRINT_INCLUDE = "import sysconfig; print(sysconfig.get_path('include'))"

def _pybind11_impl(ctx):
    environment = json.decode(ctx.read(ctx.attr._environment))
    result = ctx.execute([environment["python"], "-I", "-c", _PRINT_INCLUDE])
    headers = ctx.path(result.stdout.strip())
    if not headers.get_child("Python.h").exists:
        fail(("{headers}/Python.h is missing. Install the system package `python3-dev` " +
              "or run tools/bazel, which installs all that are needed; with a Python of " +
              "your own, install its headers.").format(headers = headers))
    ctx.symlink(headers, "python")
    site_packages = ctx.path(environment["site_packages"])
    pybind11 = site_packages.get_child("pybind11").get_child("include")
    ctx.symlink(pybind11.get_child("pybind11"), "pybind11")
    ctx.file("BUILD", _BUILD)

_pybind11 = repository_rule(
    implementation = _pybind11_impl,
    attrs = {
        "_environment": attr.label(default = "@monolith_python//:environment.json"),
    },
    local = True,
)

def pybind11():
    if not native.existing_rule("pybind11"):
        _pybind11(name = "pybind11")
