"""A BERT encoder with a linear head on the mean of its states, and its top layers trained on their own.

Letters: B texts, T positions, D width, C classes. Nothing here tokenizes, batches or trains.
"""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from course_utils.models.sentence_encoder import mean_pool

HEAD_STD = 0.02  # BERT's own initialisation: small enough for an untrained head to be unsure


def freeze(module: nn.Module) -> None:
    """Exclude a module's parameters from training: they get no gradient."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)


class Head(nn.Module):
    """Mean over the tokens, dropout, one linear layer: states (B, T, D) and mask (B, T) to logits (B, C)."""

    def __init__(self, d_model: int, num_classes: int, dropout: float = 0.1):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(d_model, num_classes)
        nn.init.normal_(self.linear.weight, std=HEAD_STD)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits, and with labels (B,) also the loss: the mean over the texts, in nats."""
        logits = self.linear(self.dropout(mean_pool(hidden, attention_mask)))  # (B, D) -> (B, C)
        return SequenceClassifierOutput(F.cross_entropy(logits, labels) if labels is not None else None, logits)


class BertClassifier(nn.Module):
    """A `BertModel` and a `Head`: token ids (B, T) in, loss and logits (B, C) out."""

    def __init__(self, encoder: nn.Module, num_classes: int, dropout: float = 0.1):
        super().__init__()
        self.encoder = encoder
        self.classifier = Head(encoder.config.hidden_size, num_classes, dropout)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits, and with labels (B,) also the loss."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, D)
        return self.classifier(hidden, attention_mask, labels)


class TopLayers(nn.Module):
    """Layers `first_layer`, `first_layer` + 1, ... and the head of a `BertClassifier`, which it shares and so trains.

    While the layers below stay as they are, their output for a text never changes: compute it once with `lower_states`
    and every later pass costs only the layers that learn. Afterwards the classifier itself is trained.
    """

    def __init__(self, model: BertClassifier, first_layer: int):
        super().__init__()
        layers = model.encoder.encoder.layer
        if not 0 <= first_layer <= len(layers):
            raise ValueError(f"first_layer must be from 0 to {len(layers)}, the number of layers; got {first_layer}.")
        self.layers, self.classifier = layers[first_layer:], model.classifier

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """States (B, T, D) of layer `first_layer`'s input and mask (B, T) to loss and logits (B, C)."""
        # Added to the attention scores: 0 at real tokens, the lowest number at padding; (B, 1, 1, T) fits every head.
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.classifier(hidden, attention_mask, labels)


@torch.inference_mode()
def lower_states(
    encoder: nn.Module, batches: Iterable[Mapping[str, torch.Tensor]], num_layers: int
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Run a `BertModel` once: the states after its lowest `num_layers` layers, and those after the last.

    For N texts in the order of the batches: a list of N tensors (T_i, D) without padding, and the mean over the tokens
    of the last layer (N, D).
    """
    encoder.eval()
    device, states, pooled = next(encoder.parameters()).device, [], []
    for batch in batches:
        token_ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
        all_states = encoder(input_ids=token_ids, attention_mask=mask, output_hidden_states=True).hidden_states
        lengths = mask.sum(1).tolist()
        states += [row[:length].clone() for row, length in zip(all_states[num_layers].cpu(), lengths, strict=True)]
        pooled.append(mean_pool(all_states[-1], mask).cpu())
    return states, torch.cat(pooled)
