"""CommonJS modules of a Debian package as one ES module: browsers know no `require`, and what Debian 12's libjs-xterm
has for browsers is a stub that calls it.

The modules' texts are wrapped, not changed; a table says what each name means in each module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

_REQUIRE = re.compile(r"""\brequire\(["'](\.{1,2}/[^"']+)["']\)""")

_LOADER = """\
const loaded = new Map();
function load(id) {
    if (!loaded.has(id)) {
        const module = { exports: {} };
        loaded.set(id, module);
        const [run, names] = modules[id];
        run.call(module.exports, (name) => load(names[name]), module, module.exports);
    }
    return loaded.get(id).exports;
}
"""


def bundle(root: Path, exports: Mapping[str, str]) -> str:
    """A script that exports by name the exports of modules below `root`, given without `.js`. Raises OSError."""
    sources: dict[str, str] = {}
    names: dict[str, dict[str, str]] = {}
    waiting = list(exports.values())
    while waiting:
        module = waiting.pop()
        if module in sources:
            continue
        sources[module] = (root / f"{module}.js").read_text()
        names[module] = {name: _resolved(module, name) for name in _REQUIRE.findall(sources[module])}
        waiting += names[module].values()
    table = [
        f"{json.dumps(module)}: [function (require, module, exports) {{\n{text}\n}}, {json.dumps(names[module])}],\n"
        for module, text in sorted(sources.items())
    ]
    wanted = [f"export const {name} = load({json.dumps(module)});\n" for name, module in exports.items()]
    return "".join(["const modules = {\n", *table, "};\n", _LOADER, *wanted])


def _resolved(module: str, name: str) -> str:
    """What `name` means in `module`: `../Buffer` in `ui/Screen` is `Buffer`. None leaves the root."""
    parts = module.split("/")[:-1]
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
