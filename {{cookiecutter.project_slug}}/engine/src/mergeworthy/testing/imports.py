"""A kind of contract that import-linter lacks: all that some packages may import, by name.

`pyproject.toml` names it among the contracts that `make imports` checks.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class AllowedImports(Contract):
    """`packages` import each other's modules, and of all else only `allowed`: modules or packages, ours and others'.

    Imports count wherever they are written, in a function too. A name that is built at run time is not seen: hence
    `importlib` is on no list.
    """

    packages = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField())
    advice = fields.StringField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter calls it so
        """Compare each direct import with the list."""
        allowed = [*self.packages, *self.allowed]  # type: ignore[misc]
        found = []
        for importer in sorted(name for name in graph.modules if _within(name, self.packages)):  # type: ignore[arg-type]
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if not _within(imported, allowed):
                    details = graph.get_import_details(importer=importer, imported=imported)
                    lines = ", ".join(str(detail["line_number"]) for detail in details)
                    found.append(f"{importer} imports {imported} (line {lines})")
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line per import that is not on the list."""
        for line in check.metadata["found"]:
            output.print_error(f"{line}: {self.advice}")


def _within(name: str, packages: list[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
