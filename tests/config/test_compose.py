import json
import subprocess
import sys
from pathlib import Path

import pytest

from kalign.config import Recipe, compose, elsewhere, multirun
from kalign.errors import ConfigError
from tests.conftest import Result


def own(tmp_path: Path, text: str, name: str = "mine") -> str:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return f"recipe={path}"


def test_words_override_what_the_recipe_says() -> None:
    recipe = compose.load(["recipe=tiny", "loss.beta=0.3", "adapter.r=64", "model=qwen"])
    assert (recipe.loss.beta, recipe.adapter.r, recipe.model.repo) == (0.3, 64, "Qwen/Qwen2.5-7B-Instruct")


def test_no_words_mean_the_tiny_recipe() -> None:
    assert compose.load([]).name == "tiny"


def test_a_recipe_elsewhere_inherits_a_shipped_one_and_keeps_its_own_choices(tmp_path: Path) -> None:
    word = own(tmp_path, "defaults: [tiny, {/adapter: qlora}, _self_]\nname: mine\nloss: {beta: 0.4}\n")
    recipe = compose.load([word, "trainer.seed=7"])
    assert (recipe.name, recipe.model.repo, recipe.loss.beta) == ("mine", "bundled:tiny", 0.4)
    assert recipe.adapter.quantization.load_in_4bit
    assert recipe.trainer.seed == 7


def test_a_recipe_in_a_folder_with_a_difficult_name_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "한글 x(1),y=z"
    folder.mkdir()
    with pytest.raises(ConfigError):  # a comma separates the values of a sweep
        compose.load([own(folder, "defaults: [tiny, _self_]\nname: mine\n")])
    folder = tmp_path / "한글 x(1)=z"
    folder.mkdir()
    assert compose.load([own(folder, "defaults: [tiny, _self_]\nname: mine\n")]).name == "mine"


def test_a_path_that_hydra_cannot_read_is_taken_literally() -> None:
    for path in ("한글 자료.jsonl", "x(1).jsonl", "d=e+f/a.jsonl", "it's.jsonl"):
        assert compose.load([f"data.path={path}"]).data.path == path


def test_sources_can_be_mixed() -> None:
    recipe = compose.load(["data.path=null", "data.mix={a:{path:x.jsonl,weight:2},b:{path:'pack:ko'}}"])
    assert {name: source.weight for name, source in recipe.data.sources().items()} == {"a": 2.0, "b": 1.0}


def test_the_pairs_are_those_of_the_recipes_pack(tmp_path: Path) -> None:
    assert compose.load([]).data.path == "pack:ko+easy"
    for place in ("some/where", "한글 x(1)=z"):
        recipe = compose.load([f"pack={place}"])
        assert (recipe.pack, recipe.data.path) == (place, f"pack:{place}+easy")


def test_what_is_shown_can_be_read_back(tmp_path: Path) -> None:
    recipe = compose.load(["recipe=square", "data.path=x.json"])
    shown = compose.as_yaml(recipe).replace("name: square", "name: again")
    again = compose.load([own(tmp_path, "defaults: [/base, _self_]\n" + shown, "again")])
    again.name = "square"
    assert again == recipe


REFUSED = {
    "recipe=tny": "did you mean tiny?",
    "recipe=nowhere.yaml": "cannot be read",
    "model=qwne": "did you mean qwen?",
    "loss.bta=1": "did you mean loss.beta?",
    "learning_rte=1e-4": "did you mean trainer.learning_rate?",
    "lr=1e-4": "here it is trainer.learning_rate",
    "trainer.gradient_accumulation_steps=4": "here it is trainer.pairs_per_step",
    "data.train_file=x": "here it is data.path",
    "data.path=a.jsonl,b.jsonl": "data.mix={a:{path:ONE}",
    "trainer.optim=adamw": "did you mean",
    "trainer.lr_scheduler_type=cosin": "did you mean cosine?",
    "trainer.lr_scheduler_type=warmup_stable_decay": "wants arguments of its own",
    "trainer.warmup_steps=-1": "must be at least 0",
    "trainer.seed=-1": "must be at least 0",
    "trainer.learning_rate=no": "trainer.learning_rate",
    "trainer.learning_rate=1:30": "trainer.learning_rate",
    "trainer.learning_rate=-1": "must be above 0",
    "trainer.learning_rate=nan": "must be above 0",
    "trainer.pairs_per_step=7": "use 8 or 16",
    "trainer.max_steps=0": "trains nothing",
    "trainer.seed=1.5": "trainer.seed",
    "adapter.r=0": "must be above 0",
    "adapter.r=4,8": "add -m",
    "adapter.lora_dropout=1": "probability",
    "adapter.target_modules=[lm_head]": "lm_head",
    "adapter.target_modules=[]": "nothing would be trained",
    "loss.loss_type=ipoo": "did you mean ipo?",
    "loss.loss_type=[sigmoid,sff]": "did you mean sft?",
    "loss.label_smoothing=0.1": "is ignored by sigmoid",
    "loss.loss_weights=[1,2]": "give one each",
    "loss.loss_type=exo_pair": "label_smoothing above 0",
    "data.columns.chosen=rejected": "one column",
    "data.columns={chosen:rejected,rejected:chosen}": "swaps good and bad",
    "data.eval_share=1": "share",
    "data.eval_share=0": "trainer.eval_strategy=no",
    "data.format=squar": "did you mean square?",
    "data.path=hub:someone/something": "pin it",
    "data.mix.a.path=x": "data.mix={a:{path:FILE,weight:1}}",
    "data.mix={a:{pth:x}}": "pth",
    "data.mix={a:{path:x}}": "both given",
    "model.trust_remote_code=true": "40 hex digits",
    "model.dtype=fp16": "use one of float32",
    "tracker.name=wandbb": "did you mean wandb?",
    "name=a/b": "folder's name",
    "pack=''": "pack is empty",
    "foo": "key=value",
    "+loss.gamma=1": "is no setting",
    "~loss.beta": "none is added or removed",
    "trainer.seed=${oc.env:NO_SUCH_VARIABLE}": "NO_SUCH_VARIABLE",
    "loss.beta=${loss.ld_alpha}": "loss.beta",
    "+x._target_=os.system": "_target_",
    "model={_target_:os.system}": "never does",
}


@pytest.mark.parametrize("word", REFUSED)
def test_a_wrong_word_is_refused_in_one_sentence_with_a_remedy(word: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose.load([word])
    assert REFUSED[word] in str(refused.value)
    assert "\n" not in str(refused.value)


RECIPES = {
    "name: other\ndefaults: [tiny, _self_]\n": "write name: mine",
    "name: mine\n": "must start from /base",
    "name: mine\ndefaults: [{/model: tiny}]\n": "must start from /base",
    "name: mine\ndefaults: [tiny, {/modle: tiny}]\n": "cannot read",
    "name: mine\ndefaults: [tiny]\nloss: {bta: 1}\n": "did you mean loss.beta?",
    "name: mine\ndefaults: [tiny]\nloss: {beta: x}\n": "loss.beta",
    "name: mine\ndefaults: [tiny]\nmodel: {_target_: os.system}\n": "_target_",
    "name: mine\ndefaults: [tiny]\ntracker: {project: hf_aaaaaaaaaaaaaaaaaaaaaaaa}\n": "secret",
    "name: mine\nname: mine\ndefaults: [tiny]\n": "is no YAML",
    "name: [mine\n": "is no YAML",
    "just words": "is no setting",
    "- a list": "no settings",
    "name: mine\ndefaults: [nowhere, _self_]\n": "recipe=nowhere is unknown; use one of",
    "name: mine\ndefaults: [tiny, {/adapter: qlorra}, _self_]\n": "/adapter=qlorra is unknown; did you mean",
}


def test_what_other_tools_call_a_setting_leads_to_one_that_exists() -> None:
    known = compose.every_key()
    assert set(elsewhere.NAMES.values()) <= set(known)
    assert not {key.rsplit(".", 1)[-1] for key in known} & set(elsewhere.NAMES)


@pytest.mark.parametrize("text", RECIPES)
def test_a_wrong_recipe_file_is_refused_with_its_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        compose.load([own(tmp_path, text)])
    assert RECIPES[text] in str(refused.value)
    assert "hf_aaaa" not in str(refused.value)


def test_a_recipe_of_ones_own_cannot_take_the_name_of_a_shipped_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes the name of the shipped recipe tiny"):
        compose.load([own(tmp_path, "defaults: [/base, _self_]\nname: tiny\n", "tiny")])


def test_yaml_that_multiplies_itself_is_refused_before_it_is_expanded(tmp_path: Path) -> None:
    lines = ["name: mine", "defaults: [tiny]", "a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{n}: &{n} [{','.join([f'*{p}'] * 10)}]" for p, n in zip("abcdef", "bcdefg", strict=True)]
    with pytest.raises(ConfigError, match="aliases"):
        compose.load([own(tmp_path, "\n".join(lines))])


SECRETS = (
    "sk-proj-abcdefghijklmnopqrstu",
    "hf_abcdefghijklmnopqrstuvwx",
    "0123456789abcdef" * 2 + "01234567",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_refused_and_never_repeated(secret: str, kalign: object, capsys: object) -> None:
    with pytest.raises(ConfigError) as refused:
        compose.load([f"tracker.project={secret}"])
    assert "environment variable" in str(refused.value)
    assert secret not in str(refused.value)


def test_a_key_that_asks_for_a_secret_is_refused_whatever_its_value() -> None:
    with pytest.raises(ConfigError) as refused:
        compose.load(["tracker.api_key=qwerty"])
    assert "qwerty" not in str(refused.value)


def test_what_a_run_is_named_by_changes_with_what_decides_its_result_and_with_nothing_else() -> None:
    same = compose.load(["recipe=tiny"]).determining()
    for word in ("runs_dir=elsewhere", "tracker=wandb", "trainer.save_steps=3", "trainer.logging_steps=1"):
        assert compose.load([word]).determining() == same
    for word in ("loss.beta=0.2", "trainer.seed=1", "data.path=x", "adapter.r=8", "model.dtype=bfloat16"):
        assert compose.load([word]).determining() != same


def test_a_recipe_made_in_python_is_checked_by_the_same_rules() -> None:
    recipe = Recipe()
    recipe.loss.loss_type = "sgmoid"
    with pytest.raises(ConfigError, match="did you mean sigmoid"):
        recipe.check()


def test_show_prints_the_resolved_recipe_as_yaml_or_json(kalign: object) -> None:
    assert callable(kalign)
    shown: Result = kalign("show", "recipe=qwen", "adapter.r=64")
    assert shown.returncode == 0
    assert "r: 64" in shown.stdout
    as_json: Result = kalign("show", "recipe=qwen", "adapter.r=64", "--json")
    assert json.loads(as_json.stdout)["adapter"]["r"] == 64


def test_a_wrong_word_ends_the_command_with_code_2_and_one_line(kalign: object) -> None:
    assert callable(kalign)
    refused: Result = kalign("show", "recipe=tny")
    assert refused.returncode == 2
    assert refused.stderr == "kalign: recipe=tny is unknown; did you mean tiny?\n"
    assert kalign("show", "--jsno").returncode == 2
    assert kalign("shwo").returncode == 2


def test_multirun_inside_a_launch_of_several_processes_is_refused_with_the_command_to_use(
    kalign: object,
) -> None:
    assert callable(kalign)
    refused: Result = kalign("train", "-m", "loss.beta=0.1,0.2", WORLD_SIZE="2", RANK="0")
    assert refused.returncode == 2
    assert "kalign train -m loss.beta=0.1,0.2" in refused.stderr


def test_help_shows_an_example() -> None:
    for words in (["--help"], ["train", "--help"], ["show", "--help"]):
        helped = subprocess.run([sys.executable, "-m", "kalign", *words], capture_output=True, text=True)
        assert helped.returncode == 0
        assert "recipe=" in helped.stdout or "train" in helped.stdout


def test_multirun_takes_every_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kalign"])
    Path("mine.yaml").write_text("defaults: [tiny, _self_]\nname: mine\n", encoding="utf-8")
    found = multirun.combinations(["recipe=tiny,mine.yaml", "loss.beta=0.1,0.2", "trainer.seed=3"])
    each = [(recipe, beta) for recipe in ("tiny", "mine.yaml") for beta in ("0.1", "0.2")]
    assert found == [[f"recipe={recipe}", f"loss.beta={beta}", "trainer.seed=3"] for recipe, beta in each]
