"""Checks that catch silent bugs: mistakes that leave a training running, and its results wrong.

checks.py     what a check is, and how several are run
probes.py     small batches, copies of a learner, and what can be measured with them
data.py       whether the batches hold what they should
model.py      whether the model computes what it should
step.py       whether a step does what it should
leaks.py      whether a loss depends on what it must not see, and on all that it may
play.py       whether recorded games and a policy are what they should be
overlap.py    whether the validation documents were learned from
resume.py     whether evaluating, resuming and overfitting work
sampling.py   whether sampling does what it should
baselines.py  the first metrics of earlier healthy runs
monitors.py   what is watched while a training runs
start.py      which of them run by themselves
"""
