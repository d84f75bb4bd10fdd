"""Where a model comes from: what may be said of it follows from that."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """`trained_here`: on the train split that the judgement is given. Else what it learnt from is
    not known: that split serves the baselines and topics alone, and nothing is said of leaks or
    of more votes. `fitted`: its temperature was fitted on the dev split; else it brought one."""

    trained_here: bool = True
    fitted: bool = True


TRAINED = Origin()
