"""CommonJS modules as one script."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.api.web.commonjs import bundle


def write(root: Path, **modules: str) -> None:
    for name, text in modules.items():
        path = root / f"{name.replace('__', '/')}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_only_what_is_needed_each_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='var a = require("./ui/a"), b = require("./b"); exports.sum = a.value + b.value;',
        ui__a='exports.value = 1 + require("../b").value;',
        b="exports.value = 20;",
        unused="throw 1;",
    )
    script = bundle(tmp_path, {"main": "main", "other": "b"})
    assert script.count("exports.value = 20;") == 1
    assert "throw 1" not in script
    assert '{"../b": "b"}' in script
    assert script.endswith('export const main = load("main");\nexport const other = load("b");\n')


def test_nothing_outside_the_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.js").write_text("secret")
    write(tmp_path / "root", main='require("../../secret");', secret="not secret")
    assert '"secret": [function (require, module, exports) {\nnot secret' in bundle(tmp_path / "root", {"main": "main"})


def test_a_module_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path, main='require("./gone");')
    with pytest.raises(FileNotFoundError, match=r"gone\.js"):
        bundle(tmp_path, {"main": "main"})
