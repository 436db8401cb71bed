"""Runs as one .tar.gz that another machine takes in: `pack` writes it; `unpack` reads it and trusts nothing in it.

understudy-runs.json                     the list of all files, with their sizes and hashes
20261123-1412-brave-otter/run.json       and every other file of the runs, in the order of the list
"""
