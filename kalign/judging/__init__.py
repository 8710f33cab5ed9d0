"""Judges: what they are asked, what their votes are worth, when a panel has decided, how far it agrees.

    data = {"prompt": prompt, "response": response}
    requests = [rubric.request(judge, data) for judge in judges]
    votes = [read(rubric, data, answer, judge) for ...]  # valid, or why not: never taken for a verdict
    decision = decide(votes, "safe", passing=("yes",), rule="majority")  # yes, no or undecided

A judge reads its data as JSON and answers with a closed set of verdicts and a nonce that no data can know.
`canaries` measures beforehand how often a text talks a judge round all the same.
"""

from kalign.judging.panel import Panel, load
from kalign.judging.quorum import Decision, decide
from kalign.judging.rubric import Question, Rubric
from kalign.judging.votes import read

__all__ = ["Decision", "Panel", "Question", "Rubric", "decide", "load", "read"]
