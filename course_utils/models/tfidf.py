"""The baseline that BERT has to beat: counts of words and of pieces of words, and a linear classifier on top."""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_union


def tfidf_features() -> FeatureUnion:
    """Words and pairs of words, 2-5 characters within words, both as TF-IDF: `fit(texts)`, then `transform(texts)`."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    return make_union(words, pieces)


def sparse_logistic(inverse_penalty: float = 10.0) -> LogisticRegression:
    """Logistic regression for sparse features of unit length; `inverse_penalty` is scikit-learn's C.

    SAGA touches only the words of a text. The default solver works on dense vectors, a hundred times more slowly where
    several threads share busy cores, for the same accuracy.
    """
    return LogisticRegression(C=inverse_penalty, solver="saga", tol=1e-2, max_iter=200, random_state=0)
