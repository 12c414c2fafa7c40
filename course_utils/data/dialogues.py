"""Real conversations between two people: load, clean, split by conversation, and cut into message and reply.

The conversations are the asset "chitchat". A turn is everything one person wrote before the other answered, so turns
alternate: turn 0 belongs to whoever began, turn 1 to the other, and so on. Nothing here knows tokens or models.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from course_utils.assets import asset_path, table
from course_utils.atomic import replacing
from course_utils.errors import EnvironmentProblem
from course_utils.paths import cache_dir

ASSET = "chitchat"
COMPACT_FORMAT = 1  # raised when the compact file's layout changes: older files are then ignored
WEB_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
EMAIL_ADDRESS = re.compile(r"\S+@\S+\.\w+")
SPLIT_NAMES = ("train", "validation", "test")


class Conversation(NamedTuple):
    """Who answered whom: `turns` alternate between the two people; `prompt` is the topic the site proposed, or ""."""

    id: str
    prompt: str
    turns: tuple[str, ...]


@dataclass(frozen=True)
class CleaningReport:
    """What `clean_conversations` did: how many conversations it kept, and what it dropped or changed, by reason."""

    num_kept: int
    counts: dict[str, int]

    def __str__(self) -> str:
        rows = [("kept", self.num_kept), *self.counts.items()]
        return "\n".join(f"{count:7,}  {reason}" for reason, count in rows)


class Exchange(NamedTuple):
    """A reply and what stood before it: `context` holds earlier turns, oldest first; its last turn is the message."""

    conversation_id: str
    position: int  # the reply is turn `position` of its conversation
    context: tuple[str, ...]
    reply: str

    @property
    def message(self) -> str:
        """The turn that the reply answers."""
        return self.context[-1]


def load_conversations() -> list[Conversation]:
    """All 7,168 conversations as they were recorded, in the file's order; the messages of a turn are joined by a space.

    The first call reads 40 MB of JSON (a second or two) and keeps a compact copy in the course's cache; later calls
    read that copy. Raises EnvironmentProblem when the asset is missing or damaged.
    """
    source = asset_path(ASSET)
    digest = table()[ASSET].files[source.name].sha256
    compact = cache_dir() / "data" / f"chitchat-{COMPACT_FORMAT}-{digest[:12]}.json"
    with suppress(OSError, ValueError, TypeError):  # absent, or damaged: made anew below
        return [Conversation(i, prompt, tuple(turns)) for i, prompt, turns in json.loads(compact.read_bytes())]
    conversations = read_conversations(source)
    with suppress(OSError):  # a cache that cannot be written costs a second next time, nothing else
        _write_compact(conversations, compact)
    return conversations


def read_conversations(path: Path) -> list[Conversation]:
    """Conversations of the data set's own JSON file: {id: {"prompt": ..., "messages": [[{"text": ...}, ...], ...]}}.

    Raises EnvironmentProblem for a file that is not JSON of this shape.
    """
    try:
        rows = json.loads(Path(path).read_bytes())
        return [Conversation(key, row.get("prompt") or "", _joined(row["messages"])) for key, row in rows.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EnvironmentProblem(
            f"{path} does not hold conversations as expected ({type(error).__name__}: {error}). "
            f"Repair it with `course fetch {ASSET}`."
        ) from error


def clean_conversations(conversations: Iterable[Conversation]) -> tuple[list[Conversation], CleaningReport]:
    """The conversations that teach something, cleaned, and a report of what was dropped and why.

    Text is cleaned by `clean_text`; turns left empty vanish, and what a person wrote around them becomes one turn.
    Dropped: conversations that nobody answered, and exact repetitions of an earlier one (they would leak from one
    split into another).
    """
    counts = Counter(dict.fromkeys(("nobody answered", "repeated", "turns with addresses hidden"), 0))
    kept, seen = [], set()
    for conversation in conversations:
        turns = merge_turns(clean_text(turn) for turn in conversation.turns)
        if len(turns) < 2:
            counts["nobody answered"] += 1
        elif turns in seen:
            counts["repeated"] += 1
        else:
            seen.add(turns)
            kept.append(conversation._replace(turns=turns))
            counts["turns with addresses hidden"] += sum("[link]" in turn or "[e-mail]" in turn for turn in turns)
    return kept, CleaningReport(len(kept), dict(counts))


def clean_text(text: str) -> str:
    """One line of text: runs of white space become a space; web and e-mail addresses become [link] and [e-mail]."""
    if "@" in text:
        text = EMAIL_ADDRESS.sub("[e-mail]", text)
    if "://" in text or "www." in text:
        text = WEB_ADDRESS.sub("[link]", text)
    return " ".join(text.split())


def merge_turns(turns: Iterable[str]) -> tuple[str, ...]:
    """Turns without the empty ones, still alternating: what one person wrote around an empty turn is joined."""
    merged: list[str] = []
    last_speaker = None
    for speaker, turn in ((index % 2, turn) for index, turn in enumerate(turns)):
        if not turn:
            continue
        if speaker == last_speaker:
            merged[-1] += " " + turn
        else:
            merged.append(turn)
        last_speaker = speaker
    return tuple(merged)


def split_conversations(
    conversations: Iterable[Conversation], fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> dict[str, list[Conversation]]:
    """Whole conversations in "train", "validation" and "test", about `fractions` of them: no conversation is in two.

    Where one lands depends on its id and the seed alone, so adding or dropping others moves nothing.
    Raises ValueError for fractions that are negative or do not add up to 1.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9 or len(fractions) != 3:
        raise ValueError(
            f"the three fractions must not be negative and must add up to 1; got {fractions}, sum {sum(fractions):g}."
        )
    splits: dict[str, list[Conversation]] = {name: [] for name in SPLIT_NAMES}
    first, second = fractions[0], fractions[0] + fractions[1]
    for conversation in conversations:
        place = _unit_interval(f"{seed}:{conversation.id}")
        splits["train" if place < first else "validation" if place < second else "test"].append(conversation)
    return splits


def exchanges(
    conversations: Iterable[Conversation], num_context_turns: int = 1, max_chars: int | None = None
) -> Iterator[Exchange]:
    """Every reply with up to `num_context_turns` turns before it; with `max_chars`, only where each turn is that short.

    Raises ValueError for a context of no turns: a reply answers something.
    """
    if num_context_turns < 1:
        raise ValueError(f"a reply needs at least one turn of context; got num_context_turns={num_context_turns}.")
    for conversation in conversations:
        for position in range(1, len(conversation.turns)):
            context = conversation.turns[max(0, position - num_context_turns) : position]
            exchange = Exchange(conversation.id, position, context, conversation.turns[position])
            if max_chars is None or max(map(len, (*context, exchange.reply))) <= max_chars:
                yield exchange


def _joined(messages: list[list[dict]]) -> tuple[str, ...]:
    return tuple(" ".join(message["text"] for message in turn) for turn in messages)


def _unit_interval(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, spread evenly; the same on every machine and Python."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def _write_compact(conversations: list[Conversation], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(conversations, file, ensure_ascii=False, separators=(",", ":"))
