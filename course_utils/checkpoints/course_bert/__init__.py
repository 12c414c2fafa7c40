"""A small BERT, pretrained on the course's conversations with both of BERT's objectives; lessons 04 and 05 use it.

`python -m course_utils.runs.bert_pretraining` trains it again.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
