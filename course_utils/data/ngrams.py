"""What a language model must beat: guessing words by how often they occur, alone or after the word before.

Counts come from training tokens, losses from others. Add-alpha smoothing keeps what was never seen above zero;
Jurafsky and Martin, *Speech and Language Processing*, chapter 3. Knows no model.

Letters: N tokens, V = vocab_size.
"""

import torch


def unigram_loss(train_ids: torch.Tensor, test_ids: torch.Tensor, vocab_size: int, alpha: float = 1.0) -> float:
    """Nats per token of `test_ids` (N,) if each is guessed by its share of `train_ids`, `alpha` added to every count.

    Raises ValueError where there is nothing to count or to guess.
    """
    _check(train_ids, test_ids, vocab_size, alpha)
    counts = torch.bincount(train_ids, minlength=vocab_size).double() + alpha  # (V,)
    return -(counts / counts.sum()).log()[test_ids].mean().item()


def bigram_loss(train_ids: torch.Tensor, test_ids: torch.Tensor, vocab_size: int, alpha: float = 1.0) -> float:
    """Nats per token of `test_ids[1:]`, each guessed from the token before it.

    What followed a token in training is mixed with the unigram shares, which count as `alpha * vocab_size ** 0.5` more
    sightings: a token that was seen a few times is not taken at its word. Raises ValueError as `unigram_loss` does.
    """
    _check(train_ids, test_ids, vocab_size, alpha)
    counts = torch.bincount(train_ids, minlength=vocab_size).double() + alpha
    unigram = counts / counts.sum()  # (V,)
    seen, times = torch.unique(train_ids[:-1] * vocab_size + train_ids[1:], return_counts=True)  # pairs as one number
    wanted = test_ids[:-1] * vocab_size + test_ids[1:]
    place = torch.searchsorted(seen, wanted).clamp(max=len(seen) - 1)
    together = torch.where(seen[place] == wanted, times[place], 0).double()
    before = torch.bincount(train_ids[:-1], minlength=vocab_size).double()[test_ids[:-1]]
    weight = alpha * vocab_size**0.5
    return -((together + weight * unigram[test_ids[1:]]) / (before + weight)).log().mean().item()


def word_overlap(first: list[int], second: list[int], ignored: set[int] = frozenset()) -> float:
    """The share of the second text's different tokens that the first has too; `ignored` ones do not count."""
    first_set, second_set = set(first) - ignored, set(second) - ignored
    return len(first_set & second_set) / max(len(second_set), 1)


def _check(train_ids: torch.Tensor, test_ids: torch.Tensor, vocab_size: int, alpha: float) -> None:
    if alpha <= 0:
        raise ValueError(f"alpha must be above 0, or a token never seen costs infinitely much; got {alpha}.")
    for name, ids in (("train_ids", train_ids), ("test_ids", test_ids)):
        if ids.ndim != 1 or len(ids) < 2:
            raise ValueError(f"{name} must be a row (N,) of at least two token ids; got shape {tuple(ids.shape)}.")
        if int(ids.min()) < 0 or int(ids.max()) >= vocab_size:
            raise ValueError(
                f"{name} must be from 0 to {vocab_size - 1}; got {int(ids.min())} to {int(ids.max())}. "
                "Was the text made into ids by another tokenizer?"
            )
