"""Wrong answers to lesson 09's exercises about tuning; the first line of each docstring is the misconception."""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.data.instruction import answer_batch
from course_utils.models.lora import LoraLinear


def loss_on_the_prompt(prompts, answers, end_id):
    """counts the prompt too, so the bot also learns to write the user's messages"""
    batch = answer_batch(prompts, answers, end_id)
    for b, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        row = torch.tensor([*prompt, *answer])
        batch["targets"][b, : len(row) - 1] = row[1:]
    return batch


def not_shifted(prompts, answers, end_id):
    """gives each position its own token as target; models of transformers shift such labels themselves, ours do not"""
    batch = answer_batch(prompts, answers, end_id)
    targets = torch.full_like(batch["targets"], -100)
    for b, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        targets[b, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    return batch | {"targets": targets}


def counts_padding(prompts, answers, end_id):
    """counts the padding: most of the loss is then about end tokens behind end tokens"""
    batch = answer_batch(prompts, answers, end_id)
    for b, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        batch["targets"][b, len(prompt) + len(answer) :] = end_id
    return batch


def without_the_end(prompts, answers, end_id):
    """leaves the end token out of the targets: the bot learns to answer, but never to stop"""
    batch = answer_batch(prompts, answers, end_id)
    for b, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        batch["targets"][b, len(prompt) + len(answer) - 1] = -100
    return batch


def starts_late(prompts, answers, end_id):
    """hides as many targets as the prompt has tokens: the answer's first token, the hardest, is never learned"""
    batch = answer_batch(prompts, answers, end_id)
    for b, prompt in enumerate(prompts):
        batch["targets"][b, len(prompt) - 1] = -100
    return batch


def starts_early(prompts, answers, end_id):
    """starts one position early, with the prompt's last token as a target"""
    batch = answer_batch(prompts, answers, end_id)
    for b, prompt in enumerate(prompts):
        batch["targets"][b, len(prompt) - 2] = prompt[-1]
    return batch


def one_length_for_all(prompts, answers, end_id):
    """takes the first prompt's length for every row; prompts differ in length"""
    batch = answer_batch(prompts, answers, end_id)
    for b, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        row = torch.tensor([*prompt, *answer, end_id])
        start = len(prompts[0])
        batch["targets"][b, start - 1 : len(row) - 1] = row[start:]
    return batch


def pads_on_the_left(prompts, answers, end_id):
    """pads on the left, as for generation: every answer then looks back at padding"""
    batch = answer_batch(prompts, answers, end_id)
    lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    return {name: torch.stack([row.roll(len(row) - n) for row, n in zip(rows, lengths, strict=True)])
            for name, rows in batch.items()}  # fmt: skip


def reads_minus_100(prompts, answers, end_id):
    """fills the inputs with -100 too: no model can look that up; padding needs a token, whichever"""
    batch = answer_batch(prompts, answers, end_id)
    for b, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        batch["input_ids"][b, len(prompt) + len(answer) :] = -100
    return batch


def reads_the_end(prompts, answers, end_id):
    """reads the end token too, one position that has nothing to predict"""
    batch = answer_batch(prompts, answers, end_id)
    return {
        "input_ids": F.pad(batch["input_ids"], (0, 1), value=end_id),
        "targets": F.pad(batch["targets"], (0, 1), value=-100),
    }


class BothRandom(LoraLinear):
    """starts A and B at random, so that the tuned model begins as a damaged one"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        nn.init.normal_(self.B, std=0.02)


class BothZero(LoraLinear):
    """starts A and B at zero: each one's gradient is made with the other, so nothing ever moves"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        nn.init.zeros_(self.A)


class ScaleUpsideDown(LoraLinear):
    """scales by r / alpha instead of alpha / r"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        self.scale = rank / alpha


class WithoutScale(LoraLinear):
    """leaves the factor alpha / r out, so that every rank needs another learning rate"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        self.scale = 1.0


class Exchanged(LoraLinear):
    """exchanges A and B: A then has the shape of B, and the product comes in the wrong order"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        self.A, self.B = self.B, self.A

    def forward(self, x):
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.B), self.A)


class LayersInstead(LoraLinear):
    """makes A and B linear layers: their matrices would be `A.weight` and `B.weight`, which nobody looks for"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        del self.A, self.B
        self.A = nn.Linear(linear.in_features, rank, bias=False)
        self.B = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.B.weight)

    def forward(self, x):
        return self.linear(x) + self.scale * self.B(self.A(x))


class NoParameters(LoraLinear):
    """makes A and B plain tensors, which no optimizer finds: wrap them in nn.Parameter"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        A, B = self.A.detach(), self.B.detach()
        del self.A, self.B
        self.A, self.B = A, B


class TrainsEverything(LoraLinear):
    """forgets to freeze the layer it wraps: that is full tuning with something on top"""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        linear.requires_grad_(True)


class ForgetsTheBias(LoraLinear):
    """uses the wrapped layer's matrix without its bias"""

    def forward(self, x):
        return super().forward(x) - self.linear.bias


class UpdateAlone(LoraLinear):
    """gives the update alone, without the wrapped layer's own output"""

    def forward(self, x):
        return super().forward(x) - self.linear(x)


class MergesWithoutScale(LoraLinear):
    """merges B A without the factor alpha / r: the merged layer is not the tuned one"""

    def merged(self):
        return self.linear.weight + self.B @ self.A


class MergesInPlace(LoraLinear):
    """adds the update to the layer's own matrix: forward then adds it a second time"""

    def merged(self):
        with torch.no_grad():
            return self.linear.weight.copy_(super().merged())
