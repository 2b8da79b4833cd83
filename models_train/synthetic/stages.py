"""Post-training in the lab: supervised fine-tuning, preference optimization, and learning from verified answers.

Each stage begins with its parent's weights, as the stages of the paper's Table 1 do (base, SFT, DPO, RLVR).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models_train.data.chat import Rendered, Renderer
from models_train.data.records import Turn
from models_train.modeling.packed_attention import packed_inputs
from models_train.modeling.packing import pack
from models_train.synthetic.preferences import Question, Response, padded, question_of, utility

STEPS = 40
"""Steps of a stage that states no other number."""
PER_STEP = 16
RATE = {"sft": 1e-3, "dpo": 2e-4, "rlvr": 2e-4}
BETA = 0.1
"""Strength of the tie to the reference in preference optimization."""
SAMPLES = 4
"""Answers that are sampled for each prompt of the verified stage."""
LONGEST_ANSWER = 40


def further_stage(
    stage: str,
    parent: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    seed: int,
    steps: int = STEPS,
) -> PreTrainedModel:
    """A copy of `parent` after the steps of the stage sft, dpo or rlvr. Raises KeyError for another stage."""
    model = copy.deepcopy(parent)
    renderer = Renderer(tokenizer, context, context=context)
    losses: dict[str, Callable[[], Iterator[torch.Tensor]]] = {
        "sft": lambda: _supervised(model, renderer, seed, steps),
        "dpo": lambda: _preferred(model, parent, renderer, seed, steps),
        "rlvr": lambda: _verified(model, renderer, seed, steps),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE[stage], betas=(0.9, 0.95), fused=True)
    model.train()
    for loss in losses[stage]():
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


def response_logprobs(model: PreTrainedModel, examples: Sequence[Rendered]) -> torch.Tensor:
    """(n_examples,) sum of the log-probabilities, in nats, of each response given its prompt."""
    packed = pack([example.token_ids for example in examples])
    logits = model(**packed_inputs(packed)).logits[0, :-1].float()
    found = -F.cross_entropy(logits, packed.token_ids[1:], reduction="none")
    starts = packed.boundaries[:-1].tolist()
    sums = []
    for start, length, example in zip(starts, packed.lengths, examples, strict=True):
        sums.append(found[start + example.n_prompt_tokens - 1 : start + length - 1].sum())
    return torch.stack(sums)


def _batches(seed: str, steps: int) -> Iterator[list[tuple[Question, random.Random]]]:
    for first in range(0, steps * PER_STEP, PER_STEP):
        dice = [random.Random(f"{seed}/{number}") for number in range(first, first + PER_STEP)]
        yield [(question_of(one, "train"), one) for one in dice]


def _render(renderer: Renderer, question: Question, response: str) -> Rendered:
    return renderer.render((Turn("user", question.prompt),), response)


def _supervised(model: PreTrainedModel, renderer: Renderer, seed: int, steps: int) -> Iterator[torch.Tensor]:
    """Mean negative log-probability, per token, of the good responses."""
    for batch in _batches(f"sft/{seed}", steps):
        examples = [_render(renderer, question, question.good.text) for question, _ in batch]
        n_tokens = sum(len(one.token_ids) - one.n_prompt_tokens for one in examples)
        yield -response_logprobs(model, examples).sum() / n_tokens


def _preferred(
    model: PreTrainedModel, reference: PreTrainedModel, renderer: Renderer, seed: int, steps: int
) -> Iterator[torch.Tensor]:
    """Direct preference optimization against the parent."""
    for batch in _batches(f"dpo/{seed}", steps):
        pairs = [_ordered_pair(question, dice) for question, dice in batch]
        examples = [
            _render(renderer, question, response.text)
            for (question, _), pair in zip(batch, pairs, strict=True)
            for response in pair
        ]
        with torch.no_grad():
            before = response_logprobs(reference, examples).view(-1, 2)
        gained = response_logprobs(model, examples).view(-1, 2) - before
        yield -F.logsigmoid(BETA * (gained[:, 0] - gained[:, 1])).mean()


def _ordered_pair(question: Question, dice: random.Random) -> tuple[Response, Response]:
    """The better response by the true utility first."""
    flawed = dice.choice(list(question.flawed.values()))
    other = padded(flawed, dice, dice.randint(1, 3)) if dice.random() < 0.4 else flawed
    one, two = sorted((question.good, other), key=utility, reverse=True)
    return one, two


def _verified(model: PreTrainedModel, renderer: Renderer, seed: int, steps: int) -> Iterator[torch.Tensor]:
    """Policy gradient with the verified answer as the reward (1 right, 0 wrong), the prompt's mean as the baseline."""
    torch.manual_seed(seed)
    for batch in _batches(f"rlvr/{seed}", steps):
        examples, advantages = [], []
        for question, _ in batch[: PER_STEP // SAMPLES]:
            answers = _sample(model, renderer, question)
            rewards = [float(question.is_right(answer)) for answer in answers]
            kept = [(answer, reward) for answer, reward in zip(answers, rewards, strict=True) if answer.strip()]
            # The good answer is shown once: a small model would almost never find it by itself.
            kept.append((question.good.text, 1.0))
            mean = sum(reward for _, reward in kept) / len(kept)
            for answer, reward in kept:
                examples.append(_render(renderer, question, answer))
                advantages.append(reward - mean)
        weights = torch.tensor(advantages)
        yield -(weights * response_logprobs(model, examples)).mean() / LONGEST_ANSWER


@torch.no_grad()
def _sample(model: PreTrainedModel, renderer: Renderer, question: Question) -> list[str]:
    """SAMPLES answers of the model at temperature 1, up to EOS or LONGEST_ANSWER tokens."""
    shown = _render(renderer, question, question.good.text)
    sequences = [list(shown.token_ids[: shown.n_prompt_tokens]) for _ in range(SAMPLES)]
    ended = [False] * SAMPLES
    eos = renderer.tokenizer.eos_token_id
    for _ in range(LONGEST_ANSWER):
        packed = pack(sequences)
        logits = model(**packed_inputs(packed)).logits[0, packed.last_positions].float()
        drawn = torch.multinomial(torch.softmax(logits, -1), 1).flatten().tolist()
        for index, token in enumerate(drawn):
            ended[index] |= token == eos
            if not ended[index]:
                sequences[index].append(token)
        if all(ended):
            break
    return [renderer.tokenizer.decode(ids[shown.n_prompt_tokens :], skip_special_tokens=True) for ids in sequences]
