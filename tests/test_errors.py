"""What is said where a library is not there, or there and broken."""

from __future__ import annotations

import pytest

from limen.errors import LimenError, MissingExtraError, require

NEED = "a picture needs broken_library"


def test_a_module_that_is_there_is_imported():
    assert require("json.decoder", "plot", NEED).JSONDecoder().decode("1") == 1


def test_what_is_broken_says_its_reason_in_one_line(tmp_path, monkeypatch):
    for name, line in (("broken_library", "raise RuntimeError('first line.\\nsecond')"), ("halved", "import no_such")):
        (tmp_path / f"{name}.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        require("broken_library", "lab", NEED, instead=", or draw it yourself.")
    assert isinstance(caught.value, LimenError)
    assert str(caught.value) == (
        f"{NEED}, which cannot be imported (RuntimeError: first line); install it with: pip install 'limen[lab]', "
        "or draw it yourself."
    )
    for module, reason in (("halved", "No module named 'no_such'"), ("json.nothing", "No module named 'json.nothing'")):
        with pytest.raises(MissingExtraError, match=rf"cannot be imported \(ModuleNotFoundError: {reason}\)"):
            require(module, "lab", NEED)
