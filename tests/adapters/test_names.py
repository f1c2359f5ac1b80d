"""Our names in other libraries, each against the library itself."""

from __future__ import annotations

import copy
import importlib
import json
import pickle

import pytest
import torch
from helpers import library
from torch import nn

import limen
from limen import adapters
from limen.errors import LimenError, MissingExtraError, SpecError

SPECS = ("asau", "asau:beta=2", "adact:candidates=relu+silu", "ash:context=token")


def sites(model):
    """The activations that are not part of another."""
    inside = {id(child) for m in model.modules() if isinstance(m, limen.AdAct) for child in m.candidates}
    return [m for m in model.modules() if isinstance(m, limen.Activation) and id(m) not in inside]


def check_model(model, output, count, spec):
    """Each site has an object of its own, made of the spec, and its parameters learn."""
    found = sites(model)
    assert len(found) == count
    assert len({id(m) for m in found}) == count
    assert {repr(m) for m in found} == {repr(limen.create(spec))}
    output.square().mean().backward()
    gradients = [p.grad for m in found for p in m.parameters()]
    assert gradients
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_a_layer_stands_for_a_class():
    make = adapters.layer("asau:beta=2")
    assert repr(make(inplace=True)) == repr(limen.ASAU(beta=2.0))
    assert make(num_parameters=4).beta.shape == (4,)
    for twin in (pickle.loads(pickle.dumps(make)), copy.deepcopy(make)):
        assert repr(twin()) == repr(limen.ASAU(beta=2.0))
    for wrong in ("asua", "asau:betta=1", "maxout"):
        with pytest.raises(SpecError):
            adapters.layer(wrong)


@pytest.mark.parametrize("name", ["transformers", "timm", "monai", "captum", "opacus", "torch_pruning"])
def test_without_the_library_there_is_one_clear_error(name, monkeypatch):
    adapter = importlib.import_module(f"limen.adapters.{name}")

    def missing(module):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("limen.errors.importlib.import_module", missing)
    package = name.replace("_", "-")
    words = rf"^this adapter needs {package}; .* pip install 'limen\[{package}\]'$"
    with pytest.raises(MissingExtraError, match=words):
        adapter.register()


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


class TestTransformers:
    @pytest.fixture(autouse=True)
    def _registered(self):
        self.library = library("transformers")
        library("limen.adapters.transformers").register()
        yield
        library("limen.adapters.transformers").unregister()

    def bert(self, spec):
        config = self.library.BertConfig(hidden_act=spec, vocab_size=30, **SMALL)
        return self.library.BertModel(config)

    @pytest.mark.parametrize("spec", SPECS)
    def test_bert(self, spec):
        model = self.bert(f"limen:{spec}")
        ids = torch.randint(30, (2, 7))
        check_model(model, model(ids).last_hidden_state, 2, spec)

    def test_vit(self):
        config = self.library.ViTConfig(hidden_act="limen:swish:beta=3", image_size=16, patch_size=8, **SMALL)
        model = self.library.ViTModel(config)
        check_model(model, model(torch.randn(2, 3, 16, 16)).last_hidden_state, 2, "swish:beta=3")

    def test_every_name(self):
        look_up = self.library.activations.ACT2FN
        for name in limen.names():
            if limen.create(name).keeps_shape:
                assert repr(look_up[f"limen:{name}"]) == repr(limen.create(name))
                assert f"limen:{name}" in self.library.activations.ACT2CLS
        assert "limen:asau:beta=3" in look_up
        assert isinstance(self.library.activations.get_activation("limen:ash"), limen.ASH)

    def test_their_own_names_stay_theirs(self):
        look_up = self.library.activations.ACT2FN
        assert type(look_up["relu"]) is nn.ReLU
        assert "asau" not in look_up
        with pytest.raises(KeyError):
            look_up["asau"]
        with pytest.raises(SpecError, match="Did you mean 'asau'"):
            look_up["limen:asua"]

    def test_a_checkpoint_without_our_parameters_starts_at_the_declared_values(self, tmp_path):
        """Transformers fills what a checkpoint lacks with memory as it lies, and starts only layers that it knows."""
        self.bert("gelu").save_pretrained(tmp_path)
        for spec in SPECS:
            model = self.library.BertModel.from_pretrained(tmp_path, hidden_act=f"limen:{spec}")
            assert {repr(m) for m in sites(model)} == {repr(limen.create(spec))}

    def test_learned_values_are_saved_and_loaded(self, tmp_path):
        model = self.bert("limen:asau:beta=2")
        first, second = sites(model)
        with torch.no_grad():
            first.beta.fill_(5.0)
            second.alpha.fill_(0.5)
        model.save_pretrained(tmp_path)
        loaded = self.library.BertModel.from_pretrained(tmp_path)
        assert loaded.config.hidden_act == "limen:asau:beta=2"
        assert [repr(m) for m in sites(loaded)] == [repr(first), repr(second)]

    def test_a_checkpoint_with_some_of_our_parameters(self, tmp_path):
        model = self.bert("limen:asau")
        with torch.no_grad():
            sites(model)[0].beta.fill_(5.0)
        state = {key: value for key, value in model.state_dict().items() if not key.endswith(".alpha")}
        model.save_pretrained(tmp_path, state_dict=state)
        loaded = self.library.BertModel.from_pretrained(tmp_path)
        assert [repr(m) for m in sites(loaded)] == [repr(limen.ASAU(beta=5.0)), repr(limen.ASAU())]

    def test_the_plain_table_takes_options_when_told_so(self):
        table = self.library.activations.ACT2CLS
        assert "limen:asau:beta=7" not in table
        library("limen.adapters.transformers").register("asau:beta=7")
        assert repr(table["limen:asau:beta=7"]()) == repr(limen.ASAU(beta=7.0))

    def test_trainer_does_not_decay_activations(self):
        trainer = library("transformers.trainer").Trainer
        for model in (self.bert("limen:asau"), self.bert("gelu")):
            limen.swap_(model, lambda: limen.AdAct(num_parameters=4, channel_dim=-1), where="encoder.layer.0*")
            decayed = trainer.get_decay_parameter_names(None, model)
            ours = {id(parameter) for parameter in limen.activation_parameters(model)}
            named = dict(model.named_parameters())
            assert decayed
            assert not [name for name in decayed if id(named[name]) in ours]
            assert "encoder.layer.0.intermediate.dense.weight" in decayed

    @pytest.mark.parametrize(
        "to",
        [
            "asau:beta=2",
            "ash:context=sample",
            "adact:candidates=relu+silu",
            lambda: limen.AdAct((limen.ASH(context="token"), "silu")),
            lambda: limen.PReLU(num_parameters=2, group_size=12, channel_dim=-1),
        ],
    )
    def test_a_swapped_model_is_saved_and_loaded_as_one(self, to, tmp_path):
        model = self.bert("gelu").eval()
        limen.swap_(model, to, where="encoder.*")
        with torch.no_grad():
            for parameter in limen.activation_parameters(model):
                parameter.add_(torch.rand_like(parameter) / 8)
        model.save_pretrained(tmp_path)
        loaded, info = self.library.BertModel.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values())
        ids = torch.randint(30, (2, 7))
        assert torch.equal(loaded(ids).last_hidden_state, model(ids).last_hidden_state)
        headed = self.library.BertForTokenClassification.from_pretrained(tmp_path)
        assert [repr(m) for m in sites(headed)] == [repr(m) for m in sites(model)]

    def test_a_swap_over_a_configured_activation_is_kept(self, tmp_path):
        model = self.bert("limen:swish")
        limen.swap_(model, "ash", where="encoder.layer.0*")
        model.save_pretrained(tmp_path)
        loaded = self.library.BertModel.from_pretrained(tmp_path)
        assert [type(m).__name__ for m in sites(loaded)] == ["ASH", "Swish"]

    def test_a_swap_that_was_undone_leaves_nothing_in_the_configuration(self, tmp_path):
        model = self.bert("gelu")
        report = limen.swap_(model, "asau")
        model.save_pretrained(tmp_path)
        report.undo()
        model.save_pretrained(tmp_path)
        assert "limen" not in (tmp_path / "config.json").read_text()

    def test_what_has_no_name_is_said_when_it_is_saved(self, tmp_path):
        class Unnamed(limen.Swish):
            pass

        model = self.bert("gelu")
        limen.swap_(model, Unnamed, where="encoder.layer.0*")
        with pytest.warns(UserWarning, match="will not have encoder.layer.0.intermediate.intermediate_act_fn, Unnamed"):
            model.save_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ("os.system", "is a list of 'activation'"),
            ([{"activation": 3, "candidates": [], "sites": []}], "all of them text"),
            (
                [{"activation": "os.system", "candidates": [], "sites": ["encoder.layer.0.x"]}],
                "os.system",
            ),
        ],
    )
    def test_an_entry_that_says_anything_else_is_an_error(self, entry, words, tmp_path):
        self.bert("gelu").save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "limen_activations": entry}))
        with pytest.raises(LimenError, match=words):
            self.library.BertModel.from_pretrained(tmp_path)

    def test_unregistering_leaves_nothing(self):
        adapter = library("limen.adapters.transformers")
        models, trainer = self.library.PreTrainedModel, library("transformers.trainer").Trainer
        adapter.register("asau:beta=7")
        adapter.unregister()
        adapter.unregister()
        activations = self.library.activations
        assert type(activations.ACT2FN) is activations.ClassInstantier
        assert not [key for key in (*activations.ACT2FN, *activations.ACT2CLS) if "limen" in key]
        taught = (models._initialize_weights, models.save_pretrained, models._load_pretrained_model,
                  trainer.get_decay_parameter_names)  # fmt: skip
        assert all(function.__module__.startswith("transformers") for function in taught)
        with pytest.raises(KeyError):
            self.bert("limen:asau")


class TestMonai:
    @pytest.fixture(autouse=True)
    def _registered(self):
        self.networks = library("monai.networks")
        library("limen.adapters.monai").register()
        yield
        library("limen.adapters.monai").unregister()

    @pytest.mark.parametrize("spec", SPECS)
    def test_unet(self, spec):
        model = library("monai.networks.nets").UNet(
            spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8), strides=(2,), act=f"limen:{spec}"
        )
        check_model(model, model(torch.randn(2, 1, 8, 8)), 2, spec)

    def test_densenet_and_pairs_of_name_and_options(self):
        model = library("monai.networks.nets").DenseNet(
            spatial_dims=2, in_channels=1, out_channels=2, init_features=4, growth_rate=4, block_config=(2,),
            act=("limen:asau", {"beta": 2.0}),
        )  # fmt: skip
        check_model(model, model(torch.randn(2, 1, 16, 16)), 6, "asau:beta=2")

    def test_every_name_in_any_case(self):
        make = library("monai.networks.layers").get_act_layer
        for name in limen.names():
            if limen.create(name).keeps_shape:
                assert repr(make(f"limen:{name}")) == repr(make(f"LIMEN:{name.upper()}")) == repr(limen.create(name))

    def test_their_own_names_and_factories_stay_theirs(self):
        layers = library("monai.networks.layers")
        assert layers.Act["relu"] is nn.ReLU
        assert layers.Act[layers.Act.PRELU] is nn.PReLU
        assert layers.Act[nn.SiLU] is nn.SiLU
        with pytest.raises(ValueError, match="'ASAU'"):
            layers.Act["asau"]
        with pytest.raises(ValueError, match="LIMEN"):
            layers.Norm["limen:asau"]

    def test_unregistering_leaves_nothing(self):
        adapter = library("limen.adapters.monai")
        adapter.register()
        adapter.unregister()
        adapter.unregister()
        layers = library("monai.networks.layers")
        assert "get_constructor" not in vars(layers.Act)
        with pytest.raises(ValueError, match="LIMEN"):
            layers.Act["limen:asau"]


class TestTimm:
    @pytest.fixture(autouse=True)
    def _registered(self):
        self.library = library("timm")
        library("limen.adapters.timm").register()
        yield
        library("limen.adapters.timm").unregister()

    @pytest.mark.parametrize("spec", SPECS)
    def test_vision_transformer(self, spec):
        model = self.library.create_model(
            "vit_tiny_patch16_224", act_layer=f"limen:{spec}", img_size=32, depth=2, embed_dim=24, num_classes=3
        )
        check_model(model, model(torch.randn(2, 3, 32, 32)), 2, spec)

    @pytest.mark.parametrize(
        ("name", "count"), [("resnet18", 17), ("mobilenetv3_small_050", 19), ("efficientnet_b0", 49)]
    )
    def test_convolutional_models(self, name, count):
        model = self.library.create_model(name, act_layer="limen:asau", num_classes=3)
        check_model(model, model(torch.randn(2, 3, 64, 64)), count, "asau")

    def test_layers_given_as_objects(self):
        model = self.library.create_model("resnet18", act_layer=adapters.layer("swish"), num_classes=3)
        check_model(model, model(torch.randn(2, 3, 64, 64)), 17, "swish")

    def test_their_own_names_stay_theirs_and_unregistering_leaves_nothing(self):
        get = library("timm.layers").get_act_layer
        assert get("relu") is nn.ReLU
        with pytest.raises(KeyError):
            get("asau")
        adapter = library("limen.adapters.timm")
        adapter.register()
        adapter.unregister()
        adapter.unregister()
        assert type(library("timm.layers.create_act")._ACT_LAYER_DEFAULT) is dict
        with pytest.raises(KeyError):
            get("limen:asau")


class TestTorchvision:
    def test_mlp_and_convolution(self):
        ops = library("torchvision.ops")
        make = adapters.layer("asau:beta=2")
        mlp = ops.MLP(4, [8, 8, 2], activation_layer=make, inplace=True)
        check_model(mlp, mlp(torch.randn(5, 4)), 2, "asau:beta=2")
        convolution = ops.Conv2dNormActivation(3, 4, activation_layer=make)
        check_model(convolution, convolution(torch.randn(2, 3, 8, 8)), 1, "asau:beta=2")

    def test_squeeze_and_excitation(self):
        ops = library("torchvision.ops")
        model = ops.SqueezeExcitation(8, 4, activation=adapters.layer("swish"))
        check_model(model, model(torch.randn(2, 8, 4, 4)), 1, "swish")
