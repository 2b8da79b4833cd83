"""Training of policies by TRL's RLOOTrainer and GRPOTrainer, for those that are not small.

The reward is a callable: a reward model that is given to TRL is read at its first output alone, so that one of several
attributes would teach that attribute. Prompts are conversations whose template gives the token ids that the policy is
sampled with; a prompt for which TRL would make others is left out. TRL saves model, optimizer and generators at the
steps that are measured, and a run goes on from the newest of them that is whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, TrainerCallback

from models_train.data.chat import DATE_FORMAT, PINNED_DATE, Renderer
from models_train.errors import UserError
from models_train.files import remove
from models_train.modeling.base_models import quiet
from models_train.policies.sampling import PolicyText
from models_train.policies.teaching import Rewards, Run, RunFailed, TeachPrompt, as_groups

CHECKPOINT = "checkpoint-"
"""Beginning of the name of a saved step's folder, as TRL names it."""
_WHOLE = ".whole"
"""Mark of a saved step that was written to its end."""
_GROUPS, _FINISHED = "share_groups_without_spread", "completions/clipped_ratio"


class TrlTeaching:
    """A run of RLOO or GRPO by TRL. place: folder of the initial policy. folder: of the saved steps.

    rewards: normalised.
    """

    def __init__(self, run: Run, place: str, text: PolicyText, rewards: Rewards, folder: Path) -> None:
        self.run, self.place, self.text, self.rewards, self.folder = run, place, text, rewards, folder
        self.rows: list[dict[str, Any]] = []

    def train(self, prompts: Sequence[TeachPrompt], say: Callable[[int], None]) -> list[dict[str, Any]]:
        """Train to the end; returns a row of policy_run_steps per step, without policy_run_id. say: takes each step.

        Raises RunFailed where no response of a step has a reward or the policy diverges, and UserError where no prompt
        can be asked through TRL.
        """
        from datasets import Dataset

        tokenizer = asking_tokenizer(self.text)
        usable = [one for one in prompts if _ids(tokenizer, one) == one.asked.token_ids]
        if not usable:
            raise UserError(
                f"{self.text.policy.policy_id}: TRL would ask none of its prompts as they are sampled; correct the "
                "chat template of its tokenizer, so that it alone writes what begins a response"
            )
        rows = [{"prompt": _messages(one), "place": place} for place, one in enumerate(usable)]
        with quiet():
            trainer = self._trainer(Dataset.from_list(rows), usable, tokenizer, say)
            newest = self._newest()
            trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        self.rows = [self._row(one) for one in trainer.state.log_history if "reward" in one]
        return self.rows

    def saved(self, step: int) -> Path:
        """Folder of the policy after a step."""
        return self.folder / f"{CHECKPOINT}{step}"

    def _trainer(
        self,
        prompts: Any,
        usable: Sequence[TeachPrompt],
        tokenizer: PreTrainedTokenizerBase,
        say: Callable[[int], None],
    ) -> Any:
        import trl

        run, policy = self.run, self.text.policy
        on_gpu = torch.cuda.is_available()
        names = ("RLOOTrainer", "RLOOConfig") if run.method == "rloo" else ("GRPOTrainer", "GRPOConfig")
        kind, config = (getattr(trl, name) for name in names)
        arguments = config(
            output_dir=str(self.folder),
            max_steps=run.steps,
            per_device_train_batch_size=run.generations,
            gradient_accumulation_steps=run.prompts_per_step,
            num_generations=run.generations,
            max_completion_length=policy.max_tokens,
            temperature=run.temperature,
            top_p=1.0,
            top_k=0,
            repetition_penalty=1.0,
            beta=run.kl,
            learning_rate=run.learning_rate,
            lr_scheduler_type="constant",
            seed=run.seed,
            disable_dropout=True,
            chat_template_kwargs={"date_string": PINNED_DATE.strftime(DATE_FORMAT)},
            model_init_kwargs={"dtype": "float32"},
            bf16=on_gpu and policy.precision == "bfloat16",
            fp16=on_gpu and policy.precision == "float16",
            gradient_checkpointing=on_gpu,
            use_cpu=not on_gpu,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **({} if run.method == "rloo" else {"scale_rewards": "group"}),
        )
        return kind(
            self.place,
            self._reward(usable),
            arguments,
            prompts,
            processing_class=tokenizer,
            callbacks=[_Saving(run.saved_steps, say)],
        )

    def _reward(self, usable: Sequence[TeachPrompt]) -> Callable[..., list[float | None]]:
        """What TRL calls with the responses of a step."""

        def reward(completions: list[Any], place: list[int], log_metric: Any, trainer_state: Any, **_: Any) -> Any:
            asked = [usable[one] for one in place]
            said = [completion[0]["content"] for completion in completions]
            texts = [text.removeprefix(one.asked.lead) for one, text in zip(asked, said, strict=True)]
            found = self.rewards([one.prompt for one in asked], texts)
            groups = as_groups(found, self.run.generations, trainer_state.global_step + 1)
            spread = [row[~torch.isnan(row)] for row in groups]
            without = [len(row) < 2 or float(row.max() - row.min()) == 0 for row in spread]
            log_metric(_GROUPS, sum(without) / len(without))
            return found

        return reward

    def _newest(self) -> Path | None:
        """The newest saved step that is whole; others are removed."""
        found = None
        for step in self.run.saved_steps[1:]:
            place = self.saved(step)
            if (place / _WHOLE).exists():
                found = place
            elif place.exists():
                remove(place)
        return found

    def _row(self, logged: dict[str, Any]) -> dict[str, Any]:
        """A row of policy_run_steps of a line of TRL's log."""
        n = self.run.prompts_per_step * self.run.generations
        length = logged["completions/mean_length"]
        if not math.isfinite(logged["grad_norm"]):
            raise RunFailed(f"the gradient of step {logged['step']} is not finite; lower the learning rate of `teach`")
        return {
            "step": logged["step"],
            "proxy_reward": logged["reward"],
            "kl": logged.get("kl", 0.0) * length,  # TRL's is per token
            "entropy": logged["entropy"],
            "n_tokens": round(length * n),
            "mean_length": length,
            "share_finished": 1 - logged[_FINISHED],
            "gradient_norm": logged["grad_norm"],
            "share_groups_without_spread": logged[_GROUPS],
            "seconds": logged["step_time"],
        }


class _Saving(TrainerCallback):
    """Saves at the steps that are measured; the optimizer's state of the newest one alone is kept."""

    def __init__(self, steps: Sequence[int], say: Callable[[int], None]) -> None:
        self._steps, self._say = steps, say

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a saved state."""
        control.should_save = state.global_step in self._steps
        self._say(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark what was saved, and remove the optimizer's state before it."""
        (Path(args.output_dir) / f"{CHECKPOINT}{state.global_step}" / _WHOLE).touch()
        for step in self._steps:
            if step < state.global_step:
                remove(Path(args.output_dir) / f"{CHECKPOINT}{step}" / "optimizer.pt")


def asking_tokenizer(text: PolicyText) -> PreTrainedTokenizerBase:
    """The policy's tokenizer with the template that it is asked by, BOS once at the beginning, as `Renderer` has it."""
    import copy

    tokenizer: Any = copy.deepcopy(text.tokenizer)
    tokenizer.chat_template = Renderer(tokenizer, 1).template
    tokenizer.padding_side = "left"
    if tokenizer.bos_token is not None:
        written = tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
        if not written.startswith(tokenizer.bos_token):
            tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    return tokenizer


def _messages(one: TeachPrompt) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.text} for turn in one.prompt.turns]


def _ids(tokenizer: Any, one: TeachPrompt) -> list[int]:
    date = PINNED_DATE.strftime(DATE_FORMAT)
    found = tokenizer.apply_chat_template(
        _messages(one), add_generation_prompt=True, tokenize=True, return_dict=True, date_string=date
    )
    return list(found["input_ids"])
