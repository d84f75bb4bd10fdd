"""Preference data sets: which votes, added up how, split how; frozen under a name.

filters     what a person asks for, checked, and in words
similar     which examples say nearly the same, so that they stay in one split
gather      the project's votes with their texts, and which of them the filters leave
labels      a pair's votes become one label
build       all of it together: rows of pairs and votes, counts, checks
counts      how many of what, and how balanced, with intervals
checks      what would let a model look better than it is
card        the data set in words
frozen      on disk
service     what people and programs do with snapshots
compare     two snapshots
quick       the snapshot of a training that names none
"""
