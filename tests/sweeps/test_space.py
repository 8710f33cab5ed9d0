import json
from collections.abc import Callable

import pytest

from kalign.errors import ConfigError
from kalign.sweeps import control, plan, space
from tests.conftest import Result

BETA = "loss.beta=float(0.01,0.5,log)"
REFUSED = {
    "loss.beta=floot(0.1,0.5)": "is no dimension of a search; write loss.beta=float(LOW,HIGH)",
    "loss.beta=range(1,2)": "is no dimension of a search",
    "loss.beta=float(0.1)": "has no two bounds",
    "loss.beta=float(0.1,0.5,lin)": "has no two bounds",
    "loss.beta=float(0.5,0.1)": "the first bound must be below the second",
    "loss.beta=float(nan,0.1)": "the first bound must be below the second",
    "loss.beta=float(0.1,inf)": "both finite",
    "loss.beta=float(0,0.1,log)": "a logarithmic scale starts above 0",
    "adapter.r=int(1.5,4)": "has no two bounds",
    "adapter.r=choice(8)": "name two different values",
    "adapter.r=choice(8,8)": "name two different values",
    f"{BETA} loss.beta=float(1,2)": "loss.beta is given twice",
    f"{BETA} loss.beta=0.3": "as one value and as a dimension",
    "loss.bta=choice(1,2)": "did you mean loss.beta?",
    "adapter.r=float(1,4)": "could not be converted to Integer",
    "loss.beta=float(-1,1)": "loss.beta=-1.0 must be above 0",
    "trainer.logging_steps=choice(1,2)": "could not be told apart",
    "runs_dir=choice(a,b)": "could not be told apart",
    "loss.beta=0.3": "there is nothing to search along",
    f"{BETA} search=grid": "write choice(A,B,...)",
    f"{BETA} search=tpee": "did you mean tpe?",
    f"{BETA} trials=0": "trials=0 must be above 0",
    "adapter.r=choice(8,16) method=sft": "learns none; use objective=eval_loss",
    "adapter.r=choice(8,16) method=grpo data=associations reward.name=strength_recall": "a sweep compares",
    f"{BETA} objective=eval_loss": "is on another scale for each loss.beta",
    f"{BETA} objective=reward_margin": "use objective=reward_accuracy",
    f"{BETA} pruning=median trainer.eval_strategy=no": "makes none; use steps",
    f"{BETA} data.eval_share=0 trainer.eval_strategy=no": "leaves no pairs to compare",
    "adapter.r=choice(8,16) search=grid trials=3": "more than the 2 points",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_search_that_cannot_be_is_refused_in_a_sentence(words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plan.made(["recipe=tiny", *words.split()])
    assert REFUSED[words] in str(refused.value)


def test_commas_within_brackets_and_quotes_divide_no_choices() -> None:
    [dimension], _ = space.divided(["adapter.target_modules=choice([q_proj],[q_proj,v_proj],'a,b')"])
    assert dimension.choices == ("[q_proj]", "[q_proj,v_proj]", "'a,b'")


def test_what_only_looks_like_a_call_stays_a_setting() -> None:
    words = ["data.path=pairs(1).jsonl", "data.path=x(1)"]
    assert space.divided(words) == ([], words)


def test_a_dry_run_shows_the_trainings_that_would_start_and_leaves_nothing(
    kalign_here: Callable[..., Result],
) -> None:
    shown = kalign_here("sweep", "recipe=tiny", BETA, "adapter.r=int(4,8)", "trials=2", "--dry-run", "--json")
    document = json.loads(shown.stdout)
    assert (shown.returncode, document["trials"], len(document["first"])) == (0, 2, 2)
    for line in document["first"]:
        values = dict(word.split("=") for word in line[2:])
        assert 0.01 <= float(values["loss.beta"]) <= 0.5
        assert 4 <= int(values["adapter.r"]) <= 8
    again = kalign_here("sweep", "recipe=tiny", BETA, "adapter.r=int(4,8)", "trials=2", "--dry-run", "--json")
    assert json.loads(again.stdout) == document
    assert not plan.made(["recipe=tiny", BETA]).folder.exists()


def test_a_grid_tries_every_combination_once_in_its_order() -> None:
    made = plan.made(["recipe=tiny", "search=grid", "adapter.r=choice(8,16)", "loss.beta=choice(0.1,0.3)"])
    assert made.trials == 4
    tried = [line[-2:] for line in control.rehearsed(made, 9)]
    assert tried == [[f"adapter.r={r}", f"loss.beta={beta}"] for r in (8, 16) for beta in (0.1, 0.3)]


def test_more_trials_go_on_in_the_same_folder_and_another_space_does_not() -> None:
    made = plan.made(["recipe=tiny", BETA, "trials=2"])
    assert plan.made(["recipe=tiny", BETA, "trials=50"]).folder == made.folder
    for other in ("search=random", "loss.loss_type=ipo", "pruning=median", "search_seed=1"):
        assert plan.made(["recipe=tiny", BETA, other]).folder != made.folder


def test_trials_are_grouped_in_weights_and_biases_by_their_sweep() -> None:
    made = plan.made(["recipe=tiny", "adapter.r=choice(8,16)", "tracker=wandb"])
    assert made.trial_words({"adapter.r": "8"})[-1] == f"tracker.group={made.folder.name}"
    own = plan.made(["recipe=tiny", "adapter.r=choice(8,16)", "tracker=wandb", "tracker.group=mine"])
    assert own.trial_words({"adapter.r": "8"})[-1] == "adapter.r=8"


def test_a_search_inside_a_rank_is_refused(kalign_here: Callable[..., Result]) -> None:
    refused = kalign_here("sweep", "recipe=tiny", BETA, WORLD_SIZE="2")
    assert (refused.returncode, "never inside one of several processes" in refused.stderr) == (2, True)
