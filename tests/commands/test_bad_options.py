"""Bad options and arguments: exit code 2 and one sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_commands import refused
from helpers_lab import Command, forked_command

BAD = {
    "--activations asua": "no activation is called 'asua'. Did you mean 'asau'?",
    "--activations relu,asau:beta": "'beta' is not of the form argument=value",
    "--activations relu,asau:gamma=1": "ASAU has no argument 'gamma'.",
    "--activations relu,relu": "named twice in relu, relu; name each once.",
    "--activations ,": "--activations must name at least one",
    "--activations relu,maxout": "'maxout' changes the shape of its input",
    "--baseline elu": "the baseline 'elu' is not among the activations relu, ash, asau, apalu, adact; add it.",
    "--data digitz": "called 'digitz' and no such path exists. Did you mean 'digits'?",
    "--data gone/photos.zip": "gone/photos.zip does not exist; check the spelling",
    "--network convnett": "no network is called 'convnett'. Did you mean 'convnet'?",
    "--network nowhere.nets:small": "'nowhere.nets:small' cannot be imported (ModuleNotFoundError: No module named",
    "--devices 2 --jobs 2": "--devices 2 makes processes for each run, one run after the other in this process; leave",
    "--devices 2 --timeout-per-run 9": "leave --jobs, --on and --timeout-per-run out, or give --devices 1.",
    "--jobs 0": "--jobs 0 is not possible: give the number of runs at a time, from 1 to 4,096.",
    "--on rai": "--on 'rai' is not possible; give local, ray, ray:auto or ray:HOST:PORT.",
    "--on ray:": "--on 'ray:' is not possible",
    "--gpus-per-run 1": "--gpus-per-run is what Ray sets aside for a run; give it with --on ray.",
    "--on ray --cpus-per-run -1": "--cpus-per-run -1.0 is not possible; give a number from 0 on, such as 0.5.",
    "--timeout-per-run 0": "--timeout-per-run 0.0 is not possible; give seconds above 0.",
    "--timeout-per-run nan": "--timeout-per-run nan is not possible",
    "--threads-per-run 0": "--threads-per-run 0 is not possible",
    "--seeds 0": "--seeds 0 is not possible: give the number of runs of each activation, from 1 to 10,000.",
    "--seeds -2": "--seeds -2 is not possible",
    "--epochs 0": "--epochs 0 is not possible: input should be greater than or equal to 1.",
    "--protocol foo": "--protocol 'foo' is not possible: input should be 'honest', 'paper' or 'both'.",
    "--image-size foo": "--image-size 'foo' is not a size; give 32, or 32x48 for height x width, each at most 16,384.",
    "--image-size 8x8x8": "--image-size '8x8x8' is not a size",
    "--image-size 0": "--image-size '0' is not a size",
    "--image-size ²": "--image-size '²' is not a size",
    "--lr 0": "--learning-rate 0.0 is not possible",
    "--lr nan": "--learning-rate nan is not possible",
    "--lr inf": "--learning-rate inf is not possible: input should be a finite number.",
    "--weight-decay -1": "--weight-decay -1.0 is not possible",
    "--batch-size 1": "--batch-size 1 is not possible",
    "--eval-batch-size 0": "--eval-batch-size 0 is not possible",
    "--validation-fraction 1": "--validation-fraction 1.0 is not possible",
    "--test-fraction 0": "--test-fraction 0.0 is not possible",
    "--split-seed -1": "--split-seed -1 is not possible",
    "--limit-train 5": "limit of 5 train images is below one for each of the 10 classes of digits; raise it to 10",
    "--limit-train 0": "--limit-train 0 is not possible",
    "--limit-test 3": "limit of 3 test images is below one for each of the 10 classes",
    "--tune nonsense": "--tune 'nonsense' is not possible: give lr, alone or with weight-decay and activation-lr",
    "--tune weight-decay": "--tune 'weight-decay' is not possible",
    "--tune lr,lr": "--tune 'lr,lr' is not possible",
    "--tune lr --trials 0": "--trials 0 is not possible: input should be greater than or equal to 1.",
    "--tune lr --trials 1001": "--trials 1001 is not possible",
    "--trials 5": "--trials 5 belongs to --tune; add --tune lr, or leave it out.",
    "--trial-seeds 3": "--trial-seeds 3 belongs to --tune; add --tune lr, or leave it out.",
    "--tune lr --trial-seeds 0": "--trial-seeds 0 is not possible: input should be greater than or equal to 1.",
    "--tune lr --protocol paper": "--tune lr needs validation data, and --protocol paper holds none out",
    "--tune lr --lr 1e-323": "there is no room about 9.88131e-324; give another --lr.",
    "--tune lr --lr 1e308": "there is no room about 1e+308; give another --lr.",
    "--tune lr,activation-lr --activation-lr 1e308": "there is no room about 1e+308; give another --activation-lr.",
    "--tune lr --validation-fraction 0": "--validation-fraction 0.0 is not possible",
    "--devices 0": "--devices 0 is not possible: input should be greater than or equal to 1.",
    "--devices 9999": "--devices 9999 is more than there are: ",
    "--strategy fsdp": "--strategy fsdp is for several devices; add --devices 2, or leave it out.",
    "--strategy dp": "--strategy 'dp' is not possible: input should be 'auto', 'ddp' or 'fsdp'.",
    "--precision 16": "--precision '16' is not possible: input should be '32', 'bf16-mixed' or '16-mixed'.",
    "--precision 16-mixed --device cpu": "--precision 16-mixed is for GPUs, and --device is cpu; give",
    "--accumulate 0": "--accumulate 0 is not possible: input should be greater than or equal to 1.",
    "--optimizer sdg": "--optimizer 'sdg' is not possible: input should be 'adam', 'adamw' or 'sgd'.",
    "--momentum 0.9": "--momentum 0.9 is for --optimizer sgd, and --optimizer is adamw, which has its own; leave",
    "--optimizer adam --momentum 0.9": "--momentum 0.9 is for --optimizer sgd, and --optimizer is adam, which",
    "--optimizer sgd --momentum 1": "--momentum 1.0 is not possible: input should be less than 1.",
    "--nesterov": "--nesterov needs --momentum above 0, and it is 0 with --optimizer adamw; give --optimizer sgd",
    "--optimizer sgd --nesterov": "--nesterov needs --momentum above 0, and it is 0 with --optimizer sgd",
    "--schedule cosin": "--schedule 'cosin' is not possible: input should be 'constant', 'cosine', 'step' or ",
    "--warmup -1": "--warmup -1.0 is not possible: input should be greater than or equal to 0.",
    "--warmup inf": "--warmup inf is not possible: input should be a finite number.",
    "--warmup 15": "--warmup 15 leaves nothing of a study of --epochs 15; give fewer epochs of warm-up",
    "--schedule cosine --epochs 2 --warmup 3": "--warmup 3 leaves nothing of a study of --epochs 2",
    "--milestones 5": "--milestones 5 is for --schedule step, and --schedule is constant; leave it out",
    "--schedule cosine --factor 0.5": "--factor 0.5 is for --schedule step, and --schedule is cosine",
    "--schedule step --factor 1": "--factor 1.0 is not possible: input should be less than 1.",
    "--schedule step --milestones 5,x": "--milestones '5,x' is no list of epochs; give whole numbers, such as 60,120.",
    "--schedule step --milestones 0": "--milestones 0 is not possible: input should be greater than or equal to 1.",
    "--schedule step --milestones 8,5": "--milestones 8,5 must rise, such as 60,120.",
    "--schedule step --milestones 5,5": "--milestones 5,5 must rise",
    "--schedule step --milestones 5,15": "--milestones 5,15 is beyond the study: of --epochs 15 the last can be 14.",
    "--schedule step --epochs 1": "--schedule step lowers the rate between epochs, and --epochs is 1; give --epochs 2",
    "--schedule step --warmup 7": "the rate falls after epoch 7, when --warmup 7 has not ended before; give a shorter",
    "--schedule one-cycle --epochs 1 --limit-train 60": "needs 3 steps or more, and this study has 1 of 64 examples",
    "--augment rotate": "--augment 'rotate' is not possible: input should be 'none', 'flip', 'crop+flip', 'randaug",
    "--label-smoothing 1": "--label-smoothing 1.0 is not possible: input should be less than 1.",
    "--label-smoothing -0.1": "--label-smoothing -0.1 is not possible",
    "--clip -1": "--clip -1.0 is not possible: input should be greater than 0.",
    "--clip 0": "--clip 0.0 is not possible",
    "--clip inf": "--clip inf is not possible: input should be a finite number.",
    "--ema 1": "--ema 1.0 is not possible: input should be less than 1.",
    "--ema 0": "--ema 0.0 is not possible: input should be greater than 0.",
    "--ema nan": "--ema nan is not possible",
    "--checkpoint-every 0": "--checkpoint-every 0 is not possible: input should be greater than or equal to 1.",
    "--log tensorbord": "--log ",
    "--device foo": "the device 'foo' cannot be used here",
    "--device cuda:99": "the device 'cuda:99' cannot be used here",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_options_end_in_one_sentence(options: str, run: Command, tmp_path: Path) -> None:
    assert BAD[options] in refused(run, "compare", *options.split(), "--out", "out")
    assert list(tmp_path.iterdir()) == []  # refused before anything was written


def test_a_selection_is_not_tuned(run: Command) -> None:
    sentence = refused(run, "select", "--tune", "lr", "--out", "out")
    assert sentence.startswith("limen: --tune lr is not for limen select, ")
    sentence = refused(run, "select", "--trial-seeds", "3", "--out", "out")
    assert sentence.startswith("limen: --trial-seeds 3 is not for limen select, ")
    assert "--trial-seeds 0 is not possible" in refused(run, "select", "--trial-seeds", "0", "--out", "out")
    assert "--tune" not in run("select", "--help").out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(run: Command) -> None:
    sentence = refused(run, "compare", "--device", "cuda", "--out", "out")
    assert "the device 'cuda' cannot be used here" in sentence
    assert sentence.endswith("use --device cpu.")


@pytest.mark.parametrize("arguments", [["compare", "--seeds", "x"], ["compare", "--foo"], ["foo"], ["report"]])
def test_what_is_no_command_or_option(arguments: list[str], run: Command) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert any(word in outcome.err for word in ("--seeds", "--foo", "'foo'", "'out'", "OUT"))


def test_a_search_whose_mixture_has_an_adam_of_its_own_wants_its_rate(run: Command, tmp_path: Path) -> None:
    words = ("select", "--optimizer", "sgd", "--weights-from", "0.3", "--out", "out")
    assert "--weights-from learns the mixture by an Adam of its own, for which the learning" in refused(run, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_option_in_a_process_of_its_own(tmp_path: Path) -> None:
    outcome = forked_command(tmp_path, "compare", "--activations", "asua").wait()
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.sentence == "limen: no activation is called 'asua'. Did you mean 'asau'?"
