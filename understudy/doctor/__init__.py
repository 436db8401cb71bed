"""Checks that catch silent bugs: mistakes that leave a training running, and its results wrong.

base.py      what a check is, what it looks at, and how several are run
probes.py    small batches, copies of a learner, and what can be measured with them
leaks.py     whether a loss hangs on what it must not see, and on all that it may
data.py      whether the batches hold what they should
overlap.py   whether the validation documents were learned from
model.py     whether the model computes what it should
steps.py     whether a step does what it should
whole.py     whether evaluating, resuming and learning by heart work
watch.py     what is watched while a training runs
references.py  the figures of earlier healthy runs
start.py     which of them run by themselves
"""
