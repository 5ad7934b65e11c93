"""The Python toolchain: one virtual environment with all packages from PyPI."""

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

exports_files(["environment.json"])

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
    # Bazel's default is `python`, which Debian does not have.
    stub_shebang = "#!{python}",
)

py_runtime_pair(
    name = "runtime_pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtime_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _monolith_python_impl(ctx):
    python = ctx.os.environ.get("MONOLITH_PYTHON") or "/usr/bin/python3"
    ctx.report_progress("Making the Python environment")
    result = ctx.execute(
        [python, "-B", ctx.path(ctx.attr._script), "--result=environment.json"] +
        [ctx.path(lock) for lock in ctx.attr._locks],
        # A user's PYTHONPATH is for their programs, not for ours.
        environment = {"PYTHONHOME": "", "PYTHONPATH": ""},
        quiet = False,
        timeout = 3600,
    )
    if result.return_code != 0:
        fail("The Python environment could not be made (see the messages above). " +
             "It needs Python 3.10 or later with venv, here `%s`; " % python +
             "--repo_env=MONOLITH_PYTHON=/path/to/python3 chooses another.")
    environment = json.decode(ctx.read("environment.json"))
    ctx.file("BUILD", _BUILD.format(python = environment["python"]))

_monolith_python = repository_rule(
    implementation = _monolith_python_impl,
    attrs = {
        "_locks": attr.label_list(default = [
            # In the order of installation.
            Label("//third_party/python:build_requirements.txt"),
            Label("//third_party/python:requirements.txt"),
            Label("//third_party/python:data_requirements.txt"),
        ]),
        "_script": attr.label(default = Label("//third_party/python:create_environment.py")),
    },
    environ = [
        "HOME",
        "MONOLITH_PYTHON",
        "XDG_CACHE_HOME",
    ],
    # Looked at again whenever a Bazel server starts, which finds damage.
    local = True,
)

def monolith_python():
    if not native.existing_rule("monolith_python"):
        _monolith_python(name = "monolith_python")
