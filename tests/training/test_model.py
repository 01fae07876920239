"""The network, the loss, and a small training that goes through the real export."""

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from guard import metrics
from training.batches import Plan, base_tokenizer
from training.calibrate import calibrate, fit_platt
from training.data import Example
from training.export import write_float, write_int8
from training.heads import Target
from training.model import Encoder, Objective, Shape, base_folder, loss
from training.train import Recipe, averaged, fit, load, read_run

pytestmark = pytest.mark.filterwarnings("ignore")
"""The legacy exporter and the quantiser warn of themselves."""

TINY = Shape(vocabulary=30_522, width=32, layers=2, attention_heads=4, inner=64, positions=64)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small matrices on a shared machine: threads would only wait for each other."""
    torch.set_num_threads(1)


def some_examples() -> list[Example]:
    """Two hundred sentences of four words; the first word decides one head, the second an open set."""
    rng = random.Random(0)
    made = []
    for number in range(200):
        words = [rng.choice(("apple", "stone")), rng.choice(("river", "cloud")), rng.choice(("lamp", "door")), "today"]
        target = Target(
            {"hate": int(words[0] == "stone")}, frozenset({"violence", "sexual"}) if number % 3 else frozenset()
        )
        made.append(Example(" ".join(words), "user", "before" if number % 2 else "", target, str(number), "synthetic"))
    return made


def test_padding_changes_no_logit() -> None:
    """A batch in training and a single text in the service have to mean the same."""
    model = Encoder(TINY, 3).eval()
    ids, types = torch.tensor([[101, 1, 2003, 102]]), torch.zeros(1, 4, dtype=torch.long)
    padded = torch.nn.functional.pad(ids, (0, 3))
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0]])
    alone = model(ids, types)
    assert torch.allclose(alone, model(padded, torch.zeros(1, 7, dtype=torch.long), mask), atol=1e-5)


def test_the_network_is_the_bert_that_the_weights_were_made_for() -> None:
    """With the base weights its token states are those of the reference implementation."""
    reference = transformers.BertModel.from_pretrained(base_folder(), add_pooling_layer=False).eval()
    model = Encoder.pretrained(1).eval()
    ids = torch.tensor([[101, 2023, 2003, 1037, 3231, 102]])
    seen: list[torch.Tensor] = []
    model.layers[-1].register_forward_hook(lambda *args: seen.append(args[2]))
    with torch.no_grad():
        model(ids, torch.zeros_like(ids))
        expected = reference(ids).last_hidden_state
    assert torch.allclose(seen[0], expected, atol=1e-4)


@pytest.mark.parametrize("shift", [-20.0, -5.0, 0.0, 5.0, 20.0])
def test_the_open_set_loss_is_the_naive_one_where_that_can_be_computed(shift: float) -> None:
    """-log(1 - prod(1 - p)) in double precision, for logits from hopeless to sure."""
    logits = torch.tensor([[-1.0, 0.5, 2.0]]) + shift
    none_known = torch.full((1, 3), -1)
    found = loss(logits, none_known, torch.tensor([[True, False, True]]), objective=Objective(any_weight=4.0))
    none = math.prod(1 / (1 + math.exp(float(logits[0, i]))) for i in (0, 2))
    expected = -math.log1p(-none) if none < 0.5 else -math.log(-math.expm1(math.log(none)))
    assert float(found) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_open_set_loss_pulls_even_where_every_member_is_hopeless() -> None:
    """The gradient must not vanish with the probability, or such rows are never learnt."""
    logits = torch.full((1, 2), -15.0, requires_grad=True)
    loss(
        logits, torch.full((1, 2), -1), torch.ones(1, 2, dtype=torch.bool), objective=Objective(any_weight=4.0)
    ).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad < -0.1).all()


def test_a_masked_head_gets_no_gradient() -> None:
    """What a source does not say must not teach."""
    logits = torch.zeros(1, 2, requires_grad=True)
    loss(logits, torch.tensor([[1, -1]]), torch.zeros(1, 2, dtype=torch.bool)).backward()
    assert logits.grad[0, 0] < 0
    assert logits.grad[0, 1] == 0


def test_a_small_training_goes_through_the_export_and_agrees_with_it(tmp_path: Path) -> None:
    """Twenty steps; the float graph gives torch's logits, the int8 graph gives them within a step of int8."""
    plan = Plan(("hate", "violence", "sexual"), budget=160, roughen=0.0)
    torch.manual_seed(0)
    run = fit(
        Encoder(TINY, 3),
        some_examples(),
        base_tokenizer(),
        plan=plan,
        recipe=Recipe(rate=3e-3, words_rate=1e-2, head_rate=1e-2, epochs=5, most_steps=20, objective=Objective()),
        out=tmp_path,
    )
    assert run == read_run(tmp_path)
    assert run.steps == 20
    assert run.loss < 1.0
    model = load(tmp_path)
    write_float(model, tmp_path / "float.onnx")
    write_int8(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    sessions = [onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx")) for name in ("float", "int8")]
    for text in ("stone river lamp", "apple cloud door today", "a"):
        tokens = [101, 1, *base_tokenizer().encode(text, add_special_tokens=False).ids, 102]
        ids, types = np.array([tokens]), np.zeros((1, len(tokens)), dtype=np.int64)
        with torch.no_grad():
            expected = model(torch.tensor(ids), torch.tensor(types)).numpy()
        exact, quantised = (s.run(["logits"], {"input_ids": ids, "token_type_ids": types})[0] for s in sessions)
        assert np.abs(exact - expected).max() < 1e-4
        assert np.abs(quantised - expected).max() < 0.1 + 0.05 * np.abs(expected).max()


def test_the_embedding_says_what_a_text_is_about_and_changes_no_logit(tmp_path: Path) -> None:
    """Two halves of length one, the same in the exported graph; texts of the same words lie near each other."""
    torch.manual_seed(0)
    model = Encoder(TINY, 3).eval()
    write_float(model, tmp_path / "float.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "float.onnx"))
    ids, types = np.array([[101, 1, 2003, 4758, 102]]), np.zeros((1, 5), dtype=np.int64)
    with torch.no_grad():
        logits, embedding = model.with_embedding(torch.tensor(ids), torch.tensor(types))
        assert torch.equal(logits, model(torch.tensor(ids), torch.tensor(types)))
    (exported,) = session.run(["embedding"], {"input_ids": ids, "token_type_ids": types})
    assert np.abs(exported - embedding.numpy()).max() < 1e-5
    assert embedding.shape == (1, 64)
    assert torch.linalg.norm(embedding[:, :32]).item() == pytest.approx(1, abs=1e-5)


def test_members_are_averaged(tmp_path: Path) -> None:
    """Every weight is the mean of the members'; members of another size are refused."""
    folders = []
    for seed, heads in ((1, 3), (2, 3), (3, 2)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        torch.manual_seed(seed)
        plan = Plan(("hate", "violence", "sexual")[:heads], budget=160)
        recipe = Recipe(epochs=1, most_steps=2)
        fit(Encoder(TINY, heads), some_examples()[:40], base_tokenizer(), plan=plan, recipe=recipe, out=folder)
        folders.append(folder)
    one, two = load(folders[0]).state_dict(), load(folders[1]).state_dict()
    for name, mean in averaged(folders[:2]).state_dict().items():
        assert torch.allclose(mean, (one[name] + two[name]) / 2)
    with pytest.raises(ValueError, match="same heads"):
        averaged(folders)


def interrupt(model: Encoder, plan: Plan, recipe: Recipe, out: Path) -> None:
    """Trains until the sixth step, in which somebody presses Ctrl-C: after the checkpoint of the third."""
    ticks = iter(range(6))

    def clock() -> float:
        if next(ticks, None) is None:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        fit(model, some_examples(), base_tokenizer(), plan=plan, recipe=recipe, out=out, clock=clock)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels under the same weights would be a model that nobody has described."""
    monkeypatch.setattr("training.train.CHECKPOINT_EVERY", 3)
    plan, recipe = Plan(("hate", "violence", "sexual"), budget=160), Recipe(epochs=5, most_steps=8)
    interrupt(Encoder(TINY, 3), plan, recipe, tmp_path)
    other = [replace(example, target=Target({"hate": 1})) for example in some_examples()]
    for examples, changed in ((other, recipe), (some_examples(), replace(recipe, seed=99))):
        with pytest.raises(SystemExit, match="another recipe or other data"):
            fit(Encoder(TINY, 3), examples, base_tokenizer(), plan=plan, recipe=changed, out=tmp_path)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint holds all that the next step needs."""
    monkeypatch.setattr("training.train.CHECKPOINT_EVERY", 3)
    plan = Plan(("hate", "violence", "sexual"), budget=160)
    recipe = Recipe(epochs=5, most_steps=8)
    weights = []
    for name in ("whole", "parts"):
        out = tmp_path / name
        out.mkdir()
        torch.manual_seed(1)
        model = Encoder(TINY, 3)
        if name == "parts":
            interrupt(model, plan, recipe, out)
            torch.manual_seed(2)
            model = Encoder(TINY, 3)
        fit(model, some_examples(), base_tokenizer(), plan=plan, recipe=recipe, out=out)
        weights.append(load(out).head.weight)
    assert torch.allclose(weights[0], weights[1], atol=1e-4)


def test_calibration_recovers_the_curve_that_made_the_labels() -> None:
    """Labels drawn with sigmoid(0.7 x - 1) give back about 0.7 and -1, and a small error."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    truth = 1 / (1 + np.exp(-(0.7 * logits - 1)))
    known = (rng.random(20_000) < truth).astype(np.int8)
    platt = fit_platt(logits, known, prior=(0.0, 1.0))
    assert platt.scale == pytest.approx(0.7, abs=0.05)
    assert platt.offset == pytest.approx(-1.0, abs=0.05)
    assert metrics.calibration_error(known, platt(logits), np.ones(len(known), dtype=np.int64)) < 0.02


def test_calibration_ignores_the_rows_that_are_silent() -> None:
    """Only known rows are counted, and a head with one side only stays as it is."""
    examples = [Example("", "user", "", Target({"hate": i % 2} if i < 40 else {}), "", "x") for i in range(60)]
    logits = np.array([[3.0 if i % 2 else -3.0] for i in range(60)])
    found = calibrate(logits, examples, Plan(("hate",)))
    assert (found.figures["hate"].rows, found.figures["hate"].auc.value) == (40, 1.0)
    assert fit_platt(np.zeros(5), np.zeros(5, dtype=np.int8)).scale == 1.0


def test_the_whole_decision_pulls_at_the_highest_head_alone() -> None:
    """A harmful row lifts its highest head, a harmless one lowers it; a row that does not say is left out."""
    deciding = torch.tensor([True, True, False])
    none = torch.zeros(3, 3, dtype=torch.bool)
    known = torch.tensor([[1, -1, 0], [0, 0, 1], [0, -1, 1]])
    gradients = []
    for overall in (0.0, 1.0):
        logits = torch.tensor([[-4.0, 4.0, 0.0], [-4.0, 4.0, 0.0], [-4.0, 4.0, 0.0]], requires_grad=True)
        loss(logits, known, none, objective=Objective(overall=overall), deciding=deciding).backward()
        gradients.append(logits.grad)
    added = gradients[1] - gradients[0]
    assert added[1, 1] > 0.05 > abs(float(added[1, 0])) * 100
    assert added[2].abs().sum() == 0
    assert added[:, 2].abs().sum() == 0
    assert added[0, 1] < 0


def test_smoothed_and_focal_losses_on_cases_worked_by_hand() -> None:
    """A known 1 at logit 0: ln 2 whatever the smoothing, a quarter of it with a squared focus."""
    logits, known, none = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.bool)
    plain = float(loss(logits, known, none, objective=Objective(smoothing=0.1)))
    assert plain == pytest.approx(math.log(2))
    assert float(loss(logits, known, none, objective=Objective(focal=2.0))) == pytest.approx(math.log(2) / 4)


def test_lanes_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    """Where every row says as much as the others, cutting a batch in two changes nothing but rounding."""
    weights = []
    for lanes in (1, 2):
        torch.manual_seed(3)
        out = tmp_path / str(lanes)
        out.mkdir()
        examples = [replace(e, target=Target(e.target.values)) for e in some_examples()]
        recipe = Recipe(epochs=1, most_steps=3, lanes=lanes, objective=Objective())
        fit(Encoder(TINY, 1), examples, base_tokenizer(), plan=Plan(("hate",), budget=160), recipe=recipe, out=out)
        weights.append(load(out).layers[0].up.weight)
    assert torch.allclose(weights[0], weights[1], atol=2e-4)


def test_averaged_weights_lag_behind_the_last_ones(tmp_path: Path) -> None:
    """They are what is kept, and they survive an interruption."""
    plan, examples = Plan(("hate", "violence", "sexual"), budget=160), some_examples()
    kept = []
    for average in (0.0, 0.9):
        torch.manual_seed(4)
        out = tmp_path / str(average)
        out.mkdir()
        recipe = Recipe(epochs=2, most_steps=15, average=average, words_rate=1e-2)
        fit(Encoder(TINY, 3), examples, base_tokenizer(), plan=plan, recipe=recipe, out=out)
        kept.append(load(out).words.weight)
    torch.manual_seed(4)
    base = Encoder(TINY, 3).words.weight
    assert 0 < float((kept[1] - base).abs().sum()) < float((kept[0] - base).abs().sum())


def test_a_role_with_rows_enough_has_a_scaling_of_its_own() -> None:
    """Comments whose logits lie two higher get an offset for that; a role nobody has keeps that of all rows."""
    rng = np.random.default_rng(0)
    examples, logits = [], []
    for i in range(4_000):
        role, truth = ("user", "comment")[i % 2], int(rng.random() < 0.3)
        examples.append(Example("", role, "", Target({"hate": truth}), str(i), "x"))
        logits.append([rng.normal(2.0 * truth - 1.0, 1.0) + (2.0 if role == "comment" else 0.0)])
    found = calibrate(np.array(logits), examples, Plan(("hate",)))
    difference = found.platt["user"]["hate"].offset - found.platt["comment"]["hate"].offset
    assert difference == pytest.approx(2.0 * found.platt["comment"]["hate"].scale, abs=0.6)
    assert found.platt["assistant"] == found.platt["unknown"]
    assert found.figures["hate"].ece < 0.05
