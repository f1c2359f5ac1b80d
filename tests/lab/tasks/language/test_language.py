"""``--task language``: tokens and windows of a text, bits per byte, causality, the networks, from files to report."""

from __future__ import annotations

import json
import math
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command, experiment_of
from torch import Tensor, nn
from torch.nn import functional as F

import limen
from limen import memory
from limen.activations import registry
from limen.errors import DataError, LimenError, MissingExtraError, SpecError, StudyError
from limen.lab.data.tokens import Bytes, Characters, FromFile, Tokens
from limen.lab.executing.work import Job
from limen.lab.records import Written
from limen.lab.report.figures.examples.written import printable
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.study.searching import Selection
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.language import llama as llama_module
from limen.lab.tasks.language.causality import looks_ahead
from limen.lab.tasks.language.gpt import GPT
from limen.lab.tasks.language.recurrent import LSTMLanguageModel
from limen.lab.tasks.language.windows import NEXT, PADDED, SIZE, LanguageData
from limen.lab.training import run as train
from limen.memory import TooLargeError
from limen.selection import Plan

LINES = "the lämp hums\nand the càt <b>sleeps</b> 😀\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def text(count: int, seed: int = 0) -> str:
    """Lines of words in no order."""
    words = LINES.split(" ")
    draw = random.Random(seed)
    return " ".join(draw.choice(words) for _ in range(count))


def settings(data: Path | str, **changed: object) -> StudySettings:
    values = {"task": "language", "data": str(data), "network": "gpt-1x8", "batch_size": 8, "eval_batch_size": 4}
    common = {"window": 16, "activations": ("relu",), "baseline": "relu", "seeds": (0,), "epochs": 1}
    return StudySettings(**{**values, **common, **changed})


def loaded(data: Path | str, **changed: object) -> LanguageData:
    found = tasks.find("language").load(settings(data, **changed))
    assert isinstance(found, LanguageData)
    return found


def written(folder: Path, content: str = "", name: str = "text.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content or text(400), encoding="utf-8")
    return folder / name


def tokenizer(folder: Path, training: str) -> Path:
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator([training], library.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def kinds_of_tokens(folder: Path) -> list[str]:
    return ["characters", "bytes", str(tokenizer(folder, LINES))]


def test_every_held_out_token_is_predicted_once_from_the_one_before_it(tmp_path: Path) -> None:
    content = text(400)
    path = written(tmp_path, content)
    for kind in kinds_of_tokens(tmp_path):
        data = loaded(path, tokens=kind)
        assert data.validation is not None
        parts = [content[: len(content) - round(0.2 * len(content))]]
        parts = [parts[0][: len(parts[0]) - round(0.1 * len(parts[0]))], parts[0][-round(0.1 * len(parts[0])) :]]
        wanted = {"validation": parts[1], "test": content[-round(0.2 * len(content)) :]}
        assert parts[0] + wanted["validation"] + wanted["test"] == content
        for name, split in (("validation", data.validation), ("test", data.tested)):
            there = split.targets[:, :, NEXT] != PADDED
            predicted = split.targets[there]
            assert data.vocabulary.text_of(predicted[:, NEXT].tolist()) == wanted[name]
            assert int(predicted[:, SIZE].sum()) == len(wanted[name].encode())
            before = split.inputs[there]
            assert torch.equal(before[1:], predicted[:-1, NEXT])
        tokens = torch.from_numpy(data.vocabulary.encode(parts[0]).tokens)
        assert data.validation.inputs[0, 0] == tokens[-1]
        train = data.train
        assert torch.equal(train.inputs[:, 1:], train.targets[:, :-1, NEXT])
        learned = train.targets[:, :, NEXT].flatten()
        assert torch.equal(learned, tokens[1 : 1 + len(learned)])
        assert len(tokens) - 1 - len(learned) < 16


def test_windows_of_training_overlap_by_what_the_stride_leaves(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole, half = loaded(path), loaded(path, stride=8)
    assert torch.equal(half.train.inputs[::2][: len(whole.train)], whole.train.inputs)
    assert torch.equal(half.train.inputs[0, 8:], half.train.inputs[1, :8])
    assert torch.equal(half.tested.inputs, whole.tested.inputs)


@pytest.mark.parametrize("kind", ["characters", "bytes", "file"])
def test_tokens_are_the_text_again_and_their_bytes_those_of_the_text(kind: str, tmp_path: Path) -> None:
    content = text(60, 1)
    made: dict[str, Tokens] = {"characters": Characters(content), "bytes": Bytes()}
    known = made[kind] if kind in made else FromFile(tokenizer(tmp_path, LINES))
    for part in (content, content[3:40], "😀", "à"):
        encoded = known.encode(part)
        assert known.text_of(encoded.tokens.tolist()) == part
        assert int(encoded.sizes.sum()) == len(part.encode())
        assert encoded.tokens.max() < known.size
        assert known.said_of(part, encoded) == ""


def test_a_tokenizer_that_takes_spaces_off_counts_their_bytes_and_is_told_of(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(library.models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "words.json"))
    known = FromFile(tmp_path / "words.json")
    encoded = known.encode("a  b à ")
    assert encoded.sizes.tolist() == [1, 3, 4]
    assert "compare activations of this study alone" in known.said_of("a  b à ", encoded)


class Fixed(nn.Module):
    """The same logits everywhere."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(vocab_size))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits.expand(*tokens.shape, -1)


def test_measures_are_those_of_the_whole_text_whatever_it_is_divided_into(tmp_path: Path) -> None:
    path = written(tmp_path)
    task = tasks.find("language")
    for kind in kinds_of_tokens(tmp_path):
        data = loaded(path, tokens=kind)
        network = Fixed(data.vocabulary.size).requires_grad_(False)
        meters = task.meters(data)
        for inputs, targets in experiment_of(settings(path, tokens=kind), data).evaluated(data.tested):
            for meter in meters.values():
                meter.update(*task.answer(network(inputs), targets, data))
        tested = data.tested.targets
        tokens = tested[tested[:, :, NEXT] != PADDED][:, NEXT].long()
        nats = -network.logits.log_softmax(0)[tokens]
        size = len(data.vocabulary.text_of(tokens.tolist()).encode())
        found = {name: float(meter.compute()) for name, meter in meters.items()}
        assert found["bits_per_byte"] == pytest.approx(float(nats.sum()) / math.log(2) / size, rel=1e-5)
        assert found["perplexity"] == pytest.approx(float(nats.mean().exp()), rel=1e-5)
        assert found["accuracy"] == pytest.approx(float((tokens == network.logits.argmax()).float().mean()))


def test_an_unknown_character_costs_what_names_it_and_is_never_right(tmp_path: Path) -> None:
    path = written(tmp_path, text(400) + "Ω" * 20)
    data, task = loaded(path), tasks.find("language")
    assert any("20 characters that the training text lacks ('Ω')" in note for note in data.notes)
    known = data.vocabulary
    assert known.unknown == known.size - 1
    targets = torch.tensor([[[known.unknown, 2], [0, 1]]])
    logits = torch.zeros(1, 2, known.size)
    logits[:, :, known.unknown] = 9
    scores, truth = task.answer(logits, targets, data)
    others = 0x110000 - 0x800 - (known.size - 1)
    own = float(F.cross_entropy(logits[:, 0], targets[:, 0, NEXT]))
    assert float(scores[0, 0, 0]) == pytest.approx(own + math.log(others), rel=1e-6)
    assert scores[0, :, 1].tolist() == [0, 0]
    assert truth.tolist() == [[[2, 1], [1, 1]]]


def test_fewer_bits_and_less_perplexity_are_better() -> None:
    directions = {metric.name: metric.higher_is_better for metric in tasks.find("language").metrics}
    assert directions == {"bits_per_byte": False, "perplexity": False, "accuracy": True}


def test_what_is_padded_is_left_out_by_torchs_cross_entropy_as_it_is() -> None:
    assert float(F.cross_entropy(torch.zeros(2, 4), torch.tensor([PADDED, 1]))) == pytest.approx(math.log(4))


def test_a_llama_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = loaded(written(tmp_path))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"^the network 'llama-1x16' needs .*limen\[transformers\]'"):
        tasks.find("language").build("llama-1x16", data, 0)


def test_a_llamas_gate_is_two_thirds_of_four_times_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        LlamaConfig = staticmethod(lambda **named: named["intermediate_size"])
        LlamaForCausalLM = staticmethod(lambda wide: wide)

    monkeypatch.setattr(llama_module, "require", lambda *_: Library)
    monkeypatch.setattr(llama_module, "Decoder", lambda wide: wide)
    assert [llama_module.llama(5, 8, 1, width) for width in (2, 12, 96)] == [8, 32, 256]


def test_folders_archives_and_rows_are_read_by_split_in_natural_order(tmp_path: Path) -> None:
    parts = {"train": text(300), "valid": text(80, 1), "test": text(80, 2)}
    for name, content in parts.items():
        written(tmp_path / "flat", content, f"{name}.txt")
        rows = "\n".join(json.dumps({"body": line}) for line in (content[:200], content[200:]))
        written(tmp_path / "rows" / name, rows, "1.jsonl")
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for file in sorted((tmp_path / "flat").iterdir()):
            archive.write(file, f"corpus/{file.name}")
    flat, packed = loaded(tmp_path / "flat", tokens="bytes"), loaded(tmp_path / "flat.zip", tokens="bytes")
    assert flat.facts().fingerprint == packed.facts().fingerprint
    tested = flat.tested.targets
    assert Bytes().text_of(tested[tested[:, :, NEXT] != PADDED][:, NEXT].tolist()) == parts["test"]
    rows = loaded(tmp_path / "rows", tokens="bytes", text="body")
    assert rows.notes == ("6 documents, with a blank line between them.",)
    for number in (10, 9):
        written(tmp_path / "many", f"<{number}>" + text(200), f"{number}.txt")
    many = loaded(tmp_path / "many", tokens="bytes").train.inputs[0]
    assert Bytes().text_of(many.tolist()).startswith("<9>")


BROKEN = {
    "short": ("text.txt", b"a b c", "has 3 characters, and 33 or more are needed"),
    "empty": ("text.txt", b" \n", "has no text"),
    "latin": ("text.txt", "é".encode("latin-1") * 500, "is not text in UTF-8 (byte 0)"),
    "binary": ("text.txt", b"a\0b" * 500, "is not text but a binary file"),
    "row": ("rows.jsonl", b'{"text": "a"}\n{"text": \n', "rows.jsonl, line 2: not JSON"),
    "list": ("rows.jsonl", b"[1]\n", "line 1: list, but a row must be an object"),
    "key": (
        "rows.jsonl",
        b'\n{"body": "a"}\n',
        "line 2: no key 'text'; it has 'body': name the text's with --text KEY",
    ),
    "number": ("rows.jsonl", b'{"text": 3}', "line 1: 'text' is int, but must be text"),
    "surrogate": ("rows.jsonl", b'{"text": "\\ud800"}', "has half a surrogate pair"),
    "nested": ("rows.jsonl", b"[" * 100_000, "line 1: not JSON"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_text_is_said_with_its_place(what: str, tmp_path: Path) -> None:
    name, content, said = BROKEN[what]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        loaded(tmp_path / name)
    assert said in str(raised.value)
    (tmp_path / "folder").mkdir()
    (tmp_path / name).rename(tmp_path / "folder" / name)
    with pytest.raises(DataError) as raised:
        loaded(tmp_path / "folder")
    assert said.replace("rows.jsonl, line", "").strip() in str(raised.value).replace("'rows.jsonl' in ", "")


@pytest.mark.parametrize(
    ("name", "content", "there", "said"),
    [
        ("text.txt", b"a" * 10_000, 50_000, "reading .*text.txt needs"),
        ("rows.jsonl", b'{"text": [' + b"[]," * 1000 + b"[]]}", 100_000, "reading .*rows.jsonl needs"),
        ("text.txt", b"abcd" * 2500, 200_000, "10,000 tokens in windows needs .*larger --stride"),
    ],
)
def test_a_text_that_does_not_fit_is_refused_before_it_is_read(
    name: str, content: bytes, there: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(memory, "physical_bytes", lambda: there)
    with pytest.raises(TooLargeError, match=said):
        loaded(tmp_path / name, tokens="bytes")


def test_files_that_are_for_no_split_and_folders_without_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"has no \.txt or \.jsonl"):
        loaded(tmp_path / "none")
    written(tmp_path / "mixed", name="test.txt")
    with pytest.raises(DataError, match="has no rows of JSON, of which --text body would name a key"):
        loaded(tmp_path / "mixed", text="body")
    with pytest.raises(DataError, match="has a test text but none to train on"):
        loaded(tmp_path / "mixed")
    written(tmp_path / "mixed", name="other.txt")
    with pytest.raises(DataError, match=r"files for test, and 'other\.txt' for none of them"):
        loaded(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", "gone.txt"), "gone.txt does not exist; --data must name a text file"),
        (("--tokens", "words"), "--tokens 'words' is neither characters nor bytes, and no such file exists"),
        (("--tokens", "text.txt"), "text.txt is no tokenizer"),
        (("--stride", "200"), "--stride 200 would leave out tokens between windows of 128; give 128 or less"),
        (("--network", "gpt-4"), "no network is called 'gpt-4'. Did you mean 'gpt-2x64'?"),
        (("--network", "gpt-0x8"), "'gpt-0x8' has the layers 0"),
        (("--network", "transformers:gone"), "transformers:gone names no configuration"),
        (("--target", "a"), "--target 'a' is not an option of --task language"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(
    options: tuple[str, str], said: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if options[0] == "--network":
        pytest.importorskip("transformers")
    written(tmp_path, text(1000))
    outcome = run("compare", "--task", "language", "--data", "text.txt", "--seeds", "1", *options, "--out", "out")
    assert outcome.code == 2
    assert said in outcome.sentence


NETWORKS = {
    "gpt": lambda: GPT(7, 12, 2, 8),
    "glu": lambda: GPT(7, 12, 1, 8, gated=True),
    "lstm": lambda: LSTMLanguageModel(7),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_no_activation_sees_later_tokens(network: str) -> None:
    inputs = torch.arange(12)[None] % 7
    ahead = []
    for name in registry.names():
        if not registry.find(name).keeps_shape:
            continue
        torch.manual_seed(0)
        model = NETWORKS[network]()
        with limen.use_backend("plain"):
            assert limen.swap_(model, name).sites
            if looks_ahead(model, inputs, 7):
                ahead.append(name)
    assert ahead == []


def test_a_network_that_looks_ahead_is_found_and_its_run_refused(tmp_path: Path) -> None:
    model, inputs = GPT(7, 12, 1, 8), torch.arange(12)[None] % 7
    limen.swap_(model, "ash:context=sample")
    assert looks_ahead(model, inputs, 7)
    causal = GPT(7, 12, 1, 8)
    assert not looks_ahead(causal, inputs, 7)
    causal.blocks[0].attention.is_causal = False
    assert looks_ahead(causal, inputs, 7)
    path = written(tmp_path)
    with pytest.raises(StudyError, match="sees the tokens that it is to predict"):
        train.run(experiment_of(settings(path), loaded(path)), "ash:context=sample", 0)


def test_a_search_with_candidates_of_statistics_stays_causal_and_says_how(tmp_path: Path) -> None:
    path = written(tmp_path)
    chosen = SelectSettings(
        kind="select",
        **{**settings(path).model_dump(), "activations": ("relu", SEARCHED, OPTIMIZED), "candidates": ("ash", "relu")},
    )
    selection = Selection(experiment_of(chosen, loaded(path)), chosen)
    search = selection.run(Job(SEARCHED, 0), lambda row: None)
    assert search.status == "finished"
    assert search.plan is not None
    assert [site.specs["ash"] for site in Plan.from_dict(search.plan).sites] == ["ash:context=token"]
    assert selection.run(Job(OPTIMIZED, 0, search), lambda row: None).status == "finished"


def test_the_decoder_has_as_many_parameters_as_gpt2_and_a_site_in_every_block() -> None:
    with torch.device("meta"):
        small = GPT(50257, 1024, 12, 768)
    assert sum(p.numel() for p in small.parameters()) == 124_439_808  # as Transformers counts openai-community/gpt2
    plain, gated = GPT(66, 16, 3, 96), GPT(66, 16, 3, 96, gated=True)
    counts = [sum(p.numel() for p in network.parameters()) for network in (plain, gated)]
    assert counts[1] == pytest.approx(counts[0], rel=0.01)
    for network, place in ((plain, "feed.activation"), (gated, "feed.gate.activation")):
        report = limen.swap_(network, "asau")
        assert [site.path for site in report.sites] == [f"blocks.{index}.{place}" for index in range(3)]
        assert not report.unreached


def test_the_recurrent_model_is_torchs_where_its_activations_are_tanh() -> None:
    torch.manual_seed(0)
    ours, width = LSTMLanguageModel(5), LSTMLanguageModel.WIDTH
    ours.cell.candidate, ours.cell.output = nn.Tanh(), nn.Tanh()
    theirs = nn.LSTM(width, width, batch_first=True)
    enter, forget, leave, new = (torch.arange(width) + part * width for part in range(4))
    rows = torch.cat([enter, forget, new, leave])  # as torch orders them
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.cell.input.weight[rows])
        theirs.weight_hh_l0.copy_(ours.cell.recurrent.weight[rows])
        theirs.bias_ih_l0.copy_(ours.cell.input.bias[rows])
        theirs.bias_hh_l0.zero_()
    tokens = torch.tensor([[0, 3, 1, 4, 2]])
    expected, _ = theirs(ours.embedding(tokens))
    torch.testing.assert_close(ours(tokens), ours.head(expected))


@pytest.mark.slow
def test_transformers_models_come_by_name_and_by_configuration(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    data, task = loaded(written(tmp_path)), tasks.find("language")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {"model_type": "gpt_neox", "hidden_act": "gelu", "max_position_embeddings": 16, **sizes}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    inputs = data.train.inputs[:2].long()
    for name in ("llama-2x16", f"transformers:{tmp_path / 'model'}", f"transformers:{tmp_path / 'model/config.json'}"):
        network = task.build(name, data, 0)
        report = limen.swap_(network, "ash")
        assert len(report.sites) == 2
        assert tuple(network(inputs).shape) == (2, *task.output_shape(data))
        assert not looks_ahead(network, inputs, data.vocabulary.size)
    with pytest.raises(SpecError, match="has 16 positions; give --window 16 or less"):
        task.build(f"transformers:{tmp_path / 'model'}", loaded(tmp_path / "text.txt", window=32), 0)
    for content, said in (("{", "is no configuration"), ('{"model_type": "vit"}', "no causal language model")):
        (tmp_path / "model" / "config.json").write_text(content)
        with pytest.raises(LimenError, match=said):
            task.build(f"transformers:{tmp_path / 'model'}", data, 0)


@pytest.mark.slow
def test_a_study_of_a_text_from_file_to_report(run: Command, tmp_path: Path) -> None:
    path = written(tmp_path, text(700))
    options = ("--task", "language", "--data", path, "--activations", "relu,gelu", "--network", "gpt-1x32")
    words = "--seeds 1 --window 24 --stride 12 --epochs 3 --lr 0.01 --batch-size 8"
    rest = (*words.split(), "--out", tmp_path / "out")
    outcome = run("compare", *options, *rest, "--json")
    assert outcome.code == 0, outcome.err
    for row in outcome.json["runs"]:
        assert 0 < row["test_bits_per_byte"] < 1.5  # a uniform guess of characters has more than 4
        assert row["test_accuracy"] > 0.7
        assert row["test_perplexity"] < 4
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in (
        "Predicted and written text",
        "windows of 24",
        "tokens/s",
        "loss by place in the window",
        "&lt;b&gt;sl",
    ):
        assert said in page
    assert "<b>sl" not in page
    shown = run("compare", *options, *rest)
    assert shown.code == 0
    assert "tokens/s" in shown.out


def test_losses_by_place_are_the_means_over_windows_and_samples_are_the_same_for_one_network(tmp_path: Path) -> None:
    path = written(tmp_path)
    data, task, chosen = loaded(path), tasks.find("language"), settings(path)
    network = task.build("gpt-1x8", data, 0)
    shown = task.show(network, data, chosen)
    assert isinstance(shown, Written)
    assert shown == task.show(network, data, chosen)
    assert shown.places == tuple(range(1, 17))
    targets = data.tested.targets[:, :, NEXT].long()
    with torch.no_grad():
        nats = F.cross_entropy(
            network(data.tested.inputs.long()).transpose(1, 2), targets, ignore_index=PADDED, reduction="none"
        )
    wanted = nats.sum(0) / (targets != PADDED).sum(0) / math.log(2)
    np.testing.assert_allclose(shown.bits, wanted, rtol=1e-4)
    assert shown.prompt == data.vocabulary.text_of(data.tested.inputs[0].tolist())
    assert len(shown.sample) == 200
    assert printable("a\x07<") == "a·<"
