"""``mobileface-convert adopt --task attributes``: heads for gender, age and expression."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mobileface import Session
from mobileface.commands.main import main as run
from mobileface.errors import ConversionError
from mobileface.tasks.head_predictor import HeadPredictor
from mobileface_convert.build.adopted_tasks import parse_head
from tests.convert.commands.adoptable_networks import write_heads
from tests.convert.commands.adopting import adopt

FACTS = ["--task", "attributes", "--crop", "box", "--color", "bgr", "--mean", "0", "--std", "255"]
GENDER = "gender.out:gender=female,male"
AGE = "age.logits:age=2,10,25,40,60,80"


def test_two_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original, models = write_heads(tmp_path / "net.onnx"), tmp_path / "models"
    recipe = tmp_path / "my.toml"
    heads = ["--head", AGE, "--head", GENDER]  # in another order than in the file
    given = [original, *FACTS, *heads, "--name", "mine", "--output", models]
    assert adopt(*given, "--write-recipe", recipe) == 0
    assert "age as logits, gender as probabilities" in capsys.readouterr().out
    crops = np.random.RandomState(2).randint(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(str(original))
    fed = (crops.astype(np.float32) / 255).transpose(0, 3, 1, 2)
    gender, age = session.run(["gender.out", "age.logits"], {"input.1": fed})
    chances = np.exp(age - age.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    years = chances @ np.array([2, 10, 25, 40, 60, 80])
    predictor = HeadPredictor(Session(models / "mine.onnx"))
    found = predictor.predict(list(crops))
    errors = [
        max(
            float(np.abs(told.gender_probs - gender[row]).max()),
            abs(told.age - years[row]) / 80,
        )
        for row, told in enumerate(found)
    ]
    print(f"largest error {max(errors):.2g} of a probability, or of 80 years")
    assert max(errors) <= 1e-5
    words = [("female", "male")[int(row.argmax())] for row in gender]
    assert [told.gender for told in found] == words
    capsys.readouterr()
    assert run(["certify", "--models", str(models), "--json"]) == 0
    verdicts = json.loads(capsys.readouterr().out)["variants"]
    assert [v["state"] for v in verdicts if v["model"] == "mine"] == ["held"]
    assert adopt(recipe, "--output", tmp_path / "again") == 0
    same = [(folder / "mine.onnx").read_bytes() for folder in (models, tmp_path / "again")]
    assert same[0] == same[1]


def test_one_head_needs_no_name(tmp_path: Path) -> None:
    original, models = write_heads(tmp_path / "net.onnx", only="gender"), tmp_path / "models"
    assert adopt(original, *FACTS, "--head", "gender=female,male", "--output", models) == 0
    assert "Estimates gender" in (models / "net.md").read_text()


REFUSED = {
    "no head": ([], "--head must be given"),
    "feature": (["--head", GENDER, "--feature", "x"], "--feature is not for"),
    "twice": (["--head", GENDER, "--head", GENDER], "tell the same attribute"),
    "unnamed": (["--head", "gender=female,male"], "has 2 outputs: gender.out, age.logits"),
    "no output": (["--head", "x:gender=female,male"], "has no output 'x'"),
    "classes": (["--head", "age.logits:age=1,2,3"], "gives 6 numbers for the 3 classes of age"),
    "one class": (["--head", "gender.out:gender=female"], "fewer than two classes"),
    "words for years": (["--head", "age.logits:age=young,old"], "classes of age are years"),
    "attribute": (["--head", "age.logits:mood=a,b"], "is not like gender=female,male"),
    "embedding": (["--head", GENDER, "--task", "embedding"], "--head is not for"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, reason = REFUSED[name]
    original, models = write_heads(tmp_path / "net.onnx"), tmp_path / "models"
    assert adopt(original, *FACTS, *more, "--output", models) == 2
    said = capsys.readouterr().err.strip()
    print(said)
    assert reason in said
    assert "\n" not in said
    assert not models.exists()


def test_ranges_of_years() -> None:
    assert parse_head("age=0-100").classes == tuple(map(float, range(101)))
    assert parse_head("o:p:age=0.25,1").output == "o:p"
    with pytest.raises(ConversionError):
        parse_head("age=")
