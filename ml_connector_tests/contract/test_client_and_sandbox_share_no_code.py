"""The imitated vendors and the product meet on the wire alone: a mistake in shared code would hide itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SANDBOX = "ml_connector.sandbox"
MAY_START_IT = "ml_connector.cli"


def _modules(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts), ast.parse(path.read_text(encoding="utf-8"))


def _imported(tree: ast.Module) -> set[str]:
    """The dotted names of ours that a module imports, wherever the import stands, or names in a text.

    Texts count because importlib, Dagster and subprocesses take a module by its name.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            found.add(node.value)
    return {name for name in found if name.partition(".")[0] == "ml_connector" and "." in name}


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_the_sandbox_uses_nothing_of_the_product() -> None:
    modules = dict(_modules(ROOT / "ml_connector" / "sandbox"))
    assert len(modules) > 50
    strange = {
        f"{module} -> {name}"
        for module, tree in modules.items()
        for name in _imported(tree)
        if not _within(name, SANDBOX)
    }
    assert strange == set()


def test_the_product_uses_nothing_of_the_sandbox_but_to_start_it() -> None:
    modules = dict(_modules(ROOT / "ml_connector"))
    users = {
        module
        for module, tree in modules.items()
        if not _within(module, SANDBOX) and any(_within(name, SANDBOX) for name in _imported(tree))
    }
    assert users
    assert {module for module in users if not _within(module, MAY_START_IT)} == set()


@pytest.mark.parametrize(
    "source",
    [
        "import ml_connector.money",
        "from ml_connector import money",
        "from ml_connector.money import to_cents",
        "def f():\n    from ml_connector.money import to_cents",
        "importlib.import_module('ml_connector.money')",
    ],
)
def test_the_scan_sees_every_form_of_import(source: str) -> None:
    assert any(_within(name, "ml_connector.money") for name in _imported(ast.parse(source)))


def test_the_peers_scripts_know_nothing_of_ours() -> None:
    scripts = dict(_modules(Path(__file__).parent / "peer_scripts"))
    assert scripts
    ours = {module for module, tree in scripts.items() if "ml_connector" in ast.dump(tree)}
    assert ours == set()
