"""``--task sequence``: arrays and images as sequences, the written-out cells, from files to report."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command
from PIL import Image
from torch import nn

import limen
from limen.errors import DataError
from limen.lab.records import Confusion
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.sequence import sequences
from limen.lab.tasks.sequence.gated import GRU, MOPGRU, GRUCell, MOPGRUCell
from limen.lab.tasks.sequence.sequences import AS_ROWS, SequenceData

KINDS = ("rise", "fall", "wave")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def sequence(kind: str, number: int, features: int = 3) -> np.ndarray:
    """Of 5 to 9 steps, which rise, fall or go up and down."""
    random = np.random.default_rng(number)
    steps = 5 + number % 5
    shape = {"rise": np.linspace(-1, 1, steps), "fall": np.linspace(1, -1, steps), "wave": (-1.0) ** np.arange(steps)}
    return shape[kind][:, None] * np.arange(1, features + 1) + random.normal(0, 0.1, (steps, features)) + 5


def folder(root: Path, count: int = 10, *, start: int = 0) -> Path:
    for kind in KINDS:
        (root / kind).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            np.save(root / kind / f"{number}.npy", sequence(kind, number))
    return root


def settings(data: Path | str, **changed: object) -> StudySettings:
    values = {"task": "sequence", "data": str(data), "network": "gru", "batch_size": 8, "eval_batch_size": 50}
    return StudySettings(**{**values, "activations": ("relu",), "baseline": "relu", "seeds": (0,), **changed})


def loaded(data: Path | str, **changed: object) -> SequenceData:
    found = tasks.find("sequence").load(settings(data, **changed))
    assert isinstance(found, SequenceData)
    return found


def test_arrays_are_padded_masked_and_standardised_over_the_steps_there_are(tmp_path: Path) -> None:
    data = loaded(folder(tmp_path))
    assert data.classes == ("fall", "rise", "wave")
    assert data.input_shape == (9, 4)
    assert (len(data.train), len(data.validation or ()), len(data.test or ())) == (21, 3, 6)
    assert data.facts().description == ("3 classes", "5 to 9 steps", "3 features")
    mask = data.train.inputs[:, :, -1].bool()
    assert set(mask.sum(1).tolist()) <= {5, 6, 7, 8, 9}
    assert (data.train.inputs[~mask] == 0).all()
    assert (mask[:, :-1] | ~mask[:, 1:]).all()  # no step after a padded one
    steps = data.train.inputs[mask][:, :-1]
    assert torch.allclose(steps.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(steps.std(0, correction=0), torch.ones(3), atol=1e-5)


def test_what_is_read_is_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "standardised", lambda data, scale: data)
    data = loaded(folder(tmp_path / "train", 8), validation_fraction=0.1)
    every = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    lengths = every[:, :, -1].sum(1).long()
    written = [torch.tensor(sequence(kind, number)).float() for kind in KINDS for number in range(8)]
    for wanted in written:
        assert any(
            n == len(wanted) and torch.equal(row[:n, :-1], wanted)
            for row, n in zip(every, lengths.tolist(), strict=True)
        )


def test_every_layout_holds_the_same_sequences(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain", 6)
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        for file in sorted(plain.rglob("*.npy")):
            archive.write(file, file.relative_to(plain))
    with tarfile.open(tmp_path / "plain.tar.gz", "w:gz") as archive:
        archive.add(plain, "plain")
    (tmp_path / "alone").mkdir()
    (tmp_path / "plain.zip").rename(tmp_path / "alone" / "data.zip")
    reference = loaded(plain)
    for other in (tmp_path / "plain.tar.gz", tmp_path / "alone"):
        assert torch.equal(loaded(other).train.inputs, reference.train.inputs)
    for part, start in (("train", 0), ("val", 20), ("test", 30)):
        folder(tmp_path / "parts" / part, 4, start=start)
    parts = loaded(tmp_path / "parts")
    assert [len(split or ()) for split in (parts.train, parts.validation, parts.test)] == [12, 12, 12]


def test_keypoints_of_several_axes_are_flattened_and_integers_are_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(5):
            np.save(tmp_path / kind / f"{number}.npy", random.integers(0, 99, (4, 21, 3)))
    assert loaded(tmp_path).input_shape == (4, 64)


def test_images_are_read_as_rows_and_that_is_said(tmp_path: Path) -> None:
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(10):
            values = np.random.default_rng(number).integers(0, 256, (6, 4, 3), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / kind / f"{number}.png")
    data = loaded(tmp_path)
    assert data.input_shape == (6, 4 * 3 + 1)
    assert (data.train.inputs[:, :, -1] == 1).all()
    assert data.facts().notes == (AS_ROWS,)
    assert loaded(tmp_path, image_size=(8, 5), grey=True).input_shape == (8, 6)
    image = torch.arange(2 * 3 * 4).reshape(1, 2, 3, 4).to(torch.uint8)
    rows = sequences._as_rows(
        sequences.ImageData("d", ("a",), sequences.Split(image, torch.zeros(1).long()), None, None)
    )
    assert torch.allclose(rows.train.inputs[0, 1, :-1] * 255, torch.tensor([4.0, 5, 6, 7, 16, 17, 18, 19]))


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("unpickled").touch, ())


def _with_header(header: bytes) -> bytes:
    """An .npy file that Python's parser cannot read the header of."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(96)


def _broken(root: Path, what: str) -> str:
    """Break one file of a good folder; return what the message must say."""
    path = root / "rise" / "3.npy"

    def save(values: object) -> None:
        np.save(path, values, allow_pickle=True)

    actions = {
        "truncated": lambda: path.write_bytes(path.read_bytes()[:-20]),
        "no array": lambda: path.write_bytes(b"no array"),
        "empty": lambda: path.write_bytes(b""),
        "huge": lambda: path.write_bytes(
            path.read_bytes().replace(b"(8, 3)", b"(8, 3000000000)")[: len(path.read_bytes())]
        ),
        "deep": lambda: path.write_bytes(_with_header(b"-" * 9000 + b"1")),
        "open": lambda: path.write_bytes(_with_header(b"{'descr': (")),
        "pickled": lambda: path.write_bytes(pickle.dumps(Evil())),
        "objects": lambda: save(np.array([[Evil()]], dtype=object)),
        "text": lambda: save(np.array([["a", "b", "c"]])),
        "one axis": lambda: save(np.zeros(5)),
        "no steps": lambda: save(np.zeros((0, 3))),
        "nan": lambda: save(np.full((5, 3), np.nan)),
        "too large": lambda: save(np.full((5, 3), 1e300)),
        "features": lambda: save(np.zeros((5, 4))),
        "empty class": lambda: [file.unlink() for file in (root / "rise").glob("*")],
        "split classes": lambda: [(root / "train").mkdir(), (root / "rise").rename(root / "train" / "rise")],
    }
    actions[what]()
    return {
        "text": "3.npy holds <U1",
        "one axis": "3.npy has the shape (5,); a sequence has (steps, features)",
        "no steps": "3.npy has the shape (0, 3)",
        "nan": "3.npy holds NaN or infinity",
        "too large": "3.npy holds NaN or infinity",
        "features": "3.npy has 4; they must be the same",
        "empty class": "rise has no sequences",
        "split classes": "mixes split folders ('train') with other folders of sequences",
    }.get(what, "3.npy does not read as an .npy array")


@pytest.mark.parametrize(
    "what",
    ["truncated", "no array", "empty", "huge", "deep", "open",
     "pickled", "objects", "text", "one axis", "no steps", "nan",
     "too large", "features", "empty class", "split classes"],
)  # fmt: skip
def test_what_is_broken_is_named(what: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = _broken(folder(tmp_path / "data"), what)
    outcome = run("compare", "--task", "sequence", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert said in outcome.sentence
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "unpickled").exists()


def test_a_truncated_archive_and_options_that_arrays_have_not_are_refused(run: Command, tmp_path: Path) -> None:
    folder(tmp_path / "data")
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "data", "data")
    content = (tmp_path / "data.tar.gz").read_bytes()
    (tmp_path / "data.tar.gz").write_bytes(content[: len(content) // 2])
    outcome = run("compare", "--task", "sequence", "--data", tmp_path / "data.tar.gz", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "damaged or incomplete" in outcome.sentence
    with pytest.raises(DataError, match="--image-size cannot change"):
        loaded(tmp_path / "data", image_size=(8, 8))
    with pytest.raises(DataError, match="--grey cannot change"):
        loaded(tmp_path / "data", grey=True)
    outcome = run("compare", "--data", "digits", "--task", "sequence", "--target", "a", "--out", tmp_path / "out")
    assert "--target 'a' is not an option of --task sequence" in outcome.sentence


def test_one_sequence_that_is_far_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "LARGEST", 50_000)
    np.save(folder(tmp_path) / "wave" / "0.npy", np.zeros((500, 3)))
    with pytest.raises(DataError, match=r"wave/0\.npy with 500 steps"):
        loaded(tmp_path)


def test_the_gru_is_torchs_where_its_activation_is_tanh() -> None:
    torch.manual_seed(0)
    ours, theirs = GRUCell(5, 7), nn.GRU(5, 7, batch_first=True)
    ours.activation = nn.Tanh()
    with torch.no_grad():
        # torch orders reset, update, candidate as we do, and has a bias on both sides as well.
        theirs.weight_ih_l0.copy_(ours.input.weight)
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias)
        theirs.bias_hh_l0.copy_(ours.recurrent.bias)
    x, lengths = torch.randn(4, 9, 5), torch.tensor([9, 3, 1, 6])
    mask = torch.arange(9)[None, :, None] < lengths[:, None, None]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, last = theirs(packed)
    given, state = ours(x * mask, mask)
    torch.testing.assert_close(state, last[0])
    unpacked, _ = nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
    torch.testing.assert_close(given * mask, unpacked)


def test_mopgru_is_its_equations() -> None:
    torch.manual_seed(0)
    cell, x = MOPGRUCell(3, 4), torch.randn(2, 5, 3)
    cell.activation = nn.ELU()
    given, last = cell(x, torch.ones(2, 5, 1, dtype=torch.bool))
    (w_r, w_z, w_c), (u_r, u_z, u_c) = cell.input.weight.chunk(3), cell.recurrent.weight.chunk(3)
    (a_r, a_z, a_c), (b_r, b_z, b_c) = cell.input.bias.chunk(3), cell.recurrent.bias.chunk(3)
    state, wanted = torch.zeros(2, 4), []
    for step in x.unbind(1):
        reset = torch.sigmoid(step @ w_r.T + a_r + state @ u_r.T + b_r)
        update = torch.sigmoid(step @ w_z.T + a_z + state @ u_z.T + b_z) * reset
        candidate = torch.nn.functional.elu(step @ w_c.T + a_c + reset * (state @ u_c.T + b_c))
        state = update * state + (1 - update) * candidate
        wanted.append(state / (1 + state.abs()))
    torch.testing.assert_close(given, torch.stack(wanted, 1))
    torch.testing.assert_close(last, wanted[-1])


@pytest.mark.parametrize("network", [GRU, MOPGRU])
def test_padding_changes_no_answer(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    built = network(4, 3).eval()
    x = torch.cat([torch.randn(2, 5, 3), torch.ones(2, 5, 1)], 2)
    padded = torch.cat([x, torch.zeros(2, 4, 4)], 1)
    torch.testing.assert_close(built(padded), built(x))


def test_batch_normalisation_sees_only_the_steps_there_are() -> None:
    torch.manual_seed(0)
    first, second = MOPGRU(4, 3), MOPGRU(4, 3)
    second.load_state_dict(first.state_dict())
    x = torch.cat([torch.randn(3, 5, 3), torch.ones(3, 5, 1)], 2)
    for network, inputs in ((first, x), (second, torch.cat([x, torch.zeros(3, 6, 4)], 1))):
        network.dropout.p = 0.0
        network(inputs)
    torch.testing.assert_close(first.norms[0].running_mean, second.norms[0].running_mean)
    torch.testing.assert_close(first.norms[1].running_var, second.norms[1].running_var)


@pytest.mark.parametrize(("network", "sites"), [(GRU, 1), (MOPGRU, 3)])
def test_candidates_are_replaced_and_gates_and_softsign_stay(network: type[nn.Module], sites: int) -> None:
    built = network(4, 3)
    report = limen.swap_(built, "apalu")
    assert len(report.sites) == sites
    assert not report.unreached
    cells = [cell for cell in built.modules() if isinstance(cell, GRUCell)]
    assert len(cells) == sites
    for cell in cells:
        assert type(cell.activation) is limen.APALU
        assert type(cell.gate) is nn.Sigmoid
        assert not isinstance(cell, MOPGRUCell) or type(cell.output) is nn.Softsign


def test_mopgru_has_as_many_parameters_as_its_layers_say() -> None:
    network = MOPGRU(33, 10)
    layers = [3 * width * (before + width + 2) for before, width in ((32, 128), (128, 64), (64, 32))]
    norms = 2 * (128 + 64)
    assert sum(p.numel() for p in network.parameters()) == sum(layers) + norms + 33 * 10


def test_a_study_of_sequences_from_files_to_report(run: Command, tmp_path: Path) -> None:
    folder(tmp_path / "data", 20)
    options = ("--task", "sequence", "--data", tmp_path / "data", "--activations", "relu,apalu", "--seeds", "1")
    rest = ("--epochs", "12", "--batch-size", "8", "--lr", "0.01", "--out", tmp_path / "out", "--json")
    outcome = run("compare", *options, *rest)
    assert outcome.code == 0, outcome.err
    for row in outcome.json["runs"]:
        assert row["test_accuracy"] > 0.8  # a guess would have a third
        assert row["test_f1"] > 0.7
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    assert "<image" not in page  # a browser shows a bitmap inside such an SVG as broken
    for said in ("Confusion matrix", "5 to 9 steps", "3 features"):
        assert said in page
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "runs").glob("*")}
    assert run("compare", *options, *rest).code == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "out" / "runs").glob("*")}


def test_the_confusion_matrix_counts_the_test_sequences(tmp_path: Path) -> None:
    task, chosen = tasks.find("sequence"), settings(folder(tmp_path))
    data = task.load(chosen)
    network = task.build("gru", data, 0).eval()
    shown = task.show(network, data, chosen)
    assert isinstance(shown, Confusion)
    with torch.no_grad():
        answers = network(data.test.inputs).argmax(1)
    for true in range(3):
        for predicted in range(3):
            both = ((data.test.labels == true) & (answers == predicted)).sum()
            assert shown.counts[true][predicted] == both
