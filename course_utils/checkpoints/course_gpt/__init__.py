"""A small GPT-2, pretrained on the course's conversations; lessons 07 to 10 use it.

`python -m course_utils.runs.gpt_pretraining` trains it again. The files are GPT-2's, so that transformers opens the
folder with `GPT2LMHeadModel` and `GPT2Tokenizer`.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
