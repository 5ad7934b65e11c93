"""Stand-ins for rule repositories that Bazel 4 would fetch from the network.

Bazel 4's own BUILD files load `cc_library` and the like from `@rules_cc` and its
relatives, whose files forward to the rules built into Bazel. These repositories
do the same forwarding. Later versions bring real ones and get none of this.
"""

def _shim_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD", "")
    if ctx.attr.defs:
        package = ctx.attr.defs.rpartition("/")[0]
        ctx.file(package + "/BUILD", "exports_files([\"defs.bzl\"])\n")
        lines = ["%s = native.%s" % (rule, rule) for rule in ctx.attr.rules]
        lines += ["%s = %s" % item for item in ctx.attr.symbols.items()]
        ctx.file(ctx.attr.defs, "\n".join(ctx.attr.header + lines) + "\n")
    for path, content in ctx.attr.files.items():
        ctx.file(path, content)

_shim = repository_rule(
    implementation = _shim_impl,
    attrs = {
        "defs": attr.string(doc = "Path of the file of rules, if there is one."),
        "files": attr.string_dict(doc = "Further files: path -> content."),
        "header": attr.string_list(doc = "First lines of the file of rules."),
        "rules": attr.string_list(doc = "Native rules forwarded to."),
        "symbols": attr.string_dict(doc = "Other symbols: name -> expression."),
    },
)

_CC_RULES = [
    "cc_binary",
    "cc_import",
    "cc_library",
    "cc_proto_library",
    "cc_test",
    "cc_toolchain",
    "cc_toolchain_suite",
    "fdo_prefetch_hints",
    "fdo_profile",
    "objc_import",
    "objc_library",
]

_JAVA_RULES = [
    "java_binary",
    "java_import",
    "java_library",
    "java_lite_proto_library",
    "java_package_configuration",
    "java_plugin",
    "java_proto_library",
    "java_runtime",
    "java_test",
    "java_toolchain",
]

_COVERAGE_BUILD = """
package(default_visibility = ["//visibility:public"])

filegroup(name = "coverage_report_generator")

filegroup(name = "lcov_merger")
"""

def _maybe(name, **kwargs):
    if not native.existing_rule(name):
        _shim(name = name, **kwargs)

def bazel_rules():
    """Declares the stand-ins where this Bazel needs them."""

    # Debian's build of Bazel 4.2.3 tells no version.
    if native.bazel_version and not native.bazel_version.startswith("4."):
        return
    _maybe("rules_cc", defs = "cc/defs.bzl", rules = _CC_RULES)
    _maybe("rules_java", defs = "java/defs.bzl", rules = _JAVA_RULES)
    _maybe(
        "rules_proto",
        defs = "proto/defs.bzl",
        rules = [
            "proto_lang_toolchain",
            "proto_library",
        ],
        symbols = {"ProtoInfo": "_ProtoInfo"},
        header = ["_ProtoInfo = ProtoInfo"],
    )
    _maybe(
        "rules_python",
        defs = "python/defs.bzl",
        header = [
            "load(\"@bazel_tools//tools/python:toolchain.bzl\", _pair = \"py_runtime_pair\")",
        ],
        rules = [
            "py_binary",
            "py_library",
            "py_runtime",
            "py_test",
        ],
        symbols = {"py_runtime_pair": "_pair"},
    )
    _maybe("remote_coverage_tools", files = {"BUILD": _COVERAGE_BUILD})
