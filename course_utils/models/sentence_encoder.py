"""Sentences to vectors with a pretrained BERT: mean of the last layer over real tokens, scaled to length 1.

Batches hold texts of similar length, so that little is computed on padding. Searching is one matrix product; there is
no approximate index here, because exact search over a hundred thousand vectors takes milliseconds.

Letters: N texts, B texts in a batch, T tokens of the longest text of a batch, D width of the model.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer


def mean_pool(hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The mean over real tokens: hidden states (B, T, D) and mask (B, T), 1 for a token and 0 for padding, to (B, D).

    Sentence-BERT (Reimers and Gurevych 2019), section 3, the MEAN strategy. A row without tokens gives zeros.
    """
    mask = attention_mask.unsqueeze(-1).to(hidden_states.dtype)  # (B, T, 1)
    return (hidden_states * mask).sum(1) / mask.sum(1).clamp(min=1)


class SentenceEncoder:
    """A BERT with its tokenizer that turns texts into vectors of length 1, whose dot product is their cosine.

    Texts longer than `max_tokens` are cut; `tokens_per_batch` bounds B * T, and with it memory.
    """

    def __init__(self, model, tokenizer, max_tokens: int = 64, tokens_per_batch: int = 2048) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.tokens_per_batch = tokens_per_batch

    @classmethod
    def from_pretrained(cls, name: str | Path = "minilm", device: str | torch.device = "cpu", **options):
        """The encoder of an embedded model, a folder or a hub model that was fetched; options as for the class.

        Raises EnvironmentProblem naming the command that fetches a missing model.
        """
        from course_utils.assets import model_path

        folder = model_path(name)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(folder, dtype=torch.float32)
        return cls(model.to(device), tokenizer, **options)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Vectors of length 1 in the order of the texts: (N, D) in float32 on the CPU."""
        if isinstance(texts, str):
            raise TypeError(f"encode takes a list of texts; got one string. Write encode([{texts[:20]!r}]).")
        embeddings = torch.empty(len(texts), self.model.config.hidden_size)
        for rows, batch in self._batches(texts):
            hidden = self.model(**batch.to(self.model.device)).last_hidden_state  # (B, T, D)
            pooled = mean_pool(hidden, batch["attention_mask"])
            embeddings[rows] = F.normalize(pooled, dim=-1).float().cpu()
        return embeddings

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], object]]:
        """Batches of at most `tokens_per_batch` padded tokens, shortest texts first: (their rows, model inputs)."""
        if not texts:
            return
        token_ids = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        order = sorted(range(len(texts)), key=lambda row: len(token_ids[row]))
        rows: list[int] = []
        for row in order:
            # Texts arrive shortest first, so this one would set the padded length of the whole batch.
            if rows and len(token_ids[row]) * (len(rows) + 1) > self.tokens_per_batch:
                yield rows, self._padded(token_ids, rows)
                rows = []
            rows.append(row)
        yield rows, self._padded(token_ids, rows)

    def _padded(self, token_ids: list[list[int]], rows: list[int]):
        return self.tokenizer.pad({"input_ids": [token_ids[row] for row in rows]}, return_tensors="pt")


def most_similar(queries: torch.Tensor, index: torch.Tensor, k: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """The `k` nearest rows of `index` (N, D) for each query (Q, D), best first: cosines (Q, k) and row numbers (Q, k).

    Both must hold vectors of length 1. Raises ValueError if the index has fewer than `k` rows.
    """
    if k > len(index):
        raise ValueError(f"the index holds {len(index)} vectors, so the nearest {k} cannot be found. Lower k.")
    cosines, rows = (queries @ index.T).topk(k, dim=-1)
    return cosines, rows
