"""What the site's pages are made of besides docs/: a hook of mkdocs.

README, CHANGELOG and CONTRIBUTING become pages, and the API reference is written from the tree: a page for each room of
`src/siamtrack`, a section for each of its modules that has public names.
"""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "siamtrack"
ROOT_PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><g fill="none" stroke="#009485" stroke-width="2">'
    '<rect x="2" y="2" width="12" height="12"/><circle cx="8" cy="8" r="2"/></g></svg>'
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation's API reference."""
    for entry in config.nav or []:
        if "API reference" in entry:
            entry["API reference"] = [{name: f"api/{name}.md"} for name in rooms()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of docs/ or in no file."""
    made = {page: (ROOT / name).read_text() for name, page in ROOT_PAGES.items()}
    made |= {f"api/{name}.md": room_page(name, modules) for name, modules in rooms().items()}
    made["favicon.svg"] = FAVICON
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that are right in the repository be right in the site."""
    if page.file.src_uri in ROOT_PAGES.values():
        markdown = markdown.replace("](docs/", "](")
    for name, target in ROOT_PAGES.items():
        markdown = re.sub(rf"\]\((\.\./)?{re.escape(name)}", f"]({target}", markdown)
    return re.sub(r"\]\((\.\./)?examples/?[\w.]*\)", "](examples.md)", markdown)


def rooms() -> dict[str, dict[str, list[str]]]:
    """The public names of each room, by its modules' dotted names; modules at the top are rooms of their own.

    A name that a room's `__init__` offers is listed there and not in the module that it comes from.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):  # `__init__` comes before its modules
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = "siamtrack" if parts == ("__init__",) else parts[0]
        modules = found.setdefault(room, {})
        names = [name for name in public_names(path) if name not in modules.get(f"siamtrack.{room}", [])]
        if names and room != "__main__":
            modules[".".join(("siamtrack", *parts)).removesuffix(".__init__")] = names
    return {room: modules for room, modules in found.items() if modules}


def public_names(path: Path) -> list[str]:
    """What a module's `__all__` lists; without one, what it defines and describes under a name without underscore."""
    body = ast.parse(path.read_text()).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__" and node.value is not None:
                return list(ast.literal_eval(node.value))
            described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(target, ast.Name) and described:
                found.append(target.id)
    return [name for name in found if not name.startswith("_")]


def room_page(room: str, modules: dict[str, list[str]]) -> str:
    """The page of a room: its own description, then a section for each of its modules."""
    package = PACKAGE / room / "__init__.py"
    described = f"siamtrack.{room}" not in modules and package.is_file()
    text = f"# {room}\n\n{(ast.get_docstring(ast.parse(package.read_text())) if described else None) or ''}\n"
    for module, names in modules.items():
        text += f"\n## {module}\n\n::: {module}\n    options:\n      show_root_heading: false\n"
        text += f"      show_root_toc_entry: false\n      members: [{', '.join(names)}]\n"
    return text
