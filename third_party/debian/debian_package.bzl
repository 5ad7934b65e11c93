"""A repository made of the headers and libraries of an installed Debian package."""

def _debian_package_impl(ctx):
    for target, link in ctx.attr.files.items():
        source = ctx.path(target)
        if not source.exists:
            fail(("{target} is missing. Install the system package " +
                  "`{package}` (apt-get install {package}) or run tools/bazel, " +
                  "which installs all that are needed.").format(
                target = target,
                package = ctx.attr.package,
            ))
        ctx.symlink(source, link)
    ctx.file("BUILD", ctx.attr.build)

debian_package = repository_rule(
    implementation = _debian_package_impl,
    attrs = {
        "build": attr.string(mandatory = True, doc = "Content of the BUILD file."),
        "files": attr.string_dict(
            mandatory = True,
            doc = "Path of a file or folder on this machine -> its path in the repository.",
        ),
        "package": attr.string(mandatory = True, doc = "Name of the Debian package."),
    },
    local = True,
)
