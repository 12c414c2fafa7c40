"""GPT, written out: embeddings, decoder blocks, and logits for the next token; with or without a key/value cache.

GPT-2 by default and, by configuration, the modern decoder. Equal to transformers' `GPT2LMHeadModel` and
`LlamaForCausalLM` on the same weights, logits and gradients (`tests/models/test_gpt.py`). Weights come from and go to
disk through `gpt_weights`. Nothing here chooses tokens (that is `generation`), trains, or reads text.

Letters: B sequences, T positions, S = T and the positions before them, D = d_model, V = vocab_size.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.models.gpt_cache import KeyValueCache
from course_utils.models.gpt_config import GPTConfig, check_inputs
from course_utils.models.gpt_layers import (
    GPTBlock,
    Shared,
    causal_mask,
    init_weights,
    make_embedding,
    make_norm,
    rotary_table,
)
from course_utils.models.gpt_step import PlainLayers
from course_utils.models.products import product


class GPT(nn.Module):
    """A decoder that gives, at every position, logits for the token after it.

    Radford et al. 2019, section 2.3 (`GPTConfig.gpt2`); Touvron et al. 2023, section 2.2 (`GPTConfig.llama`).
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.token_embedding = make_embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.position_embedding = make_embedding(config.context_length, config.d_model)
        self.layers = nn.ModuleList(GPTBlock(config, layer) for layer in range(config.num_layers))
        self.norm = make_norm(config)
        self.head = None if config.is_tied else nn.Linear(config.d_model, config.vocab_size, bias=False)
        init_weights(self, config)

    @property
    def head_weight(self) -> torch.Tensor:
        """The output layer's matrix (V, D): the token embedding itself where they are tied."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """Ids (B, T) to logits (B, T, V).

        `attention_mask` (B, T) is 1 or True at tokens and 0 at padding; positions count tokens only, so padding at
        either side changes nothing. With a `cache`, ids and mask are those that follow what it holds; it is filled,
        and no gradients are kept.
        Raises ValueError for ids outside the vocabulary, more tokens than the context or the cache has room for, and
        wrong shapes and types. At padding the logits are finite numbers that mean nothing.
        """
        return self.logits(self.hidden_states(input_ids, attention_mask, cache))

    def next_logits(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """`forward` at the last position only, (B, V): all that generation needs, for a fraction of the work."""
        return self.logits(self.hidden_states(input_ids, attention_mask, cache)[:, -1])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """States (..., D) to logits (..., V)."""
        return product(hidden, self.head_weight)

    def hidden_states(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """Ids (B, T) to the states (B, T, D) that the output layer reads; arguments as for `forward`."""
        is_token = check_inputs(self.config, input_ids, attention_mask, cache)
        if cache is None:
            return self.decode(input_ids, is_token, None)
        with torch.no_grad():
            hidden = self.decode(input_ids, is_token, cache)
        cache.length += input_ids.shape[1]
        return hidden

    def decode(self, input_ids: torch.Tensor, is_token: torch.Tensor | None, cache: KeyValueCache | None):
        """`hidden_states` of checked inputs; `is_token` (B, T) is None where nothing is padding."""
        T = input_ids.shape[1]
        start = 0
        if cache is not None:
            start, is_token = cache.length, cache.note_tokens(is_token, T)  # is_token: (B, S) from here on
        x = self.token_embedding(input_ids)  # (B, T, D)
        where = slice(start, start + T) if is_token is None else token_positions(is_token)[:, start:]
        turn = None
        if self.config.positions == "learned":
            x = x + self.position_embedding.weight[where]  # (T, D), or (B, T, D) with padding
        else:
            turn = self.rotary(where, x)
        if self.training and self.config.dropout:
            x = F.dropout(x, self.config.dropout)
        # One new position, or a whole sequence: no mask at all, which is faster.
        needs_mask = is_token is not None or 1 < T < start + T
        mask = causal_mask(start, T, x.device, is_token) if needs_mask else None
        shared = Shared(mask, is_causal=mask is None and T > 1, turn=turn, cache=cache)
        if T == 1 and cache is not None and cache.plain_layers is not None and not self.training:
            return self.norm(cache.plain_layers(x, shared))
        for layer in self.layers:
            x = layer(x, shared)
        return self.norm(x)

    def rotary(self, where: slice | torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine at the positions `where`, for all heads alike: (T, 1, K), or (B, T, 1, K) with padding."""
        config = self.config
        table = rotary_table(config.d_head, config.rope_theta, config.context_length, x.dtype, x.device)
        cos, sin = (part[where].unsqueeze(-2) for part in table)
        return cos, sin

    def make_cache(self, batch_size: int, max_length: int | None = None) -> KeyValueCache:
        """An empty cache for this model, with room for `max_length` positions, by default the whole context."""
        weight, config = self.token_embedding.weight, self.config
        cache = KeyValueCache(config, batch_size, max_length or config.context_length, weight.dtype, weight.device)
        cache.plain_layers = PlainLayers.of(self.layers, config)
        return cache

    @classmethod
    def from_pretrained(cls, name: str | Path) -> "GPT":
        """A model with trained weights in float32 on the CPU, in `eval` mode.

        `name`: an embedded asset ("smollm2"), a folder, or a hub model that was fetched, of type gpt2 or llama.
        Raises UserError naming the missing, extra and misshaped tensors, EnvironmentProblem with the command that
        fetches a missing model.
        """
        from course_utils.assets import model_path
        from course_utils.models.gpt_weights import load

        return load(cls, model_path(name))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, under the names that transformers reads.

        Raises UserError for a mixture of GPT-2 and Llama, which transformers has no class for.
        """
        from course_utils.models.gpt_weights import save

        save(self, folder)


def token_positions(is_token: torch.Tensor) -> torch.Tensor:
    """The place of each token among its sequence's tokens, from 0: (B, S) booleans to (B, S); padding gets any."""
    return (is_token.cumsum(-1) - 1).clamp(min=0)
