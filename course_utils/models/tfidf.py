"""The baseline that BERT has to beat: counts of words and of pieces of words, and a linear classifier on top."""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union


def tfidf_logistic(inverse_penalty: float = 10.0) -> Pipeline:
    """Words and pairs of words, 2-5 characters within words, both as TF-IDF, into logistic regression.

    Call `fit(texts, labels)`, then `predict(texts)` or `predict_proba(texts)`. `inverse_penalty` is scikit-learn's C:
    larger values trust the training texts more.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    return make_pipeline(make_union(words, pieces), LogisticRegression(C=inverse_penalty, max_iter=500))
