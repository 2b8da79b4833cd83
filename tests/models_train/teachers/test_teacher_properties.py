"""Properties of rewards on responses: F1 of the specification, Razin et al.'s two formulas in torch, the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models_train.teachers.properties import (
    means_and_deviations,
    pair_sums,
    prompt_variances,
    resampled_length_correlations,
    resampled_variances,
    tied_shares,
    z_scores,
)
from models_train.teachers.resampling import half_splits, over_the_chosen, prompt_counts, resampled_ratios

R = np.array([[[1.0, 2, 4, 1], [0, 0, 0, 0], [3, -1, 2, 2]]])
GOLD = np.array([[0.0, 1, 2, 0], [1, 0, 1, 2], [3, 0, 1, 2]])
SAMPLE = np.ones((1, 3), np.float32)


def accuracies(rewards: NDArray[np.float64], gold: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    counts = np.ones((1, len(gold)), np.float32)
    found = pair_sums(rewards, gold).accuracies.items()
    return {name: resampled_ratios(values, weights, counts)[:, 0] for name, (values, weights) in found}


def test_spread_and_accuracy_are_those_of_the_worked_case() -> None:
    """F1."""
    assert means_and_deviations(R)[1][0] == pytest.approx(1.4668044012461754, abs=1e-15)
    whitened = prompt_variances(R)[0] / means_and_deviations(R)[1][0] ** 2
    assert whitened == pytest.approx([0.9295774648, 0, 1.3943661972], abs=1e-10)
    assert resampled_variances(R, SAMPLE)["reward_variance"][0, 0] == pytest.approx(0.7746478873, abs=1e-10)
    sums = pair_sums(R, GOLD)
    assert (sums.sign_equal / sums.n_pairs)[0] == pytest.approx([1, 1 / 6, 5 / 6])
    assert sums.n_informative.sum() == 16
    found = accuracies(R, GOLD)
    assert found["on_policy_accuracy"][0] == pytest.approx(2 / 3)
    assert (found["on_policy_accuracy_strict"][0], found["on_policy_accuracy_half"][0]) == (0.625, 0.8125)


def razin_variance(rewards: torch.Tensor) -> float:
    """Reward variance as Razin et al. define it, whitened rewards of torch's ddof 1."""
    whitened = (rewards - rewards.mean()) / rewards.std()
    return float(whitened.var(dim=1).mean())


def razin_accuracy(rewards: torch.Tensor, gold: torch.Tensor) -> float:
    """Pairs i < j whose signs agree, by prompt, then the mean over prompts."""
    per_prompt = []
    for own, true in zip(rewards, gold, strict=True):
        i, j = torch.triu_indices(len(own), len(own), 1)
        per_prompt.append((torch.sign(own[i] - own[j]) == torch.sign(true[i] - true[j])).double().mean())
    return float(torch.stack(per_prompt).mean())


@pytest.mark.parametrize("seed", range(20))
def test_razin_et_al_s_formulas_in_torch_give_the_same(seed: int) -> None:
    """Random shapes, half of the cases with many ties."""
    generator = torch.Generator().manual_seed(seed)
    n_prompts, n_responses = (int(n) for n in torch.randint(2, 12, (2,), generator=generator))
    rewards, gold = torch.randn(2, n_prompts, n_responses, generator=generator, dtype=torch.float64)
    if seed % 2:
        rewards, gold = rewards.round(), gold.round()
    rewards = 100 * rewards + 7
    counts = np.ones((1, n_prompts), np.float32)
    found = resampled_variances(rewards.numpy()[None], counts)["reward_variance"][0, 0]
    assert found == pytest.approx(razin_variance(rewards), abs=1e-12)
    assert accuracies(rewards.numpy()[None], gold.numpy())["on_policy_accuracy"][0] == pytest.approx(
        razin_accuracy(rewards, gold), abs=1e-12
    )


def ragged(seed: int, n_rewards: int = 3, n_prompts: int = 9, n_responses: int = 6) -> NDArray[np.float64]:
    """Rewards and, last, gold, of prompts with two to six responses, to one digit: there are ties."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(n_rewards + 1, n_prompts, n_responses)), 1)
    values[:, np.arange(n_responses) >= rng.integers(2, n_responses + 1, n_prompts)[:, None]] = np.nan
    return values


def test_prompts_of_different_numbers_of_responses_count_alike() -> None:
    *rewards, gold = values = ragged(1)
    found = accuracies(np.array(rewards), gold)
    for place, own in enumerate(rewards):
        shares, strict = [], []
        for row, true in zip(own, gold, strict=True):
            known = ~np.isnan(true)
            one, other = np.triu_indices(known.sum(), 1)
            signs = np.sign(row[known][one] - row[known][other]), np.sign(true[known][one] - true[known][other])
            shares.append((signs[0] == signs[1]).mean())
            strict += [a == b for a, b in zip(*signs, strict=True) if b]
        assert found["on_policy_accuracy"][place] == pytest.approx(np.mean(shares))
        assert found["on_policy_accuracy_strict"][place] == pytest.approx(np.mean(strict))
        assert prompt_variances(np.array(rewards))[place] == pytest.approx(np.nanvar(own, axis=1, ddof=1), abs=1e-14)
        ties = [np.sum(row[:, None] == row[None], dtype=float) - (~np.isnan(row)).sum() for row in own]
        pairs = [n * (n - 1) for n in (~np.isnan(own)).sum(axis=1)]
        assert tied_shares(np.array(rewards))[place] == pytest.approx(sum(ties) / sum(pairs))
    z = z_scores(np.array(values))
    assert np.nanmean(z, axis=(1, 2)) == pytest.approx(np.zeros(4), abs=1e-14)
    assert np.nanstd(z, axis=(1, 2), ddof=1) == pytest.approx(np.ones(4))


def test_length_correlation_is_that_of_values_less_the_mean_of_their_prompt() -> None:
    *rewards, lengths = ragged(2)
    own = rewards[0] - np.nanmean(rewards[0], axis=1, keepdims=True)
    length = lengths - np.nanmean(lengths, axis=1, keepdims=True)
    known = ~np.isnan(own)
    found = resampled_length_correlations(np.array(rewards), lengths, np.ones((1, 9), np.float32))
    assert found[0, 0] == pytest.approx(np.corrcoef(own[known], length[known])[0, 1])
    flat = np.where(known, 0.1, np.nan)[None]
    assert np.isnan(resampled_length_correlations(flat, lengths, np.ones((1, 9), np.float32))).all()


def test_every_normalisation_is_computed_again_in_each_resample() -> None:
    """A resample is the same as the figures of the prompts drawn, repeated as often as they are."""
    *rewards, gold = ragged(3)
    values = np.array(rewards)
    counts = prompt_counts(9, 20, seed=4)
    assert counts.shape == (21, 9) and (counts.sum(axis=1) == 9).all() and (counts[0] == 1).all()
    variances = resampled_variances(values, counts)
    sums = pair_sums(values, gold)
    strict = resampled_ratios(*sums.accuracies["on_policy_accuracy_strict"], counts)
    for place, row in enumerate(counts.astype(int)):
        drawn = np.repeat(np.arange(9), row)
        alone = np.ones((1, 9), np.float32)
        for name, found in resampled_variances(values[:, drawn], alone).items():
            assert variances[name][:, place] == pytest.approx(found[:, 0], rel=1e-10), name
        assert strict[:, place] == pytest.approx(accuracies(values[:, drawn], gold[drawn])["on_policy_accuracy_strict"])


def test_order_of_prompts_rewards_and_responses_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    *rewards, gold = ragged(5, n_rewards=4, n_prompts=30)
    values = np.array(rewards) * 1000
    counts = prompt_counts(30, 10, seed=0)
    prompts, columns, order = rng.permutation(30), rng.permutation(6), rng.permutation(4)
    moved = values[order][:, prompts][:, :, columns]
    for name, found in resampled_variances(values, counts).items():
        assert resampled_variances(moved, counts[:, prompts])[name] == pytest.approx(found[order], rel=1e-12), name
    own, other = accuracies(values, gold), accuracies(moved, gold[prompts][:, columns])
    for name, found in own.items():
        assert other[name] == pytest.approx(found[order], abs=1e-12)


def test_a_reward_without_spread_has_no_variance() -> None:
    flat = np.full((1, 3, 4), 0.1)
    assert np.isnan(resampled_variances(flat, SAMPLE)["reward_variance"]).all()
    assert np.isnan(z_scores(flat)).all()
    assert (prompt_variances(flat) == 0).all()


def test_the_best_member_is_chosen_on_one_half_and_judged_on_the_other() -> None:
    """Against a plain loop over splits, with prompts repeated as they are drawn."""
    rng = np.random.default_rng(6)
    members, own, weights = rng.normal(size=(3, 10)), rng.normal(size=(2, 10)), rng.integers(1, 4, 10).astype(float)
    counts, halves = prompt_counts(10, 5, seed=1), half_splits(10, 4, seed=2)
    assert halves.sum(axis=1).tolist() == [5] * 4
    found = over_the_chosen(own, members, weights, counts, halves)
    for place, row in enumerate(counts):
        differences = []
        for half in halves:
            for choosing in (half, ~half):
                a, b = row * choosing, row * ~choosing
                if not a.any() or not b.any():
                    continue
                best = int(np.argmax(members @ a / (weights @ a)))
                differences.append(own @ b / (weights @ b) - members[best] @ b / (weights @ b))
        assert found[:, place] == pytest.approx(np.mean(differences, axis=0))


def test_choosing_a_member_has_no_optimism() -> None:
    """Ten members of equal worth: the best of the whole sample looks better than the mean, the chosen one does not."""
    rng = np.random.default_rng(7)
    members = rng.normal(size=(10, 400))
    counts, halves = np.ones((1, 400), np.float32), half_splits(400, 20, seed=0)
    mean = members.mean(axis=0, keepdims=True)
    optimistic = members.mean(axis=1).max() - mean.mean()
    honest = -over_the_chosen(mean, members, np.ones(400), counts, halves)[0, 0]
    assert optimistic > 0.05 and abs(honest) < 0.05
