"""The rules that all BUILD files of this repository use.

They carry the compiler's and Python's settings, and are the one place that adapts to
the version of Bazel. Attributes not named here are passed on to Bazel's own rule.
"""

# Package that sets TensorFlow's Keras when imported: part of whatever imports
# anything below it.
_PACKAGE_INIT = Label("//monolith:init")
_DEBUG = Label("//tools/build_defs:debug")
_HIDE_SYMBOLS = Label("//tools/build_defs:hide_symbols.lds")
_PYTHON_EXTENSION = Label("//tools/build_defs:python_extension.lds")

# For arithmetic whose results must be the same on every machine: no fused
# multiply-add. Roots that need not set errno, and comparisons that need not trap,
# let loops vectorize.
KERNEL_COPTS = [
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]

def _copts(copts):
    """Flags of our own code. Dependencies' headers are system headers: no warnings."""
    flags = ["-std=c++17", "-Wall", "-Wextra"]

    # Another workspace may have another compiler, with warnings that we never saw.
    if native.repository_name() == "@":
        flags.append("-Werror")
    return flags + select({
        str(_DEBUG): ["-O0"],
        "//conditions:default": ["-O3"],
    }) + copts

def cc_library(name, copts = [], **kwargs):
    native.cc_library(name = name, copts = _copts(copts), **kwargs)

def cc_binary(name, copts = [], **kwargs):
    native.cc_binary(name = name, copts = _copts(copts), **kwargs)

def cc_test(name, copts = [], deps = [], **kwargs):
    """A GoogleTest; `main` comes with it.

    Args:
      name: name of the test.
      copts: further compiler flags.
      deps: libraries besides GoogleTest.
      **kwargs: passed on.
    """
    native.cc_test(
        name = name,
        copts = _copts(copts),
        linkstatic = kwargs.pop("linkstatic", True),
        deps = deps + [
            "@googletest//:gtest",
            "@googletest//:gtest_main",
        ],
        **kwargs
    )

def _shared_library(name, version_script, deps, copts, linkopts, **kwargs):
    """A shared library that exports what its version script says."""
    native.cc_binary(
        name = name,
        copts = _copts(copts),
        linkopts = linkopts + [
            "-Wl,--version-script=$(location %s)" % version_script,
        ],
        linkshared = True,
        linkstatic = True,
        deps = deps + [str(version_script)],
        **kwargs
    )

def custom_op_library(name, deps = [], copts = [], linkopts = [], **kwargs):
    """A shared library of TensorFlow ops, for `tf.load_op_library`.

    It exports no symbol and takes TensorFlow's from libtensorflow_framework, which the
    Python process has loaded already.

    Args:
      name: file name of the library, such as "_my_ops.so".
      deps: libraries to link in; the ones that register ops need `alwayslink = True`.
      copts: further compiler flags.
      linkopts: further linker flags.
      **kwargs: passed on.
    """
    _shared_library(
        name = name,
        version_script = _HIDE_SYMBOLS,
        deps = deps + ["@tensorflow//:framework"],
        copts = copts,
        linkopts = linkopts + ["-Wl,-z,defs"],
        **kwargs
    )

def python_extension(
        name,
        deps = [],
        copts = [],
        linkopts = [],
        version_script = _PYTHON_EXTENSION,
        **kwargs):
    """A Python module written in C++ with pybind11.

    Args:
      name: file name of the module, such as "_my_module.so".
      deps: libraries to link in.
      copts: further compiler flags.
      linkopts: further linker flags.
      version_script: what it exports, for one that others than Python load too.
      **kwargs: passed on.
    """
    _shared_library(
        name = name,
        version_script = version_script,
        deps = deps + ["@pybind11//:pybind11"],
        # pybind11's classes are hidden, and what holds one must not be less so.
        copts = ["-fvisibility=hidden"] + copts,
        linkopts = linkopts,
        **kwargs
    )

def _py_deps(deps):
    if native.package_name().startswith("monolith/"):
        return deps + [str(_PACKAGE_INIT)]
    return deps

def py_library(name, deps = [], **kwargs):
    native.py_library(
        name = name,
        srcs_version = "PY3",
        deps = _py_deps(deps),
        **kwargs
    )

def py_binary(name, deps = [], **kwargs):
    native.py_binary(
        name = name,
        legacy_create_init = False,
        python_version = "PY3",
        srcs_version = "PY3",
        deps = _py_deps(deps),
        **kwargs
    )

def py_test(name, deps = [], **kwargs):
    native.py_test(
        name = name,
        legacy_create_init = False,
        python_version = "PY3",
        srcs_version = "PY3",
        deps = _py_deps(deps),
        **kwargs
    )
