"""A chatbot that never writes: it finds the most similar message people once sent, and says what was answered then.

The encoder arrives as an argument: anything with `encode(texts) -> (N, D)`, vectors of length 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F


class Match(NamedTuple):
    """A recorded exchange and the cosine of its message with the one asked about."""

    cosine: float
    message: str
    reply: str


def retrieve_reply(
    query: torch.Tensor, message_vectors: torch.Tensor, messages: list[str], replies: list[str]
) -> tuple[str, float]:
    """The reply that once followed the message most similar to the query, and the cosine of the two messages.

    Shapes: query (D,), message_vectors (N, D); `replies[i]` answered `messages[i]`. Vectors may have any length.
    """
    cosines = F.normalize(message_vectors, dim=-1) @ F.normalize(query, dim=-1)  # (N,)
    best = cosines.argmax().item()
    return replies[best], cosines[best].item()


class RetrievalBot:
    """Recorded messages and their replies, searchable by meaning; building it encodes every message once."""

    def __init__(self, encoder, messages: Sequence[str], replies: Sequence[str]) -> None:
        if not messages or len(messages) != len(replies):
            raise ValueError(
                f"every message needs one reply, and there must be some; got {len(messages)} and {len(replies)}."
            )
        self.encoder, self.messages, self.replies = encoder, list(messages), list(replies)
        self.vectors = encoder.encode(self.messages)  # (N, D)

    def matches(self, text: str, k: int = 3) -> list[Match]:
        """The `k` recorded exchanges whose messages are most similar to `text`, best first."""
        cosines, rows = (self.encoder.encode([text])[0] @ self.vectors.T).topk(min(k, len(self.messages)))
        found = zip(cosines.tolist(), rows.tolist(), strict=True)
        return [Match(cosine, self.messages[row], self.replies[row]) for cosine, row in found]

    def reply(self, text: str) -> str:
        """What somebody once answered to the message most similar to `text`."""
        return self.matches(text, k=1)[0].reply
