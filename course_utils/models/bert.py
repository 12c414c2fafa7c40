"""BERT, written out: embeddings, encoder, pooler and the two heads that matter here.

Equal to transformers' `BertModel` on the same weights, in every layer and every gradient (`tests/models/test_bert.py`).
Weights come from and go to disk through `bert_weights`. Nothing here tokenizes, masks words for pretraining or trains.
Devlin et al. 2019, section 3 and appendix A.

Letters: B sequences, T positions, D = d_model, V = vocab_size, N labelled positions, C classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.config import require
from course_utils.models.attention import EncoderBlock
from course_utils.models.bert_config import BertConfig, check_inputs
from course_utils.models.bert_weights import Pretrained
from course_utils.models.inputs import IGNORED_LABEL, check_labels


class BertOutput(NamedTuple):
    """What the encoder gives: last layer (B, T, D), pooled (B, D), and the embeddings and each layer's output."""

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...]


class PreTrainingOutput(NamedTuple):
    """Both losses, in nats; their sum is what BERT is trained on. None without labels."""

    loss: torch.Tensor | None
    mlm_loss: torch.Tensor | None
    nsp_loss: torch.Tensor | None
    mlm_logits: torch.Tensor  # (B, T, V); with labels (N, V): those of the labelled positions, in reading order
    nsp_logits: torch.Tensor  # (B, 2): 0 is "the second text follows the first", 1 "it does not"


class ClassifierOutput(NamedTuple):
    """Mean loss over the texts in nats (None without labels) and logits (B, C)."""

    loss: torch.Tensor | None
    logits: torch.Tensor


class BertEmbeddings(nn.Module):
    """Three vectors added up and normalised: the token's, its position's, and that of the sentence it belongs to."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_id)
        self.position = nn.Embedding(config.context_length, config.d_model)
        self.token_type = nn.Embedding(config.num_token_types, config.d_model)
        self.norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: torch.Tensor, token_type_ids: torch.Tensor | None) -> torch.Tensor:
        """Ids (B, T) to states (B, T, D)."""
        T = input_ids.shape[1]
        positions = self.position.weight[:T]  # (T, D), the same for all sequences
        types = self.token_type.weight[0] if token_type_ids is None else self.token_type(token_type_ids)
        return self.dropout(self.norm(self.token(input_ids) + types + positions))


class BertModel(Pretrained, nn.Module):
    """The encoder: embeddings, L post-norm blocks, and a pooler on the first position."""

    def __init__(self, config: BertConfig, fused: bool = True):
        super().__init__()
        self.config = config
        sizes = config.d_model, config.num_heads, config.d_ff, config.dropout
        self.embeddings = BertEmbeddings(config)
        self.layers = nn.ModuleList(
            EncoderBlock(*sizes, norm_eps=config.norm_eps, fused=fused) for _ in range(config.num_layers)
        )
        self.pooler = nn.Linear(config.d_model, config.d_model)
        self.apply(init_weights)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> BertOutput:
        """Ids (B, T), mask (B, T) with 1 or True at tokens and 0 at padding, token types (B, T), by default all 0.

        Raises ValueError for ids outside the vocabulary, sequences longer than the position table, wrong shapes and
        types. A row of only padding gives finite numbers that mean nothing.
        """
        is_token = check_inputs(self.config, input_ids, attention_mask, token_type_ids)
        # Nothing to hide: no mask at all, which is faster. (B, 1, 1, S) hides padding as a key from every query.
        mask = None if is_token is None or bool(is_token.all()) else is_token[:, None, None, :]
        hidden = self.embeddings(input_ids, token_type_ids)  # (B, T, D)
        states = [hidden]
        for layer in self.layers:
            hidden = layer(hidden, mask)
            states.append(hidden)
        pooled = torch.tanh(self.pooler(hidden[:, 0]))  # (B, D): from [CLS] alone
        return BertOutput(hidden, pooled, tuple(states))


class BertForPreTraining(Pretrained, nn.Module):
    """BERT with both heads of its pretraining: which word is hidden here, and does the second text follow the first?

    The output layer over the vocabulary shares its matrix with the token embeddings. Section 3.1.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = BertModel(config)
        self.transform = nn.Linear(config.d_model, config.d_model)
        self.transform_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.vocab_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.next_sentence = nn.Linear(config.d_model, 2)
        for module in (self.transform, self.next_sentence):
            init_weights(module)

    def vocab_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """States (..., D) to logits over the vocabulary (..., V)."""
        hidden = self.transform_norm(F.gelu(self.transform(hidden)))
        return F.linear(hidden, self.bert.embeddings.token.weight, self.vocab_bias)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        next_sentence_label: torch.Tensor | None = None,
    ) -> PreTrainingOutput:
        """Inputs as for `BertModel`; `labels` (B, T) holds the hidden words' ids and -100 elsewhere, the other (B,).

        With labels, only labelled positions go through the vocabulary layer, the most expensive of all.
        """
        states, pooled, _ = self.bert(input_ids, attention_mask, token_type_ids)
        nsp_logits = self.next_sentence(pooled)  # (B, 2)
        mlm_loss = nsp_loss = None
        if labels is not None:
            check_labels(labels, input_ids.shape, self.config.vocab_size, "labels", IGNORED_LABEL)
            labelled = labels != IGNORED_LABEL  # (B, T)
            states, targets = states[labelled], labels[labelled]  # (N, D), (N,)
        mlm_logits = self.vocab_logits(states)
        if labels is not None:
            mlm_loss = F.cross_entropy(mlm_logits, targets, reduction="sum") / max(
                len(targets), 1
            )  # 0 if none is hidden
        if next_sentence_label is not None:
            check_labels(next_sentence_label, input_ids.shape[:1], 2, "next_sentence_label")
            nsp_loss = F.cross_entropy(nsp_logits, next_sentence_label)
        parts = [loss for loss in (mlm_loss, nsp_loss) if loss is not None]
        return PreTrainingOutput(sum(parts) if parts else None, mlm_loss, nsp_loss, mlm_logits, nsp_logits)


class BertForSequenceClassification(Pretrained, nn.Module):
    """BERT with a linear layer on the pooled output: token ids to logits over C classes. Section 4.1.

    `from_pretrained(name, num_classes=3)`: the classifier starts from noise unless the file holds a trained one.
    """

    may_start_from_noise = ("classifier.",)

    def __init__(self, config: BertConfig, num_classes: int = 2):
        super().__init__()
        require(num_classes >= 2, "num_classes must be at least 2", num_classes)
        self.config = config
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.d_model, num_classes)
        init_weights(self.classifier)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> ClassifierOutput:
        """Inputs as for `BertModel`; `labels` (B,) are class numbers."""
        pooled = self.bert(input_ids, attention_mask, token_type_ids).pooler_output
        logits = self.classifier(self.dropout(pooled))  # (B, C)
        if labels is None:
            return ClassifierOutput(None, logits)
        check_labels(labels, input_ids.shape[:1], self.classifier.out_features, "labels")
        return ClassifierOutput(F.cross_entropy(logits, labels), logits)


def init_weights(module: nn.Module) -> None:
    """BERT's initialisation: weights from a normal distribution of width 0.02, biases 0, padding's embedding 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()
