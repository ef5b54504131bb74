"""A kind of contract that import-linter lacks: all that some packages may import, by name.

`pyproject.toml` names it among the contracts that `make imports` checks.
"""

from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class AllowedImports(Contract):
    """`packages` import each other's modules, and of all else only what is on one of two lists.

    `allowed` are packages with all their modules, ours and others'. `allowed_modules` are modules alone: if one is a
    package, its modules are not allowed. What lies in a package is seen if it is one of import-linter's
    `root_packages`: of others, it knows only the package.

    Imports count wherever they are written, in a function too. A name that is built at run time is not seen: hence
    `importlib` is on no list.
    """

    packages = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField())
    allowed_modules = fields.ListField(subfield=fields.StringField(), required=False)
    advice = fields.StringField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter calls it so
        """Compare each direct import with the lists."""
        packages = cast("list[str]", self.packages)
        allowed = packages + cast("list[str]", self.allowed)
        modules = cast("list[str] | None", self.allowed_modules) or []
        violations = []
        for importer in sorted(name for name in graph.modules if _within(name, packages)):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if imported not in modules and not _within(imported, allowed):
                    details = graph.get_import_details(importer=importer, imported=imported)
                    lines = ", ".join(str(detail["line_number"]) for detail in details)
                    violations.append(f"{importer} imports {imported} (line {lines})")
        return ContractCheck(kept=not violations, metadata={"violations": violations})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line per import that is not on a list."""
        for line in check.metadata["violations"]:
            output.print_error(f"{line}: {self.advice}")


def _within(name: str, packages: list[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
