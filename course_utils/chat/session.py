"""A conversation with a causal language model that keeps its key/value cache from one turn to the next.

Works with any Hugging Face causal model whose template is `course_utils.chat.template`'s. One conversation, one
sequence: no batching, no beams. What a cache saves is measured in each `Turn`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from course_utils.chat.template import END, Message, encode_chat, fit_to_budget
from course_utils.generation import choose_token
from course_utils.runtime import Timer


@dataclass(frozen=True)
class Turn:
    """One answer and what it cost. The model had to read `num_read_tokens` of the prompt; the cache held the rest."""

    user: str
    reply: str
    num_prompt_tokens: int
    num_read_tokens: int
    num_new_tokens: int
    finished: bool  # False: stopped by max_new_tokens, so the reply is cut off
    seconds: float


class ChatSession:
    """A running conversation: `say(text)` answers and remembers.

    Temperature 0 decodes greedily. The prompt and `max_new_tokens` of answer stay within `budget_tokens`: the oldest
    exchanges are left out of the prompt (not of `messages`). `keep_cache=False` reads the whole prompt at every turn.
    """

    def __init__(
        self,
        model,
        tokenizer,
        system: str = "",
        *,
        max_new_tokens: int = 48,
        budget_tokens: int = 1024,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        keep_cache: bool = True,
    ) -> None:
        if max_new_tokens < 1 or max_new_tokens >= budget_tokens:
            raise ValueError(
                f"an answer needs 1 <= max_new_tokens < budget_tokens; got {max_new_tokens} and {budget_tokens}."
            )
        self.model, self.tokenizer, self.system = model.eval(), tokenizer, system
        self.max_new_tokens, self.budget_tokens, self.keep_cache = max_new_tokens, budget_tokens, keep_cache
        self.temperature, self.top_p, self.seed = temperature, top_p, seed
        self.reset()

    def reset(self) -> None:
        """Forget the conversation; the system message and the settings stay."""
        self.messages: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        self.turns: list[Turn] = []
        self._generator = torch.Generator().manual_seed(self.seed)
        self._cache, self._cached_ids = DynamicCache(config=self.model.config), []

    def prompt_ids(self) -> list[int]:
        """What the model will read: as many recent messages as fit into the budget, as token ids."""
        room = self.budget_tokens - self.max_new_tokens
        kept = fit_to_budget(self.messages, room, lambda messages: len(encode_chat(self.tokenizer, messages)))
        return encode_chat(self.tokenizer, kept)

    def say(self, text: str, on_text: Callable[[str], None] | None = None) -> str:
        """The model's answer to `text`; `on_text` is called with the answer so far after every token.

        If anything interrupts the answer, the conversation is as before the call.
        """
        num_messages = len(self.messages)
        self.messages.append({"role": "user", "content": text})
        try:
            turn = self._answer(text, on_text)
        except BaseException:
            del self.messages[num_messages:]
            raise
        self.messages.append({"role": "assistant", "content": turn.reply})
        self.turns.append(turn)
        return turn.reply

    @torch.inference_mode()
    def _answer(self, text: str, on_text: Callable[[str], None] | None) -> Turn:
        end = self.tokenizer.convert_tokens_to_ids(END)
        with Timer() as timer:
            prompt, new_ids = self.prompt_ids(), []
            num_known = self._reuse(prompt)
            logits = self._read(prompt[num_known:])
            while len(new_ids) < self.max_new_tokens:
                token = choose_token(logits, self.temperature, self.top_p, self._generator).item()
                if token == end:
                    break
                new_ids.append(token)
                if on_text:
                    on_text(self.tokenizer.decode(new_ids))
                if len(new_ids) < self.max_new_tokens:
                    logits = self._read([token])
        reply = self.tokenizer.decode(new_ids, skip_special_tokens=True).strip()
        finished = len(new_ids) < self.max_new_tokens
        return Turn(text, reply, len(prompt), len(prompt) - num_known, len(new_ids), finished, timer.seconds)

    def _reuse(self, prompt: list[int]) -> int:
        """Cut the cache to the tokens it shares with the prompt's beginning; how many those are."""
        known = 0
        if self.keep_cache:
            shared = min(len(prompt) - 1, len(self._cached_ids))  # the last token must be read to get its logits
            while known < shared and prompt[known] == self._cached_ids[known]:
                known += 1
        if not known:
            self._cache = DynamicCache(config=self.model.config)
        elif surplus := len(self._cached_ids) - known:
            self._cache.crop(-surplus)
        self._cached_ids = self._cached_ids[:known]
        return known

    def _read(self, token_ids: list[int]) -> torch.Tensor:
        """Feed tokens behind the cached ones; the logits after the last: (1, V)."""
        ids = torch.tensor([token_ids], device=self.model.device)
        output = self.model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._cached_ids = [*self._cached_ids, *token_ids]
        return output.logits[:, -1]
